"""`tonearm track verify` accepts what ingest published, and finds a flipped bit in any object."""

import asyncio
import dataclasses
import functools
import json
import shutil
import subprocess
import uuid

import imageio_ffmpeg
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import cli
from core.errors import UnavailableError
from core.keysource import KeyRequest
from core.model import (
    Codec,
    ContentKey,
    DrmProfile,
    KeyDescription,
    Loudness,
    Presentation,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from core.storage.memory import MemoryStore
from ingest.published.verify import verify_track
from ingest.run.publish import publish
from ingest.run.release import extra_objects
from packager.cmaf.segmenter import Output, package
from packager.manifest import presentation as description
from packager.manifest.places import SUMS
from packager.manifest.presentation import seal
from packager.protect.protection import Encryption

SILENT = Loudness(None, None, None, None, None)
KEYS = {
    scheme: ContentKey(
        KeyDescription(uuid.UUID(int=number + 1), Tier.HIGH, scheme, ()),
        bytes(range(number, number + 16)),
        bytes(range(100, 116)) if scheme is Scheme.CBCS else bytes(range(100, 108)),
    )
    for number, scheme in enumerate(Scheme)
}


class Source:
    """A key source with one key for each scheme."""

    def __init__(self, keys=None):
        self._keys = KEYS if keys is None else keys

    def keys(self, request: KeyRequest):
        return tuple(self._keys[scheme] for scheme in request.schemes if scheme in self._keys)


def published(objects):
    store = MemoryStore()

    async def fill():
        for key, body in objects.items():
            await store.put_if_absent(key, body)

    asyncio.run(fill())
    return store


def verify(objects, generation, source=None):
    store = published(objects)
    return asyncio.run(verify_track("t1", generation, store, source or Source()))


def describe(renditions, keys):
    """A sealed presentation of *renditions*."""
    return seal(
        Presentation(
            track_id="t1",
            generation="",
            title="Title",
            artist="Artist",
            timing=Timing(48_000, 0, renditions[0].timing.samples, 0),
            loudness=SILENT,
            album_id=None,
            album_loudness=None,
            master_sha256="0" * 64,
            recipe_sha256="1" * 64,
            keys=tuple(keys),
            renditions=tuple(renditions),
        )
    )


def stored(presentation, media):
    """All objects of a generation, as ingest publishes them."""
    store = MemoryStore()
    extra = extra_objects(presentation, b'{"data": [1, -1]}', b'{"warnings": []}', "")

    async def everything():
        await publish(presentation, media | extra, store)
        return {info.key: await store.get(info.key) async for info in store.list("tracks/")}

    return asyncio.run(everything())


@pytest.fixture(scope="module")
def track(synthetic, tmp_path_factory):
    """The generation of a small track in two rungs and two schemes, and all its objects."""
    folder, renditions, used = tmp_path_factory.mktemp("track"), [], 0
    files = {}
    for bitrate in (64_000, 96_000):
        encoded = synthetic(Codec.OPUS, packets=60)
        paths = {DrmProfile(s): folder / f"{s}-{bitrate}.mp4" for s in Scheme}
        rendition = package(
            encoded,
            rung=Rung(Codec.OPUS, bitrate, Tier.HIGH),
            outputs={drm: Output(p, KEYS[Scheme(drm)], used) for drm, p in paths.items()},
            segment_ticks=15 * 960,
        )
        used += len(encoded.sizes)
        renditions.append(rendition)
        files |= {(rendition.name, drm): path.read_bytes() for drm, path in paths.items()}
    presentation = describe(renditions, [key.description for key in KEYS.values()])
    media = {f.key: files[r.name, f.drm] for r in presentation.renditions for f in r.files}
    return presentation.generation, stored(presentation, media)


def test_what_was_published_is_right(track):
    generation, objects = track
    report = verify(objects, generation)

    assert report.problems == []
    assert report.notes == []
    assert len(report.checked) == len(objects)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_found_in_any_object_at_any_place(track, data):
    generation, objects = track
    key = data.draw(st.sampled_from(sorted(objects)))
    body = bytearray(objects[key])
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    report = verify({**objects, key: bytes(body)}, generation)

    assert report.problems
    assert any(line.startswith((key, "tracks/t1")) for line in report.problems)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_an_object_that_is_gone_or_cut_short_or_too_many_is_found(track, data):
    generation, objects = track
    key = data.draw(st.sampled_from(sorted(objects)))
    cut = data.draw(st.integers(0, len(objects[key]) - 1))
    gone = {k: body for k, body in objects.items() if k != key}

    report = verify(gone, generation)
    assert report.problems or report.notes
    assert verify({**objects, key: objects[key][:cut]}, generation).problems
    assert verify({**objects, f"{key}.bak": b"x"}, generation).problems


def test_sums_that_are_no_hashes_are_their_own_damage(track):
    generation, objects = track
    key = next(key for key in objects if key.endswith(SUMS))
    report = verify({**objects, key: objects[key].replace(b'":"', b'":"x', 1)}, generation)

    assert [line for line in report.problems if line.startswith(key)]


def test_one_bad_file_does_not_hide_the_next(track):
    generation, objects = track
    media = sorted(key for key in objects if key.endswith(".mp4"))
    damaged = {k: objects[k][:-1] + bytes((objects[k][-1] ^ 1,)) for k in media[:2]}
    report = verify({**objects, **damaged}, generation)

    assert [line.partition(":")[0] for line in report.problems] == media[:2]
    assert all("SHA-256" in line for line in report.problems)


def test_a_description_that_was_changed_is_found_by_its_hash(track):
    generation, objects = track
    key = f"tracks/t1/{generation}/presentation.json"
    changed = dataclasses.replace(description.decode(objects[key]), title="Other")
    report = verify({**objects, key: description.encode(changed)}, generation)

    [problem] = report.problems
    assert "its hash is not its generation" in problem


def test_rungs_that_do_not_align_are_found(track):
    generation, objects = track
    key = f"tracks/t1/{generation}/presentation.json"
    old = description.decode(objects[key])
    first, second = old.renditions
    ticks = (first.segment_ticks[0] + 960, first.segment_ticks[1] - 960, *first.segment_ticks[2:])
    moved = dataclasses.replace(first, segment_ticks=ticks)
    new = seal(dataclasses.replace(old, renditions=(moved, second)))
    renamed = {k.replace(generation, new.generation): body for k, body in objects.items()}
    renamed[f"tracks/t1/{new.generation}/presentation.json"] = description.encode(new)
    report = verify(renamed, new.generation)

    assert "opus-96k: is not cut where opus-64k is" in report.problems


@pytest.mark.parametrize("scheme", Scheme)
def test_a_wrong_or_missing_key_is_found_and_not_shown(track, scheme):
    generation, objects = track
    wrong = dataclasses.replace(KEYS[scheme], key=b"sixteen key byte")

    report = verify(objects, generation, Source({**KEYS, scheme: wrong}))
    assert len(report.problems) == 2
    assert "sixteen" not in json.dumps(report.as_json())
    report = verify(objects, generation, Source({s: k for s, k in KEYS.items() if s is not scheme}))
    assert any("the key source does not know it" in line for line in report.problems)


def test_generations_from_before_the_sums_are_checked_without(track):
    generation, objects = track
    old = {key: body for key, body in objects.items() if not key.endswith("sha256.json")}
    report = verify(old, generation)

    assert report.problems == []
    assert "waveform and report are not checked" in report.notes[0]


class PeriodSource:
    """A key source whose key changes with the period."""

    def __init__(self, keys):
        self._keys = keys

    def keys(self, request: KeyRequest):
        return (self._keys[request.period],)


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_track_whose_keys_change_is_verified_key_by_key(rotated, where, bit):
    generation, objects, keys = rotated
    [media] = [key for key in objects if key.endswith(".mp4")]
    body = bytearray(objects[media])
    body[int(where * len(body))] ^= 1 << bit

    assert verify(objects, generation, PeriodSource(keys)).problems == []
    [problem] = verify({**objects, media: bytes(body)}, generation, PeriodSource(keys)).problems
    assert problem.startswith(media)


@pytest.fixture(scope="module")
def rotated(synthetic, tmp_path_factory):
    """A track with a clear lead and two keys: its generation, objects and keys."""
    path = tmp_path_factory.mktemp("rotated") / "file.mp4"
    keys = [
        ContentKey(
            KeyDescription(uuid.UUID(int=period + 9), Tier.HIGH, Scheme.CENC, (), period),
            bytes(range(period, period + 16)),
            bytes(range(period, period + 8)),
        )
        for period in range(2)
    ]
    rendition = package(
        synthetic(Codec.OPUS, packets=60),
        rung=Rung(Codec.OPUS, 64_000, Tier.HIGH),
        outputs={DrmProfile.CENC: Output(path, keys[0], later_keys=(keys[1],))},
        segment_ticks=15 * 960,
        encryption=Encryption(clear_segments=1, period_segments=2),
    )
    presentation = describe([rendition], [key.description for key in keys])
    [file] = presentation.renditions[0].files
    return presentation.generation, stored(presentation, {file.key: path.read_bytes()}), keys


@pytest.fixture(scope="module")
def home(tmp_path_factory, encoded):
    """A home with one ingested track."""
    folder = tmp_path_factory.mktemp("verify")
    words = ["--home", str(folder / "home"), "ingest", str(folder / "master.wav")]
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(encoded["flac-16-44k"])]
    subprocess.run([*decode, words[-1]], check=True, timeout=60)
    words += ["--track-id", "song", "--lossless", "--scheme", "both"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    return folder / "home"


def test_the_command_verifies_an_ingested_track_and_finds_damage(home, tmp_path):
    damaged = tmp_path / "home"
    shutil.copytree(home, damaged)
    run = functools.partial(CliRunner().invoke, cli)
    good = run(["--home", str(home), "track", "verify", "song"])
    path = min(damaged.rglob("cenc/flac.mp4"))
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 4
    path.chmod(0o600)
    path.write_bytes(body)
    bad = run(["--home", str(damaged), "track", "verify", "song", "--json"])

    assert good.exit_code == 0, good.output
    assert "nothing is wrong" in good.stdout
    assert bad.exit_code == 1
    report = json.loads(bad.stdout)
    assert not report["ok"]
    assert [line.split(":")[0].split("/", 3)[3] for line in report["problems"]] == ["cenc/flac.mp4"]


def test_an_unknown_track_is_one_error(home):
    result = CliRunner().invoke(cli, ["--home", str(home), "track", "verify", "nobody"])

    assert "there is no track nobody" in result.exception.message


@pytest.mark.parametrize("tier", ["aac-96k", "flac", "opus-64k"])
def test_renditions_lie_where_the_master_does(home, tier):
    words = ["--home", str(home), "track", "verify", "song", "--json", "--master"]
    result = CliRunner().invoke(cli, [*words, str(home.parent / "master.wav")])
    notes = json.loads(result.stdout)["notes"]

    assert result.exit_code == 0, result.output
    [note] = [note for note in notes if note.startswith(f"{tier}: ")]
    assert ("bit-exact" in note) is (tier == "flac")


def test_another_master_is_refused(home, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes((home.parent / "master.wav").read_bytes()[:-4])
    words = ["--home", str(home), "track", "verify", "song", "--master", str(other)]
    result = CliRunner().invoke(cli, words)

    assert "is not what song was made from" in result.exception.message


class FailingStore(MemoryStore):
    """A store that stops answering when one object is asked for."""

    def __init__(self, objects, failing):
        super().__init__()
        self._failing = failing
        for key, body in objects.items():
            asyncio.run(self.put_if_absent(key, body))

    async def get(self, key):
        if key == self._failing:
            raise UnavailableError("the store does not answer")
        return await super().get(key)


@pytest.mark.parametrize("name", [SUMS, "waveform.json", "presentation.json"])
def test_an_object_that_could_not_be_read_is_not_called_wrong(track, name):
    generation, objects = track
    failing = next(key for key in objects if key.endswith(name))

    with pytest.raises(UnavailableError):
        asyncio.run(verify_track("t1", generation, FailingStore(objects, failing), Source()))
