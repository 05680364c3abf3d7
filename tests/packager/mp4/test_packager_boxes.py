"""The two laws of every box: reading undoes writing, and hostile bytes raise our error alone."""

import contextlib
import dataclasses
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import MalformedBoxError
from core.model import Loudness, Scheme
from packager.mp4 import grammar
from packager.mp4.alac import AlacConfig
from packager.mp4.asc import AacKind, aac_kind
from packager.mp4.dfla import FlacConfig
from packager.mp4.dops import OpusConfig
from packager.mp4.elst import Edit, EditList
from packager.mp4.esds import AacConfig
from packager.mp4.ftyp import FileType
from packager.mp4.hdlr import Handler
from packager.mp4.ludt import LoudnessBox, LoudnessInfo, Measurement, peak_code, range_code
from packager.mp4.mdhd import MediaHeader
from packager.mp4.moof import MovieFragment
from packager.mp4.moov import Movie
from packager.mp4.mvex import MovieExtends
from packager.mp4.mvhd import MovieHeader
from packager.mp4.pssh import ProtectionHeader
from packager.mp4.roll import RollDescription, RollMembers
from packager.mp4.saio import AuxiliaryOffset
from packager.mp4.saiz import AuxiliarySizes
from packager.mp4.seig import KeyGroup
from packager.mp4.senc import SampleEncryption
from packager.mp4.sidx import Reference, SegmentIndex
from packager.mp4.sinf import Protection
from packager.mp4.stbl import SampleTables
from packager.mp4.stsd import AudioEntry
from packager.mp4.tenc import TrackEncryption
from packager.mp4.tfdt import DecodeTime
from packager.mp4.tfhd import TrackFragmentHeader
from packager.mp4.tkhd import TrackHeader
from packager.mp4.trun import TrackRun


def uint(bits):
    return st.integers(0, (1 << bits) - 1)


def fixed(size):
    return st.binary(min_size=size, max_size=size)


def many(strategy, **limits):
    return st.lists(strategy, max_size=8, **limits).map(tuple)


u8, u16, u32, u64 = map(uint, (8, 16, 32, 64))
configs = st.one_of(
    st.builds(AacConfig, st.binary(max_size=200), u32, u32, uint(24)),
    st.builds(FlacConfig, fixed(34)),
    st.builds(AlacConfig, fixed(24)),
    st.integers(1, 8).flatmap(
        lambda n: st.builds(
            OpusConfig, st.just(n), u16, u32, st.integers(-(1 << 15), (1 << 15) - 1)
        )
    ),
    st.integers(1, 8).flatmap(
        lambda n: st.builds(
            OpusConfig, st.just(n), u16, u32, st.just(0), st.integers(1, 255), fixed(2 + n)
        )
    ),
)
tencs = st.one_of(
    st.builds(TrackEncryption, st.uuids(), st.sampled_from((8, 16))),
    st.builds(TrackEncryption, st.uuids(), st.just(0), fixed(16), uint(4), uint(4)),
)
entries = configs.flatmap(
    lambda config: st.builds(
        AudioEntry,
        st.just(config),
        u16,
        u16,
        u16,
        st.none() | st.builds(Protection, st.just(config.ENTRY), st.sampled_from(Scheme), tencs),
    )
).flatmap(
    lambda entry: st.builds(
        dataclasses.replace,
        st.just(entry),
        clear_lead=st.booleans() if entry.protection else st.just(False),
    )
)
measurements = st.builds(Measurement, u8, u8, uint(4), uint(4))
infos = st.builds(LoudnessInfo, uint(12), many(measurements), uint(12))
ludts = st.builds(LoudnessBox, st.none() | infos, st.none() | infos)
psshs = st.builds(ProtectionHeader, st.uuids(), many(st.uuids()), st.binary(max_size=50))
movies = st.builds(
    Movie,
    u32,
    entries,
    u32,
    u64,
    uint(33),
    st.none() | st.integers(-(1 << 15), -1),
    st.none() | ludts,
    many(psshs.map(ProtectionHeader.encode)),
)
edits = st.builds(Edit, u64, st.integers(-1, (1 << 63) - 1))


