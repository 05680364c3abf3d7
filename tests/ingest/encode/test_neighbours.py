"""Tracks of an album are encoded with the audio around them, and sound like one at the seam."""

from dataclasses import replace

import av
import numpy as np
import pytest

from core.model import Codec, Rung, Tier
from ingest.encode.children import Children
from ingest.encode.neighbours import ALONE, Rolls, can_roll, cut_off, edges, rolls
from ingest.encode.transcode import ROLL_SAMPLES, Job, Output, transcode
from ingest.master.probe import probe
from packager.encoded.fast_mp4 import read_mp4
from packager.manifest import presentation
from tests.ingest.conftest import music, write_wav

RATE = 48_000
CUT = 2 * RATE + 331
NEAR = RATE // 100
RUNGS = (
    Rung(Codec.AAC, 96_000, Tier.LOW),
    Rung(Codec.AAC, 320_000, Tier.HIGH),
    Rung(Codec.OPUS, 96_000, Tier.LOW),
    Rung(Codec.FLAC, 0, Tier.LOSSLESS),
)


@pytest.fixture(scope="module")
def whole():
    """Tones without noise, which would drown what an encoder adds at a seam."""
    time = np.arange(round(4.2 * RATE)) / RATE
    tones = [[np.sin(2 * np.pi * hz * k * time) for k in (1, 2, 3)] for hz in (220, 440)]
    return 0.1 * np.sum(tones, axis=1).T


@pytest.fixture(scope="module")
def halves(whole, toolchain, tmp_path_factory):
    """Both parts of the signal as masters, and their ends."""
    folder = tmp_path_factory.mktemp("halves")
    found = {}
    for place, part in enumerate((whole[:CUT], whole[CUT:]), 1):
        master = probe(write_wav(folder / f"{place}.wav", part, RATE, width=3))
        found[place] = master, edges(master, toolchain, Children())
    return found


def encoded(master, fed, toolchain, folder):
    """Tracks by name, cut off to the master's own samples."""
    sides = {}
    for side, pcm in (("before", fed.before), ("after", fed.after)):
        if pcm is not None:
            sides[side] = folder / side
            sides[side].write_bytes(pcm.astype("<f4").tobytes())
    outputs = tuple(Output(rung, folder / f"{rung.name}.mp4") for rung in RUNGS)
    samples = transcode(Job(master, outputs, toolchain, **sides), Children(), lambda _: None)
    return {
        o.rung.name: (o.path, cut_off(read_mp4(o.path, samples=None), fed.sides, samples))
        if fed.identity and o.rung.codec is not Codec.FLAC
        else (o.path, read_mp4(o.path, samples=samples))
        for o in outputs
    }


def decoded(path, track):
    """The music of a track, from its packets alone; AAC."""
    with av.open(str(path)) as container:
        source = container.streams.audio[0].codec_context
        decoder = av.CodecContext.create(source.name, "r")
        decoder.extradata = source.extradata
    packets, at = [], 0
    for size in track.sizes:
        packets.append(av.Packet(bytes(track.payload[at : at + size])))
        at += size
    frames = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    pcm = np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T
    return pcm[track.timing.priming : track.timing.priming + track.timing.samples]


@pytest.fixture(scope="module")
def both_ways(halves, toolchain, tmp_path_factory):
    """Each part's tracks: encoded alone, and between neighbours."""
    found = {place: ends for place, (_, ends) in halves.items()}
    made = {}
    for place, (master, _) in halves.items():
        for fed in (ALONE, rolls(found, place)):
            folder = tmp_path_factory.mktemp("encoded")
            made[place, fed is not ALONE] = encoded(master, fed, toolchain, folder)
    return made


def seam_error(made, name, whole, *, fed):
    """Mean square of the difference to the master within 10 ms of the seam."""
    joined = np.concatenate([decoded(*made[place, fed][name]) for place in (1, 2)])
    assert joined.shape == whole.shape
    error = (joined - whole)[CUT - NEAR : CUT + NEAR]
    return float(np.mean(error**2))


@pytest.mark.parametrize(("name", "times"), [("aac-96k", 3), ("aac-320k", 100)])
def test_neighbours_take_the_noise_from_a_seam(both_ways, whole, name, times):
    alone = seam_error(both_ways, name, whole, fed=False)
    fed = seam_error(both_ways, name, whole, fed=True)

    assert times * fed < alone


