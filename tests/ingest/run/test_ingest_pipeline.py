"""From masters to published tracks, in this process: store in memory, real ffmpeg and vault."""

import json
from dataclasses import replace

import numpy as np
import pytest

from core.keysource import KeyRequest
from core.model import DrmProfile, Scheme, Tier
from ingest.encode.ladder import MUSIC, with_lossless
from ingest.run.progress import Stage
from packager.cmaf.verify import verify_file
from packager.manifest.presentation import decode
from tests.ingest.conftest import music, write_wav


class DeathError(Exception):
    """No error of ours: the run dies of it."""


async def described(parts, outcome):
    prefix = f"tracks/{outcome.track_id}/{outcome.generation}"
    return decode(await parts.store.get(f"{prefix}/presentation.json"))


async def keys_in(store, prefix="tracks/"):
    return [info.key async for info in store.list(prefix)]


async def test_a_master_becomes_a_published_track_in_every_scheme(ingest, parts, masters):
    path = masters("s24.wav")

    [outcome] = await ingest(
        [path], ladder=with_lossless(MUSIC), schemes=tuple(Scheme), regions=("eu", "us")
    )

    assert outcome.status == "published"
    presentation = await described(parts, outcome)
    request = KeyRequest(outcome.track_id, tuple(Tier), tuple(Scheme))
    keys = {key.description.kid: key for key in parts.key_source.keys(request)}
    for rendition in presentation.renditions:
        assert {file.drm for file in rendition.files} == {DrmProfile.CBCS, DrmProfile.CENC}
        for file in rendition.files:
            stored = await parts.store.get(file.key)
            verify_file(stored, rendition, file, keys[file.kid])
    entry = parts.catalogue.get(outcome.track_id).entry
    assert entry.generation == presentation.generation
    assert (entry.title, entry.artist, entry.track_id) == ("Sunday", "The Testers", "gbaye0000001")
    assert entry.regions == ("eu", "us")
    assert list(parts.work_dir.iterdir()) == []


async def test_what_lies_beside_the_media_tells_the_same_story(ingest, parts, masters):
    [outcome] = await ingest([masters("flac.flac")])
    prefix = f"tracks/{outcome.track_id}/{outcome.generation}"

    report = json.loads(await parts.store.get(f"{prefix}/report.json"))
    waveform = json.loads(await parts.store.get(f"{prefix}/waveform.json"))
    playlist = await parts.store.get(f"{prefix}/cbcs/static/high.m3u8")

    assert report["loudness"]["integrated_lufs"] == outcome.loudness.integrated_lufs
    assert report["master"]["codec"] == "flac"
    assert waveform["length"] > 500
    assert playlist.startswith(b"#EXTM3U")


async def test_the_same_master_is_unchanged_and_a_new_ladder_is_not(ingest, parts, masters):
    path = masters("s16.wav")
    [first] = await ingest([path])
    before = await keys_in(parts.store)

    [second] = await ingest([path])
    [third] = await ingest([path], ladder=with_lossless(MUSIC))

    assert (second.status, second.generation) == ("unchanged", first.generation)
    assert second.encoded == ()
    assert third.status == "published"
    assert third.previous == first.generation
    assert set(before) < set(await keys_in(parts.store))


async def test_the_same_master_gives_the_same_generation_in_another_home(
    ingest, parts, masters, tmp_path
):
    [first] = await ingest([masters("s16.wav")])
    second_home = replace(parts, work_dir=tmp_path / "other")
    parts.catalogue.remove(first.track_id)

    [second] = await ingest([masters("s16.wav")], parts=second_home)

    assert (second.status, second.generation) == ("published", first.generation)


async def test_only_new_regions_change_the_terms_but_encode_nothing(ingest, parts, masters):
    [first] = await ingest([masters("s16.wav")])

    [second] = await ingest([masters("s16.wav")], regions=("jp",))

    assert (second.status, second.generation) == ("unchanged", first.generation)
    assert parts.catalogue.get(first.track_id).entry.regions == ("jp",)


async def test_a_track_that_the_store_has_lost_is_made_again(ingest, parts, masters):
    [first] = await ingest([masters("s16.wav")])
    await parts.store.delete(f"tracks/{first.track_id}/{first.generation}/presentation.json")

    [second] = await ingest([masters("s16.wav")])

    assert (second.status, second.generation) == ("published", first.generation)


async def test_a_bad_master_is_reported_and_the_others_go_on(ingest, masters, tmp_path):
    cut = tmp_path / "cut.wav"
    cut.write_bytes(masters("s16.wav").read_bytes()[:100_000])
    silent = write_wav(tmp_path / "silent.wav", np.zeros((44_100, 2)))

    bad, quiet, good = await ingest([cut, silent, masters("flac.flac")])

    assert (bad.status, quiet.status, good.status) == ("failed", "failed", "published")
    assert "truncated" in bad.error
    assert "silent" in quiet.error
    assert bad.hint
    assert quiet.hint


async def test_nothing_of_a_refused_master_is_left(ingest, parts, tmp_path):
    silent = write_wav(tmp_path / "silent.wav", np.zeros((44_100, 2)))

    await ingest([silent])

    assert await keys_in(parts.store) == []
    assert parts.catalogue.list() == ()
    assert list(parts.work_dir.iterdir()) == []


async def test_two_masters_of_one_name_are_refused_and_the_others_go_on(ingest, parts, tmp_path):
    paths = [
        write_wav(tmp_path / "My Song.wav", music(1.0)),
        write_wav(tmp_path / "my-song.wav", music(1.0, seed=8)),
        write_wav(tmp_path / "other.wav", music(1.0, seed=9)),
    ]

    first, second, other = await ingest(paths)

    for refused in (first, second):
        assert refused.status == "failed"
        assert "would become the track my-song" in refused.error
        assert "--track-id" in refused.hint
    assert other.status == "published"
    assert await keys_in(parts.store, "tracks/my-song/") == []


