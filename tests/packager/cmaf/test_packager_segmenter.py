"""Packaged files: right for players, for independent decrypters, and the same every time."""

import dataclasses
import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError
from core.model import Codec, DrmProfile, Loudness, Timing
from packager.cmaf.grid import bitrates, edited_ticks, grid_of, segment_samples
from packager.cmaf.segmenter import Output
from packager.encoded.fast_mp4 import read_mp4
from packager.mp4 import grammar
from packager.mp4.moov import Movie
from packager.mp4.sidx import SegmentIndex

ENCODED = ["aac-96k", "opus-96k", "flac-16-44k", "flac-24-96k"]
LOUDNESS = Loudness(-14.2, 5.0, -9.1, -10.3, -1.1)


def boxes_of(path):
    return grammar.read_boxes(path.read_bytes())


@pytest.mark.parametrize("name", ENCODED)
def test_shaka_packager_decrypts_to_the_encoders_packets(
    encoded, packaged, shaka, packet_hashes, name
):
    _, paths = packaged(read_mp4(encoded[name]))

    cbcs, cenc = shaka(paths[DrmProfile.CBCS]), shaka(paths[DrmProfile.CENC])

    assert packet_hashes(cbcs) == packet_hashes(encoded[name])
    assert packet_hashes(cenc) == packet_hashes(encoded[name])


@pytest.mark.parametrize("name", ENCODED)
def test_the_clear_file_holds_the_encoders_packets(encoded, packaged, packet_hashes, name):
    rendition, paths = packaged(read_mp4(encoded[name]))

    assert packet_hashes(paths[DrmProfile.CLEAR]) == packet_hashes(encoded[name])
    assert rendition.packets_sha256 == hashlib.sha256(read_mp4(encoded[name]).payload).hexdigest()


@pytest.mark.parametrize("codec", [Codec.AAC, Codec.OPUS, Codec.FLAC])
@pytest.mark.parametrize("drm", DrmProfile)
def test_init_segments_match_the_golden_bytes(golden, synthetic, packaged, codec, drm):
    rate = 96_000 if codec is Codec.FLAC else 48_000
    rendition, paths = packaged(
        synthetic(codec, rate=rate), loudness=LOUDNESS, album_loudness=LOUDNESS
    )

    init = paths[drm].read_bytes()[: rendition.file(drm).init_size]

    golden(f"packager/init_{codec}_{drm}.bin", init)


@pytest.mark.parametrize("drm", DrmProfile)
def test_a_small_file_matches_the_golden_bytes(golden, synthetic, packaged, drm):
    _, paths = packaged(synthetic(Codec.OPUS, packets=12), segment_ticks=4 * 960)

    golden(f"packager/file_opus_{drm}.bin", paths[drm].read_bytes())


def test_the_same_input_gives_the_same_bytes(encoded, packaged):
    first, _ = packaged(read_mp4(encoded["opus-96k"]))
    second, _ = packaged(read_mp4(encoded["opus-96k"]))

    assert first == second


@pytest.mark.parametrize("name", ENCODED)
def test_the_rendition_says_what_the_files_are(encoded, packaged, name):
    rendition, paths = packaged(read_mp4(encoded[name]))

    for drm, path in paths.items():
        data, file = path.read_bytes(), rendition.file(drm)
        assert file.size == len(data)
        assert file.sha256 == hashlib.sha256(data).hexdigest()
        boxes = grammar.read_boxes(data)
        assert [b.fourcc for b in boxes[:3]] == [b"ftyp", b"moov", b"sidx"]
        assert file.init_size == boxes[0].size + boxes[1].size
        assert file.index_size == boxes[2].size
        pairs = zip(boxes[3::2], boxes[4::2], strict=True)
        assert file.segment_sizes == tuple(moof.size + mdat.size for moof, mdat in pairs)
        assert file.average_bps <= file.peak_bps


@pytest.mark.parametrize("name", ENCODED)
def test_the_index_is_on_the_edited_timeline(encoded, packaged, name):
    rendition, paths = packaged(read_mp4(encoded[name]))
    boxes = boxes_of(paths[DrmProfile.CBCS])

    index = SegmentIndex.decode(boxes[2].payload)

    durations = [r.duration for r in index.references]
    assert sum(durations) == rendition.timing.samples
    assert durations[0] == rendition.segment_ticks[0] - rendition.timing.priming
    sizes = [r.size for r in index.references]
    assert sizes == list(rendition.file(DrmProfile.CBCS).segment_sizes)