@st.composite
def runs(draw):
    sizes = draw(many(u32))
    durations = draw(st.sampled_from((0, len(sizes))))
    return TrackRun(
        draw(st.integers(-(1 << 31), (1 << 31) - 1)),
        sizes,
        tuple(draw(u32) for _ in range(durations)),
    )


key_groups = st.one_of(
    st.builds(KeyGroup, st.uuids(), st.sampled_from((8, 16))),
    st.builds(KeyGroup, st.uuids(), st.just(0), fixed(16), uint(4), uint(4)),
)


@st.composite
def fragments(draw, iv_size):
    sizes = draw(st.lists(u32, min_size=1, max_size=8).map(tuple))
    durations = draw(st.sampled_from(((), tuple(range(len(sizes))))))
    encryption = SampleEncryption(len(sizes), draw(fixed(iv_size * len(sizes))))
    if not iv_size:
        encryption = draw(st.sampled_from((None, encryption)))
    return MovieFragment(
        draw(u32),
        draw(u64),
        draw(u32),
        sizes,
        durations,
        draw(st.booleans()),
        encryption,
        draw(st.integers(1, 2)),
        draw(st.none() | key_groups),
        draw(many(psshs.map(ProtectionHeader.encode))),
    )


def senc_with_ivs(payload):
    return SampleEncryption.decode(payload, 8)


def moof_with_ivs(payload):
    return MovieFragment.decode(payload, 8)


BOXES = {
    "ftyp": (
        st.builds(FileType, fixed(4), many(fixed(4)), u32),
        FileType.decode,
    ),
    "mvhd": (st.builds(MovieHeader, u32, u64, u32), MovieHeader.decode),
    "tkhd": (st.builds(TrackHeader, u32, u64), TrackHeader.decode),
    "mdhd": (st.builds(MediaHeader, u32, u64, u16), MediaHeader.decode),
    "hdlr": (
        st.builds(Handler, fixed(4), st.binary(max_size=20).map(lambda b: b.rstrip(b"\0"))),
        Handler.decode,
    ),
    "elst": (st.builds(EditList, many(edits)), EditList.decode),
    "stsd": (entries, AudioEntry.decode),
    "esds": (st.builds(AacConfig, st.binary(max_size=300), u32, u32, uint(24)), AacConfig.decode),
    "dfLa": (st.builds(FlacConfig, fixed(34)), FlacConfig.decode),
    "alac": (st.builds(AlacConfig, fixed(24)), AlacConfig.decode),
    "tenc": (tencs, TrackEncryption.decode),
    "sinf": (st.builds(Protection, fixed(4), st.sampled_from(Scheme), tencs), Protection.decode),
    "mvex": (st.builds(MovieExtends, st.none() | u64, u32, u32), MovieExtends.decode),
    "sgpd": (
        st.builds(RollDescription, st.integers(-(1 << 15), (1 << 15) - 1)),
        RollDescription.decode,
    ),
    "sbgp": (st.builds(RollMembers, u32), RollMembers.decode),
    "sidx": (
        st.builds(SegmentIndex, u32, many(st.builds(Reference, uint(31), u32)), u64, u64, u32),
        SegmentIndex.decode,
    ),
    "tfhd": (st.builds(TrackFragmentHeader, u32, u32, u32), TrackFragmentHeader.decode),
    "tfdt": (st.builds(DecodeTime, u64), DecodeTime.decode),
    "trun": (runs(), TrackRun.decode),
    "senc": (many(fixed(8)).map(lambda i: SampleEncryption(len(i), b"".join(i))), senc_with_ivs),
    "saiz": (st.builds(AuxiliarySizes, st.integers(1, 255), u32), AuxiliarySizes.decode),
    "saio": (st.builds(AuxiliaryOffset, u32), AuxiliaryOffset.decode),
    "moof": (fragments(0), MovieFragment.decode),
    "moof-cenc": (fragments(8), moof_with_ivs),
    "pssh": (psshs, ProtectionHeader.decode),
    "ludt": (ludts, LoudnessBox.decode),
    "moov": (movies, Movie.decode),
}
everything = pytest.mark.parametrize("name", BOXES)


