"""Verification accepts what was packaged and finds every flipped bit."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import IntegrityError
from core.model import Codec, DrmProfile, Timing
from packager.cmaf.segmenter import Output
from packager.cmaf.verify import Verified, overlapping_ivs, verify_file
from packager.encoded.fast_mp4 import read_mp4
from packager.mp4 import grammar


@pytest.fixture(scope="module")
def small(synthetic, packaged):
    """A rendition and its bytes by protection."""
    rendition, paths = packaged(synthetic(Codec.OPUS, packets=60), segment_ticks=15 * 960)
    return rendition, {drm: path.read_bytes() for drm, path in paths.items()}


@pytest.fixture(scope="module", params=["hashes", "track"])
def proof(request, synthetic):
    """Keywords for either way to know what the encoder made."""
    return {} if request.param == "hashes" else {"encoded": synthetic(Codec.OPUS, 60)}


@pytest.mark.parametrize("name", ["aac-96k", "opus-96k", "flac-16-44k", "flac-24-96k"])
def test_what_was_packaged_verifies(encoded, packaged, keys, name):
    track = read_mp4(encoded[name])
    rendition, paths = packaged(track)

    for drm, path in paths.items():
        verified = verify_file(path, rendition, rendition.file(drm), keys[drm])
        assert verified.packets == len(track.sizes)
        assert (verified.first_iv is not None) == (drm is DrmProfile.CENC)


@pytest.mark.parametrize("drm", DrmProfile)
@settings(max_examples=300)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(small, keys, proof, drm, where, bit):
    rendition, bodies = small
    damaged = bytearray(bodies[drm])
    damaged[int(where * len(damaged))] ^= 1 << bit

    with pytest.raises(IntegrityError) as caught:
        verify_file(bytes(damaged), rendition, rendition.file(drm), keys[drm], **proof)

    assert caught.value.message.startswith(f"opus-96k/{drm}: ")


@pytest.mark.parametrize("drm", DrmProfile)
@pytest.mark.parametrize("fourcc", [b"ftyp", b"moov", b"sidx", b"moof", b"mdat"])
def test_every_byte_of_every_kind_of_box_counts(small, keys, proof, drm, fourcc):
    rendition, bodies = small
    box = next(b for b in grammar.read_boxes(bodies[drm]) if b.fourcc == fourcc)
    for at in range(box.offset, box.offset + box.size):
        damaged = bytearray(bodies[drm])
        damaged[at] ^= 0x10
        with pytest.raises(IntegrityError):
            verify_file(bytes(damaged), rendition, rendition.file(drm), keys[drm], **proof)


@pytest.mark.parametrize("packets", [b"", b"one more"])
def test_packets_are_counted_to_the_last_byte(small, synthetic, keys, packets):
    rendition, bodies = small
    made = synthetic(Codec.OPUS, 60)
    payload = bytes(made.payload) + packets if packets else bytes(made.payload[:-1])

    with pytest.raises(IntegrityError, match=r"bytes of all packets|as the encoder made them"):
        verify_file(
            bodies[DrmProfile.CBCS],
            rendition,
            rendition.file(DrmProfile.CBCS),
            keys[DrmProfile.CBCS],
            encoded=dataclasses.replace(made, payload=memoryview(payload)),
        )


@pytest.mark.parametrize(
    ("fourcc", "offset", "words"),
    [
        (b"elst", 23, r"init at byte 0: priming in elst: \d+, not 312"),
        (b"mehd", 15, r"init at byte 0: duration in mehd"),
        (b"sidx", 35, r"sidx at byte \d+: size and duration of segment 1"),
        (b"tfdt", 19, r"segment 1 at byte \d+: decode time: 1, not 0"),
        (b"mfhd", 15, r"segment 1 at byte \d+: sequence number: 0, not 1"),
        (b"trun", 19, r"segment 1 at byte \d+: moof is not laid out"),
    ],
)
def test_the_message_says_what_and_where(small, keys, fourcc, offset, words):
    rendition, bodies = small
    damaged = bytearray(bodies[DrmProfile.CBCS])
    damaged[damaged.index(fourcc) - 4 + offset] ^= 1
    file = rendition.file(DrmProfile.CBCS)

    with pytest.raises(IntegrityError, match=words):
        verify_file(bytes(damaged), rendition, file, keys[DrmProfile.CBCS])


def test_damaged_packets_are_told_from_damaged_boxes(small, keys):
    rendition, bodies = small
    damaged = bytearray(bodies[DrmProfile.CENC])
    damaged[-1] ^= 1

    with pytest.raises(IntegrityError, match="the packets' SHA-256"):
        verify_file(
            bytes(damaged), rendition, rendition.file(DrmProfile.CENC), keys[DrmProfile.CENC]
        )


@pytest.mark.parametrize("drm", [DrmProfile.CBCS, DrmProfile.CENC])
def test_another_key_is_found(small, keys, drm):
    rendition, bodies = small
    wrong = dataclasses.replace(keys[drm], key=b"sixteen key byte")

    with pytest.raises(IntegrityError, match="the packets' SHA-256") as caught:
        verify_file(bodies[drm], rendition, rendition.file(drm), wrong)

    assert "sixteen" not in str(caught.value)


def test_a_missing_key_is_found(small):
    rendition, bodies = small

    with pytest.raises(IntegrityError, match="key"):
        verify_file(bodies[DrmProfile.CBCS], rendition, rendition.file(DrmProfile.CBCS), None)


def test_a_truncated_or_empty_file_is_found(small, keys, tmp_path):
    rendition, bodies = small
    path = tmp_path / "file.mp4"
    for size in (0, 100, len(bodies[DrmProfile.CBCS]) - 1):
        path.write_bytes(bodies[DrmProfile.CBCS][:size])
        with pytest.raises(IntegrityError):
            verify_file(path, rendition, rendition.file(DrmProfile.CBCS), keys[DrmProfile.CBCS])


@pytest.mark.parametrize(
    "change",
    [
        {"timing": Timing(48_000, 311, 57_189, 100)},
        {"timing": Timing(44_100, 312, 57_188, 100)},
        {"sample_rate": 44_100},
        {"channels": 1},
        {"codecs": "mp4a.40.2"},
        {"bit_depth": 16},
        {"packets_sha256": "0" * 64},
        {"segment_ticks": (14_400, 28_800, 14_400)},
        {"segment_ticks": (14_400, 14_400, 13_440, 15_360)},
    ],
    ids=str,
)
def test_a_false_promise_is_found(small, keys, change):
    rendition, bodies = small
    assert all(getattr(rendition, name) != value for name, value in change.items())

    with pytest.raises(IntegrityError):
        verify_file(
            bodies[DrmProfile.CBCS],
            dataclasses.replace(rendition, **change),
            rendition.file(DrmProfile.CBCS),
            keys[DrmProfile.CBCS],
        )


def test_overlapping_ivs_of_renditions_under_one_key_are_found(synthetic, packaged, keys, tmp_path):
    drm, track = DrmProfile.CENC, synthetic(Codec.AAC, 10)
    found = []
    for first in (0, 10, 19):
        path = tmp_path / f"{first}.mp4"
        rendition, _ = packaged(track, outputs={drm: Output(path, keys[drm], first)})
        found.append(verify_file(path, rendition, rendition.file(drm), keys[drm]))

    assert not overlapping_ivs(found[:2])
    assert overlapping_ivs(found)
    assert not overlapping_ivs([Verified(5, None), Verified(5, None)])


def test_overlap_is_found_where_ivs_wrap_around():
    last = Verified(3, (1 << 64) - 2)

    assert overlapping_ivs([last, Verified(1, 0)])
    assert not overlapping_ivs([last, Verified(1, 1)])