def test_all_codecs_share_one_grid(synthetic):
    music = 48_000 * 27 + 11
    counts = set()
    for codec, frame, priming in ((Codec.AAC, 1024, 1024), (Codec.OPUS, 960, 312)):
        packets = -(-(music + priming) // frame)
        timing = Timing(48_000, priming, music, packets * frame - priming - music)
        track = dataclasses.replace(synthetic(codec, packets), timing=timing)
        grid = grid_of(track, segment_samples(48_000))
        counts.add(len(grid.ticks))
        assert set(grid.ticks[:-1]) == {184_320}
    assert counts == {7}


@pytest.mark.parametrize(("tail", "segments"), [(23_999, 2), (24_000, 3)])
def test_a_tail_under_half_a_second_joins_the_segment_before(synthetic, tail, segments):
    music = 2 * 184_320 + tail
    packets = -(-(music + 1024) // 1024)
    timing = Timing(48_000, 1024, music, packets * 1024 - 1024 - music)
    track = dataclasses.replace(synthetic(Codec.AAC, packets), timing=timing)

    assert len(grid_of(track, 184_320).ticks) == segments


@given(
    packets=st.integers(2, 3000),
    padding=st.integers(0, 1023),
    segment_ticks=st.integers(4096, 400_000),
)
def test_segments_add_up_on_both_timelines(synthetic, packets, padding, segment_ticks):
    timing = Timing(48_000, 1024, (packets - 1) * 1024 - padding, padding)
    track = dataclasses.replace(synthetic(Codec.AAC, packets), timing=timing)

    grid = grid_of(track, segment_ticks)

    edited = edited_ticks(grid.ticks, timing)
    assert sum(grid.ticks) == timing.media_ticks
    assert sum(edited) == timing.samples
    assert min(edited) > 0
    assert (grid.cuts[0], grid.cuts[-1]) == (0, packets)


def test_a_segment_within_the_priming_is_refused(synthetic):
    with pytest.raises(InvalidInputError, match="shorter than the encoder delay"):
        grid_of(synthetic(Codec.AAC), 1024)


def movie_of(path):
    return Movie.decode(boxes_of(path)[1].payload)


def test_a_hi_res_flac_entry_has_a_rate_that_fits_and_a_true_one_in_its_configuration(
    encoded, packaged
):
    rendition, paths = packaged(read_mp4(encoded["flac-24-96k"]))
    movie = movie_of(paths[DrmProfile.CBCS])

    assert movie.entry.sample_rate == 48_000
    assert movie.entry.config.sample_rate == 96_000
    assert movie.entry.sample_size == movie.entry.config.bit_depth == 24
    assert movie.timescale == rendition.sample_rate == 96_000
    assert movie.roll_distance is None
    assert rendition.bit_depth == 24


@pytest.mark.parametrize(
    ("codec", "packet", "distance"), [(Codec.AAC, 1024, -1), (Codec.OPUS, 960, -4)]
)
def test_lossy_codecs_say_how_far_decoders_must_roll(synthetic, packaged, codec, packet, distance):
    _, paths = packaged(synthetic(codec))

    movie = movie_of(paths[DrmProfile.CLEAR])
    fragments = [b.payload for b in boxes_of(paths[DrmProfile.CLEAR]) if b.fourcc == b"moof"]

    assert movie.sample_duration == packet
    assert movie.roll_distance == distance
    assert all(b"sbgp" in bytes(f) for f in fragments)


def test_the_start_is_trimmed_by_an_edit_and_the_end_is_not(synthetic, packaged):
    track = synthetic(Codec.AAC)
    _, paths = packaged(track)
    movie = movie_of(paths[DrmProfile.CLEAR])

    assert (movie.priming, movie.duration) == (1024, track.timing.samples)
    data = paths[DrmProfile.CLEAR].read_bytes()
    at = data.index(b"elst")
    assert data[at + 12 : at + 16] == bytes(4)  # the edit lasts to the end
    assert b"\x00\x00\x02\x01" in data[data.rindex(b"trun") :][:8]  # no sample is shortened


def test_the_loudness_of_track_and_album_travels_in_the_track(synthetic, packaged):
    album = dataclasses.replace(LOUDNESS, integrated_lufs=-13.0)
    _, paths = packaged(synthetic(Codec.AAC), loudness=LOUDNESS, album_loudness=album)

    ludt = movie_of(paths[DrmProfile.CENC]).loudness

    assert ludt.track.measurements[0].value == 174  # (-14.2 + 57.75) * 4
    assert ludt.album.measurements[0].value == 179


def test_the_keys_pssh_boxes_lie_in_moov_and_the_clear_file_has_none(synthetic, packaged, keys):
    _, paths = packaged(synthetic(Codec.AAC))

    assert movie_of(paths[DrmProfile.CLEAR]).pssh == ()
    for drm in (DrmProfile.CBCS, DrmProfile.CENC):
        signals = keys[drm].description.signals
        assert movie_of(paths[drm]).pssh == tuple(s.pssh for s in signals)


def test_cenc_renditions_of_one_key_use_disjoint_ivs(synthetic, packaged, keys, tmp_path):
    track, cenc = synthetic(Codec.AAC, 10), DrmProfile.CENC
    first, second = tmp_path / "1.mp4", tmp_path / "2.mp4"

    packaged(track, outputs={cenc: Output(first, keys[cenc])})
    packaged(track, outputs={cenc: Output(second, keys[cenc], first_sample=10)})

    def ivs(path):
        data = path.read_bytes()
        at = data.index(b"senc") + 12
        return {data[at + 8 * i : at + 8 * i + 8] for i in range(10)}

    assert len(ivs(first) | ivs(second)) == 20


@pytest.mark.parametrize(
    "drm_key", [("cbcs", None), ("cbcs", "cenc"), ("cenc", "cbcs"), ("clear", "cbcs")]
)
def test_a_key_that_does_not_fit_is_refused(synthetic, packaged, keys, tmp_path, drm_key):
    drm, key = drm_key
    output = Output(tmp_path / "x.mp4", keys[DrmProfile(key)] if key else None)

    with pytest.raises(InvalidInputError):
        packaged(synthetic(Codec.AAC), outputs={DrmProfile(drm): output})


def test_the_peak_ignores_a_short_last_segment():
    timing = Timing(1000, 0, 2100, 0)

    assert bitrates((500, 500, 500), (1000, 1000, 100), timing) == (5715, 5715)
    assert bitrates((800, 500, 20), (1000, 1000, 100), timing) == (5029, 6400)


@pytest.mark.parametrize("ciphers", ["cenc", "cenc_across"])
def test_memory_stays_flat_however_long_the_track_is(ciphers, tmp_path):
    """105 MB of packets; the interpreter, and numpy where it is used, are there before."""
    script = """
import importlib, mmap, resource, sys, uuid
from array import array
from pathlib import Path
from core.model import *
from packager.cmaf.grid import segment_samples
from packager.mp4.esds import AacConfig
from packager.cmaf.segmenter import Output, package
from packager.encoded.track import EncodedTrack
folder, packets = Path(sys.argv[1]), 150_000
importlib.import_module("packager.protect." + sys.argv[2])
with (folder / "payload").open("w+b") as file:
    file.truncate(700 * packets)
    payload = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
config, timing = AacConfig(b"\\x11\\x90"), Timing(48000, 1024, (packets - 1) * 1024, 0)
sizes = array("I", [700]) * packets
track = EncodedTrack(
    config, Codec.AAC, "mp4a.40.2", 48000, 2, None, 1024, sizes, payload, timing
)
description = KeyDescription(uuid.UUID(int=1), Tier.LOW, Scheme.CBCS, ())
key = ContentKey(description, bytes(16), bytes(16))
outputs = {DrmProfile.CBCS: Output(folder / "cbcs", key)}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
package(track, rung=Rung(Codec.AAC, 256000, Tier.HIGH), outputs=outputs,
        segment_ticks=segment_samples(48000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = [sys.executable, "-c", script, str(tmp_path), ciphers]

    grown = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60)

    assert int(grown.stdout) < 40 * 1024  # KiB