@everything
@given(data=st.data())
def test_decode_undoes_encode(name, data):
    values, decode = BOXES[name]
    value = data.draw(values)

    [box] = grammar.read_boxes(value.encode())

    assert decode(box.payload) == value


@everything
@given(payload=st.binary(max_size=200))
def test_bytes_from_outside_raise_nothing_but_our_error(name, payload):
    with contextlib.suppress(MalformedBoxError):
        BOXES[name][1](payload)


@everything
@given(data=st.data())
def test_damaged_boxes_raise_nothing_but_our_error(name, data):
    values, decode = BOXES[name]
    damaged = bytearray(data.draw(values).encode()[grammar.HEADER_SIZE :])
    for _ in range(data.draw(st.integers(1, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(u8)
    del damaged[data.draw(st.integers(0, len(damaged))) :]

    with contextlib.suppress(MalformedBoxError):
        decode(bytes(damaged))


@given(payload=st.binary(max_size=80))
def test_hostile_audio_specific_configs_raise_nothing_but_our_error(payload):
    with contextlib.suppress(MalformedBoxError):
        aac_kind(payload)


@given(
    tables=st.fixed_dictionaries(
        {name: st.binary(max_size=60) for name in (b"stsz", b"stco", b"stsc", b"stts")}
    )
)
def test_hostile_sample_tables_raise_nothing_but_our_error(tables):
    boxes = [
        grammar.Box(name, memoryview(bytes(4) + payload), 0, 0) for name, payload in tables.items()
    ]
    with contextlib.suppress(MalformedBoxError):
        SampleTables.decode(boxes, 1 << 20).start_if_contiguous()


def test_a_constant_packet_size_does_not_reserve_more_than_the_file_holds():
    stsz = bytes(4) + (1).to_bytes(4, "big") + (1 << 25).to_bytes(4, "big")
    box = grammar.Box(b"stsz", memoryview(stsz), 0, 0)

    with pytest.raises(MalformedBoxError, match="more bytes than the file"):
        SampleTables.decode([box], 1000)


@given(payload=st.binary(max_size=100))
def test_box_headers_from_outside_raise_nothing_but_our_error(payload):
    with contextlib.suppress(MalformedBoxError):
        boxes = grammar.read_boxes(payload)
        assert sum(b.size for b in boxes) == len(payload)


def test_a_64_bit_size_and_an_open_end_are_read():
    large = (1).to_bytes(4, "big") + b"free" + (20).to_bytes(8, "big") + b"abcd"
    open_end = bytes(4) + b"mdat" + b"rest"

    boxes = grammar.read_boxes(large + open_end)

    assert [(b.fourcc, bytes(b.payload), b.offset) for b in boxes] == [
        (b"free", b"abcd", 0),
        (b"mdat", b"rest", 20),
    ]


def test_a_box_larger_than_its_container_is_refused():
    with pytest.raises(MalformedBoxError, match="claims 100 bytes where 8 are left"):
        grammar.read_boxes((100).to_bytes(4, "big") + b"free")


def test_depth_and_count_are_bounded(monkeypatch):
    with pytest.raises(MalformedBoxError, match="deeper"):
        grammar.read_boxes(b"", depth=grammar.MAX_DEPTH + 1)
    monkeypatch.setattr(grammar, "MAX_BOXES", 3)
    with pytest.raises(MalformedBoxError, match="more than 3 boxes"):
        grammar.read_boxes(grammar.box(b"free") * 4)


def test_a_dops_is_big_endian_version_0_and_has_no_magic():
    payload = OpusConfig(2, 312, 44_100, -2).encode()[8:]

    assert payload.hex(" ") == "00 02 01 38 00 00 ac 44 ff fe 00"


def test_a_cbcs_tenc_has_version_1_and_a_cenc_one_version_0():
    kid = uuid.UUID(int=1)

    cbcs = TrackEncryption(kid, 0, bytes(16)).encode()
    cenc = TrackEncryption(kid, 8).encode()

    assert cbcs[8:16].hex() == "0100000000000100"
    assert cbcs[32] == 16
    assert cenc[8:16].hex() == "0000000000000108"


def test_an_auxiliary_offset_points_to_the_first_iv():
    ivs = bytes(range(24))
    moof = MovieFragment(1, 0, 1024, (5, 6, 7), roll=True, encryption=SampleEncryption(3, ivs))
    encoded = moof.encode()
    at = encoded.index(b"saio")

    offset = int.from_bytes(encoded[at + 12 : at + 16], "big")

    assert encoded[offset : offset + 24] == ivs


def test_the_data_offset_points_behind_the_header_of_the_mdat_that_follows():
    encoded = MovieFragment(1, 0, 1024, (5, 6, 7)).encode()
    at = encoded.index(b"trun")

    assert int.from_bytes(encoded[at + 12 : at + 16], "big") == len(encoded) + 8


def test_a_constant_iv_needs_no_auxiliary_offsets():
    encoded = MovieFragment(1, 0, 1024, (5,), encryption=SampleEncryption(1)).encode()

    assert b"saio" not in encoded
    assert b"saiz" not in encoded
    assert encoded.endswith(b"senc\0\0\0\0\0\0\0\x01")


@pytest.mark.parametrize(
    ("specific", "kind"),
    [
        ("1190", AacKind(2, 48_000, 2)),
        ("11b0", AacKind(2, 48_000, 6)),
        ("11b8", AacKind(2, 48_000, 8)),  # 7: three in front, two beside, two behind, and LFE
        ("11e0", AacKind(2, 48_000, 8)),  # 12
        ("11d8", AacKind(2, 48_000, 7)),  # 11
        ("1180", AacKind(2, 48_000, 0)),  # a program config element says it
        ("119056e500", AacKind(2, 48_000, 2)),  # ffmpeg says: certainly no SBR
        ("2b118800", AacKind(5, 48_000, 2)),  # hierarchical HE-AAC, 24 kHz core
        ("eb098800", AacKind(29, 48_000, 2)),  # hierarchical HE-AAC v2, 24 kHz mono core
        ("131056e598", AacKind(5, 48_000, 2)),  # backward compatible HE-AAC, 24 kHz core
    ],
)
def test_the_kind_of_aac_is_read_from_its_configuration(specific, kind):
    assert aac_kind(bytes.fromhex(specific)) == kind


def test_a_flac_configuration_tells_rates_that_the_sample_entry_cannot():
    packed = (192_000 << 44 | 1 << 41 | 23 << 36 | 12345).to_bytes(8, "big")
    config = FlacConfig(bytes(10) + packed + bytes(16))

    assert (config.sample_rate, config.channels) == (192_000, 2)
    assert (config.bit_depth, config.total_samples) == (24, 12345)


def test_loudness_is_coded_as_mpeg_drc_says():
    info = LoudnessInfo.of(Loudness(-14.0, 6.5, None, -9.75, -1.0))

    assert info.measurements == (Measurement(1, 175), Measurement(5, 192), Measurement(6, 26))
    assert info.true_peak == 672  # (20 - -1) * 32
    assert (range_code(40.0), range_code(80.0), peak_code(25.0)) == (144, 214, 1)


def test_silence_has_no_loudness_to_write():
    info = LoudnessInfo.of(Loudness(None, None, None, None, None))

    assert (info.true_peak, info.measurements) == (0, ())


@given(key_groups, st.integers(1, 1 << 20))
def test_a_key_group_says_how_large_it_is_and_reads_itself(group, count):
    sgpd, sbgp = grammar.read_boxes(group.encode(count))

    assert len(group.encode(count)) == group.size
    assert KeyGroup.decode(sgpd.payload, sbgp.payload, count) == group


@given(st.binary(max_size=64), st.binary(max_size=32))
def test_key_groups_from_outside_raise_nothing_but_our_error(sgpd, sbgp):
    with contextlib.suppress(MalformedBoxError):
        KeyGroup.decode(sgpd, sbgp, 1)