@pytest.mark.parametrize("name", ["aac-96k", "aac-320k", "opus-96k"])
def test_the_gapless_numbers_stay_as_they_are(both_ways, name):
    for place in (1, 2):
        alone, fed = (both_ways[place, how][name][1] for how in (False, True))
        assert fed.timing == alone.timing
        assert len(fed.sizes) == len(alone.sizes)
        assert len(fed.payload) == sum(fed.sizes)


def test_lossless_packets_stay_as_they_are(both_ways):
    for place in (1, 2):
        alone, fed = (both_ways[place, how]["flac"][1] for how in (False, True))
        assert bytes(fed.payload) == bytes(alone.payload)


def test_the_ends_are_those_of_the_master(halves, whole):
    first, second = halves[1][1], halves[2][1]

    assert first.tail.shape == second.head.shape == (ROLL_SAMPLES, 2)
    np.testing.assert_allclose(first.tail, whole[CUT - ROLL_SAMPLES : CUT], atol=1e-6)
    np.testing.assert_allclose(second.head, whole[CUT : CUT + ROLL_SAMPLES], atol=1e-6)


def test_a_short_neighbour_is_filled_up_with_silence_in_front(halves, toolchain, tmp_path):
    short = music(0.5, RATE)
    ends = edges(probe(write_wav(tmp_path / "s.wav", short, RATE, 3)), toolchain, Children())
    fed = rolls({1: ends, 2: halves[2][1]}, 2)

    assert fed.before.shape == (ROLL_SAMPLES, 2)
    assert not fed.before[: ROLL_SAMPLES - len(short)].any()
    np.testing.assert_allclose(fed.before[-len(short) :], short, atol=1e-6)


def test_neighbours_of_another_rate_or_layout_and_damaged_ones_are_none(
    halves, toolchain, tmp_path
):
    own = halves[1][1]
    slow = edges(probe(write_wav(tmp_path / "r.wav", music(1))), toolchain, Children())
    mono = write_wav(tmp_path / "m.wav", music(1, RATE, 1), RATE)
    mono = edges(probe(mono), toolchain, Children())

    for other in (slow, mono, None):
        assert rolls({1: own, 2: other}, 1).identity == {}
        assert rolls({1: other, 2: own}, 2).identity == {}
    assert rolls({1: own, 3: own}, 1).identity == {}


def test_a_damaged_master_has_no_ends(toolchain, tmp_path):
    path = write_wav(tmp_path / "cut.wav", music(1))
    master = probe(path)
    path.write_bytes(b"no audio any more")

    assert edges(master, toolchain, Children()) is None


def test_a_master_for_which_no_process_can_be_started_has_no_ends(halves, toolchain, tmp_path):
    missing = replace(toolchain, ffmpeg=tmp_path / "nowhere")

    assert edges(halves[1][0], missing, Children()) is None


def test_an_album_too_large_for_memory_or_of_an_odd_rate_is_encoded_without(halves):
    master = halves[1][0]

    assert can_roll(master, 2)
    assert not can_roll(master, 1_000)
    assert not can_roll(replace(master, sample_rate=11_127), 2)


def test_the_identity_is_that_of_the_samples():
    pcm = np.ones((4, 2), np.float32)

    assert Rolls(before=pcm).identity == Rolls(before=pcm.copy()).identity
    assert Rolls(before=pcm).identity != Rolls(after=pcm).identity
    assert Rolls(before=pcm).identity != Rolls(before=-pcm).identity


async def test_an_album_again_is_unchanged_and_a_new_neighbour_encodes_again(
    ingest, parts, whole, tmp_path
):
    paths = [
        write_wav(tmp_path / f"part-{place}.wav", part, RATE, width=3)
        for place, part in enumerate((whole[:CUT], whole[CUT : 2 * CUT]), 1)
    ]
    await ingest(paths, album="Suite")
    again = await ingest(paths, album="Suite")
    before = {t.entry.track_id: t.entry.recipe_sha256 for t in parts.catalogue.album("suite")}
    write_wav(paths[1], -whole[CUT : 2 * CUT], RATE, width=3)
    changed = await ingest(paths, album="Suite")
    single = await ingest(paths[:1], album="Suite")
    after = {t.entry.track_id: t.entry.recipe_sha256 for t in parts.catalogue.album("suite")}

    assert [o.status for o in again] == ["unchanged", "unchanged"]
    assert [o.status for o in changed] == ["published", "published"]
    assert [o.status for o in single] == ["published"]
    assert len({before["part-1"], after["part-1"]}) == 2
    stored = parts.catalogue.get("part-2").entry
    key = f"tracks/part-2/{stored.generation}/presentation.json"
    described = presentation.decode(await parts.store.get(key))
    assert {r.timing.priming for r in described.renditions} == {1024, 312}
