"""`tonearm tier` on local stores and a real catalogue."""

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import wire
from core.catalogue import Tail, TrackEntry
from core.home import Home
from core.model import (
    Codec,
    DrmProfile,
    KeyDescription,
    Loudness,
    MediaFile,
    Presentation,
    Rendition,
    Scheme,
    Tier,
    Timing,
)
from core.storage import open_store
from ingest.published.tier_commands import tier
from packager.manifest.presentation import encode, seal

KID = uuid.UUID("6f1c0d44-8f7e-4d43-9d5c-1b2a3c4d5e6f")
LOUDNESS = Loudness(-14.0, 5.0, -10.0, -12.0, -1.0)


@pytest.fixture
def wiring(tmp_path):
    return wire(Home(tmp_path))


@pytest.fixture
def run(wiring):
    def run(*arguments):
        return CliRunner().invoke(tier, arguments, obj=wiring)

    return run


def rows_of(result):
    """The words below the headings."""
    return result.stdout.partition("\n")[2].split()


def published(wiring, track_id, segments=10):
    """A track of two renditions with *segments* segments; returns its media files by key."""
    dice = random.Random(track_id)
    timing = Timing(48_000, 312, 184_320 * (segments - 1) + 1000, 648)
    bodies, renditions = {}, []
    for name, bitrate in (("opus-64k", 64_000), ("opus-96k", 96_000)):
        sizes = tuple(3000 + n for n in range(segments))
        body = dice.randbytes(900 + sum(sizes))
        file = MediaFile(
            drm=DrmProfile.CBCS,
            key=f"tracks/{track_id}/-/cbcs/{name}.mp4",
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            init_size=700,
            index_size=200,
            segment_sizes=sizes,
            average_bps=6_000,
            peak_bps=90_000,
            kid=KID,
        )
        ticks = (184_320,) * (segments - 1) + (timing.media_ticks - 184_320 * (segments - 1),)
        renditions.append(
            Rendition(
                name=name, codec=Codec.OPUS, tier=Tier.LOW, codecs="opus", bitrate_bps=bitrate,
                sample_rate=48_000, channels=2, bit_depth=None, timing=timing,
                segment_ticks=ticks, packets_sha256="0" * 64, files=(file,),
            )
        )  # fmt: skip
        bodies[name] = body
    presentation = seal(
        Presentation(
            track_id=track_id, generation="-", title="T", artist="A",
            timing=replace(timing, priming=0, padding=0), loudness=LOUDNESS, album_id=None,
            album_loudness=None, master_sha256="a" * 64, recipe_sha256="b" * 64,
            keys=(KeyDescription(KID, Tier.LOW, Scheme.CBCS, ()),), renditions=tuple(renditions),
        )
    )  # fmt: skip
    files = {r.files[0].key: bodies[r.name] for r in presentation.renditions}
    asyncio.run(_store(wiring, presentation, files))
    return files


async def _store(wiring, p, files):
    store = wiring.store()
    for key, body in files.items():
        assert await store.put_if_absent(key, body)
    await store.put_if_absent(f"tracks/{p.track_id}/{p.generation}/presentation.json", encode(p))
    await store.aclose()
    entry = TrackEntry(
        track_id=p.track_id, generation=p.generation, title=p.title, artist=p.artist,
        regions=("ww",), master_sha256=p.master_sha256, recipe_sha256=p.recipe_sha256,
        tiers=(Tier.LOW,), schemes=(Scheme.CBCS,), duration_ticks=p.timing.samples,
        timescale=48_000, loudness=LOUDNESS,
    )  # fmt: skip
    catalogue = wiring.catalogue()
    catalogue.publish(entry, published_at_s=1)
    catalogue.close()


def read(wiring, files):
    async def get():
        store = wiring.store()
        bodies = {key: await store.get(key) for key in files}
        await store.aclose()
        return bodies

    return asyncio.run(get())


def tail_of(wiring, track_id):
    catalogue = wiring.catalogue()
    try:
        return catalogue.get(track_id).tail
    finally:
        catalogue.close()


def test_a_track_goes_cold_and_comes_back(wiring, run):
    files = published(wiring, "one")
    published(wiring, "two")
    whole = sum(map(len, files.values()))

    result = run("demote", "one", "--json")
    assert result.exit_code == 0
    [row] = [json.loads(line) for line in result.stdout.splitlines()]
    intro = 2 * (700 + 200 + 3000 + 3001)
    assert (row["trackId"], row["tail"], row["files"]) == ("one", "cold", 2)
    assert (row["hotSize"], row["coldSize"]) == (intro, whole)
    assert tail_of(wiring, "one") is Tail.COLD
    assert read(wiring, files) == files

    rows = [json.loads(line) for line in run("status", "--json").stdout.splitlines()]
    assert [(r["trackId"], r["tail"], r["hotSize"]) for r in rows] == [
        ("one", "cold", intro),
        ("two", "hot", whole),
    ]

    result = run("promote", "one")
    assert (result.exit_code, rows_of(result)[:3]) == (0, ["one", "hot", "2"])
    assert tail_of(wiring, "one") is Tail.HOT
    assert read(wiring, files) == files


def test_an_interrupted_move_shows_as_mixed_and_ends_with_the_next_run(wiring, run):
    files = published(wiring, "one")
    run("demote", "one")
    first = min(files)
    asyncio.run(_put(wiring, first, files[first]))

    assert json.loads(run("status", "one", "--json").stdout)["tail"] == "mixed"
    assert json.loads(run("demote", "one", "--json").stdout)["tail"] == "cold"


async def _put(wiring, key, body):
    hot = open_store(wiring.home.hot_url)
    await hot.put_if_absent(key, body)
    await hot.aclose()


def test_what_fails_is_reported_and_the_others_go_on(wiring, run):
    files = published(wiring, "good")
    published(wiring, "rotten")
    result = run("demote", "none", "rotten", "good", "--json")
    assert result.exit_code == 1
    assert "error: none: there is no track none" in result.stderr
    assert "hint:" in result.stderr
    assert [json.loads(line)["trackId"] for line in result.stdout.splitlines()] == [
        "rotten",
        "good",
    ]

    cold = next((wiring.home.path / "cold" / "tracks" / "rotten").rglob("*.mp4"))
    cold.write_bytes(cold.read_bytes()[:-1] + b"?")
    result = run("promote", "rotten", "good")
    assert result.exit_code == 1
    assert "hash" in result.stderr
    assert rows_of(result)[:2] == ["good", "hot"]
    assert (tail_of(wiring, "rotten"), tail_of(wiring, "good")) == (Tail.COLD, Tail.HOT)
    assert read(wiring, files) == files


def test_a_track_of_two_segments_stays_hot(wiring, run):
    files = published(wiring, "short", segments=2)

    row = json.loads(run("demote", "short", "--json").stdout)
    assert (row["tail"], row["files"]) == ("hot", 0)
    assert read(wiring, files) == files


def test_a_name_that_is_no_track_is_one_clear_error(run):
    for name in ("none", "../x"):
        result = run("status", name)
        assert result.exit_code == 1
        assert result.exception.hint


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from click.testing import CliRunner\n"
        "from ingest.published.tier_commands import tier\n"
        "assert CliRunner().invoke(tier, ['demote', '--help']).exit_code == 0\n"
        "print({'numpy', 'boto3', 'aiohttp', 'sqlalchemy', 'obstore', 'rich'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout == "set()\n"