async def test_an_album_is_one_programme(ingest, parts, tmp_path):
    paths = [
        write_wav(tmp_path / "loud.wav", music(4)),
        write_wav(tmp_path / "soft.wav", music(4, seed=8) * 0.02),
    ]

    loud, soft = await ingest(paths, album="Größte Hits")

    first, second = await described(parts, loud), await described(parts, soft)
    assert first.album_id == "grote-hits"
    assert first.album_loudness == second.album_loudness
    mean = (first.loudness.integrated_lufs + second.loudness.integrated_lufs) / 2
    assert abs(first.album_loudness.integrated_lufs - mean) > 10
    assert first.album_loudness.integrated_lufs == pytest.approx(
        first.loudness.integrated_lufs, abs=0.2
    )
    assert [t.entry.track_id for t in parts.catalogue.album("grote-hits")] == ["loud", "soft"]


async def test_an_album_that_gains_a_track_is_measured_again(ingest, parts, tmp_path):
    loud = write_wav(tmp_path / "loud.wav", music(3))
    soft = write_wav(tmp_path / "soft.wav", music(3, seed=8) * 0.05)
    [alone] = await ingest([soft], album="Suite")

    both = await ingest([loud, soft], album="Suite")
    again = await ingest([loud, soft], album="Suite")

    assert [outcome.status for outcome in both] == ["published", "published"]
    assert both[1].previous == alone.generation
    assert [outcome.status for outcome in again] == ["unchanged", "unchanged"]
    presentations = [await described(parts, outcome) for outcome in both]
    assert presentations[0].album_loudness == presentations[1].album_loudness


async def test_a_track_far_from_one_that_was_replaced_gets_the_new_loudness_of_the_album(
    ingest, parts, tmp_path
):
    masters = [write_wav(tmp_path / f"{n}.wav", music(2, seed=n) * 0.1) for n in range(3)]
    before = await ingest(masters, album="Suite")
    write_wav(masters[2], music(2, seed=9))

    after = await ingest(masters, album="Suite")

    # nothing of the first track but its album has changed
    assert [outcome.status for outcome in after] == ["published"] * 3
    old, new = await described(parts, before[0]), await described(parts, after[0])
    assert old.recipe_sha256 == new.recipe_sha256
    assert new.album_loudness.integrated_lufs > old.album_loudness.integrated_lufs + 6
    assert new.album_loudness == (await described(parts, after[2])).album_loudness


async def test_an_album_with_a_bad_track_is_published_without_it(ingest, tmp_path):
    good = write_wav(tmp_path / "good.wav", music(2))
    silent = write_wav(tmp_path / "silent.wav", np.zeros((44_100, 2)))

    outcomes = await ingest([silent, good], album="Suite")

    assert [outcome.status for outcome in outcomes] == ["failed", "published"]


async def test_a_withdrawn_track_is_not_brought_back(ingest, parts, masters):
    [first] = await ingest([masters("s16.wav")])
    parts.catalogue.withdraw(first.track_id)

    [second] = await ingest([masters("s16.wav")])

    assert second.status == "failed"
    assert "withdrawn" in second.error


async def test_what_a_dead_run_had_finished_is_not_encoded_again(ingest, parts, masters):
    stored, put = [], parts.store.put_if_absent

    async def die(key, body):
        stored.append(await put(key, body))
        if len(stored) == 3:
            raise DeathError
        return stored[-1]

    parts.store.put_if_absent = die
    with pytest.raises(DeathError):
        await ingest([masters("s16.wav")])
    assert parts.catalogue.list() == ()
    parts.store.put_if_absent = put

    [outcome] = await ingest([masters("s16.wav")])

    assert outcome.status == "published"
    assert outcome.encoded == ()
    assert len(await keys_in(parts.store)) == len(
        await keys_in(parts.store, f"tracks/{outcome.track_id}/{outcome.generation}/")
    )


async def test_orphans_of_a_dead_run_go_when_another_generation_is_published(
    ingest, parts, masters
):
    put = parts.store.put_if_absent

    async def die(key, body):
        await put(key, body)
        raise DeathError

    parts.store.put_if_absent = die
    with pytest.raises(DeathError):
        await ingest([masters("s16.wav")], title="Old title")
    parts.store.put_if_absent = put
    orphans = await keys_in(parts.store)

    [outcome] = await ingest([masters("s16.wav")], title="New title")

    left = await keys_in(parts.store)
    assert orphans
    assert all(f"/{outcome.generation}/" in key for key in left)


async def test_progress_is_told_in_order(ingest, masters):
    told = []

    await ingest([masters("s16.wav")], listener=lambda *news: told.append(news))

    stages = list(dict.fromkeys(stage for _, stage, _ in told))
    assert stages == [
        Stage.CHECK,
        Stage.QUEUED,
        Stage.ENCODE,
        Stage.PACKAGE,
        Stage.STORE,
        Stage.DONE,
    ]
    shares = [share for _, stage, share in told if stage is Stage.ENCODE]
    assert shares == sorted(shares)
    assert shares[-1] == 1


async def test_a_mono_and_a_lossy_master_get_what_they_hold(ingest, parts, masters, tmp_path):
    mono = write_wav(tmp_path / "mono.wav", music(1.5, channels=1))

    first, second = await ingest([mono, masters("aac.m4a")], ladder=with_lossless(MUSIC))

    assert {r.channels for r in (await described(parts, first)).renditions} == {1}
    assert second.renditions == ("aac-96k", "opus-64k", "opus-96k")
    assert any("aac-320k is left out" in warning for warning in second.warnings)
