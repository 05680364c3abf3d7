"""What containers declare: built byte by byte here, so that each rule is asked alone."""

import contextlib
import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.errors import MasterRejectedError
from ingest.master.containers import XING_SEARCH_SIZE, Container, declaration, sniff

EXTENSIBLE = 0xFFFE
FLOAT = 3
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Each example overwrites the file of the one before."""


@pytest.fixture
def declared(tmp_path):
    """`declared(container, data)`: what a file of these bytes says."""

    def read(container, data):
        path = tmp_path / "master"
        path.write_bytes(data)
        return declaration(path, container)

    return read


def chunk(fourcc, body, order="<", size=None):
    padding = b"\0" * (len(body) & 1)
    return fourcc + struct.pack(order + "I", len(body) if size is None else size) + body + padding


def wav(*chunks, magic=b"RIFF"):
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body)) + body


def fmt(channels, bits, *, kind=1, valid_bits=None):
    block = channels * ((bits + 7) // 8)
    head = struct.pack("<HHIIHH", kind, channels, 44_100, 44_100 * block, block, bits)
    if kind != EXTENSIBLE:
        return chunk(b"fmt ", head)
    guid = struct.pack("<H", 1) + bytes(14)
    return chunk(b"fmt ", head + struct.pack("<HHI", 22, valid_bits, 3) + guid)


def aiff(*chunks, magic=b"AIFF"):
    body = magic + b"".join(chunks)
    return b"FORM" + struct.pack(">I", len(body)) + body


def comm(channels, frames, bits, compression=b""):
    rate = bytes.fromhex("400eac44000000000000")  # 44,100 as an 80-bit float
    return chunk(b"COMM", struct.pack(">hIh", channels, frames, bits) + rate + compression, ">")


def ssnd(body, size=None):
    return chunk(b"SSND", bytes(8) + body, ">", None if size is None else size + 8)


def flac(samples, bits, md5):
    packed = 44_100 << 44 | 1 << 41 | (bits - 1) << 36 | samples
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + packed.to_bytes(8, "big") + md5
    return b"fLaC" + bytes([0x80]) + len(info).to_bytes(3, "big") + info


def mp3(tag=b"Xing", flags=0, frames=0, size=None):
    fields = struct.pack(">I", frames) if flags & 1 else b""
    fields += struct.pack(">I", size) if flags & 2 else b""
    return b"\xff\xfb\x90\x00" + bytes(32) + tag + struct.pack(">I", flags) + fields


def box(fourcc, body, *, long=False, size=None):
    header = 16 if long else 8
    size = header + len(body) if size is None else size
    if long:
        return struct.pack(">I", 1) + fourcc + struct.pack(">Q", size) + body
    return struct.pack(">I", size) + fourcc + body


def ogg_page(body, *, last):
    flags = 4 if last else 0
    lacing = bytes([255] * (len(body) // 255) + [len(body) % 255])
    return b"OggS" + bytes([0, flags]) + bytes(20) + bytes([len(lacing)]) + lacing + body


WAV = wav(fmt(2, 16), chunk(b"data", bytes(400)))
AIFF = aiff(comm(2, 100, 16), ssnd(bytes(400)))
MP4 = box(b"ftyp", b"M4A ") + box(b"moov", bytes(20)) + box(b"mdat", bytes(100))
OGG = ogg_page(bytes(300), last=False) + ogg_page(bytes(300), last=True)


@pytest.mark.parametrize(
    "data, container",
    [
        (WAV, Container.WAV),
        (wav(magic=b"RF64"), Container.WAV),
        (wav(magic=b"BW64"), Container.WAV),
        (AIFF, Container.AIFF),
        (aiff(magic=b"AIFC"), Container.AIFF),
        (flac(1, 16, bytes(16)), Container.FLAC),
        (MP4, Container.MP4),
        (OGG, Container.OGG),
        (mp3(), Container.MP3),
        (b"ID3\x04" + bytes(8), Container.MP3),
        (b"RIFF\0\0\0\0AVI LIST", None),
        (b"FORM\0\0\0\0ILBM", None),
        (b"\xff\xf1 AAC ADTS", None),
        (b"", None),
    ],
)
def test_a_container_is_known_by_its_first_twelve_bytes(data, container):
    assert sniff(data[:12]) is container


@given(st.sampled_from(Container), st.binary(max_size=200))
@example(Container.MP3, b"\xff\xfb\x90\x00" + bytes(10) + b"Xing")
@example(Container.MP3, b"\xff\xfb\x90\x00" + bytes(XING_SEARCH_SIZE - 8) + b"Info")
@in_one_folder
def test_any_bytes_are_a_declaration_or_a_refusal(declared, container, data):
    whole = {Container.WAV: WAV, Container.AIFF: AIFF, Container.MP4: MP4, Container.OGG: OGG}
    for start in (b"", whole.get(container, b"")[:12], whole.get(container, b"")[:40]):
        with contextlib.suppress(MasterRejectedError):
            declared(container, start + data)


@pytest.mark.parametrize(
    "container, data",
    [(Container.WAV, WAV), (Container.AIFF, AIFF), (Container.MP4, MP4), (Container.OGG, OGG)],
)
def test_a_file_that_lacks_any_number_of_bytes_at_its_end_is_refused(declared, container, data):
    declared(container, data)

    taken = []
    for length in range(len(data)):
        with contextlib.suppress(MasterRejectedError):
            declared(container, data[:length])
            taken.append(length)

    # without a byte of its header nobody knows of a box behind the moov; the decoder will miss it
    moov_end = len(data) - 108
    assert taken == ([*range(moov_end, moov_end + 8)] if container is Container.MP4 else [])


@given(st.integers(1, 8), st.sampled_from([8, 16, 24, 32]), st.integers(0, 50))
@in_one_folder
def test_a_wav_declares_its_frames_and_depth(declared, channels, bits, frames):
    audio = bytes(frames * channels * bits // 8)

    answer = declared(Container.WAV, wav(fmt(channels, bits), chunk(b"data", audio)))

    assert (answer.samples, answer.bit_depth) == (frames, bits)
    assert answer.length_known


def test_what_stands_around_the_audio_of_a_wav_is_no_audio(declared):
    odd = chunk(b"LIST", b"odd")  # padded to an even length
    data = wav(odd, fmt(2, 16), chunk(b"bext", bytes(602)), chunk(b"data", bytes(400)), odd)

    assert declared(Container.WAV, data).samples == 100


def test_a_float_wav_has_no_depth(declared):
    data = wav(fmt(2, 32, kind=FLOAT), chunk(b"data", bytes(800)))

    assert declared(Container.WAV, data).bit_depth is None


def test_the_valid_bits_of_an_extensible_wav_are_its_depth(declared):
    data = wav(fmt(2, 32, kind=EXTENSIBLE, valid_bits=24), chunk(b"data", bytes(800)))

    assert declared(Container.WAV, data).bit_depth == 24


def test_an_rf64_has_its_length_in_ds64(declared):
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 1000, 400, 100, 0))
    audio = chunk(b"data", bytes(400), size=0xFFFFFFFF)

    assert declared(Container.WAV, wav(ds64, fmt(2, 16), audio, magic=b"RF64")).samples == 100
    with pytest.raises(MasterRejectedError, match="no length") as refusal:
        declared(Container.WAV, wav(fmt(2, 16), audio))
    assert "pipe" in refusal.value.hint


@pytest.mark.parametrize(
    "data, reason",
    [
        (wav(), "no data chunk"),
        (wav(fmt(2, 16)), "no data chunk"),
        (wav(chunk(b"data", bytes(400)), fmt(2, 16)), "no fmt chunk"),
    ],
)
def test_a_wav_without_its_parts_is_damaged(declared, data, reason):
    with pytest.raises(MasterRejectedError, match=reason):
        declared(Container.WAV, data)


@given(st.integers(1, 8), st.sampled_from([8, 12, 16, 24, 32]), st.integers(0, 50))
@in_one_folder
def test_an_aiff_declares_its_frames_and_depth(declared, channels, bits, frames):
    audio = bytes(frames * channels * ((bits + 7) // 8))

    answer = declared(Container.AIFF, aiff(comm(channels, frames, bits), ssnd(audio)))

    assert (answer.samples, answer.bit_depth) == (frames, bits)


def test_a_float_aiff_has_no_depth(declared):
    data = aiff(comm(2, 50, 32, b"fl32\0\0"), ssnd(bytes(400)), magic=b"AIFC")

    assert declared(Container.AIFF, data).bit_depth is None


def test_an_aiff_whose_audio_is_shorter_than_its_frames_is_truncated(declared):
    with pytest.raises(MasterRejectedError, match="truncated: 300 of 400"):
        declared(Container.AIFF, aiff(comm(2, 100, 16), ssnd(bytes(300))))


def test_an_aiff_without_comm_is_damaged(declared):
    with pytest.raises(MasterRejectedError, match="no COMM"):
        declared(Container.AIFF, aiff(ssnd(bytes(400))))


@given(st.integers(0, (1 << 36) - 1), st.integers(4, 32), st.binary(min_size=16, max_size=16))
@in_one_folder
def test_a_flac_declares_what_stands_in_its_streaminfo(declared, samples, bits, md5):
    answer = declared(Container.FLAC, flac(samples, bits, md5))

    assert answer.samples == (samples or None)
    assert answer.bit_depth == bits
    assert answer.pcm_md5 == (md5 if any(md5) else None)


def test_a_flac_without_streaminfo_is_truncated(declared):
    with pytest.raises(MasterRejectedError, match="truncated"):
        declared(Container.FLAC, flac(1, 16, bytes(16))[:41])


@pytest.mark.parametrize("tag", [b"Xing", b"Info"])
@pytest.mark.parametrize("flags", [0, 1, 2, 3, 15])
def test_an_mp3_is_compared_with_the_bytes_that_it_declares_if_it_does(declared, tag, flags):
    audio = bytes(400)
    whole = mp3(tag, flags, 10, size=0)
    size = len(whole) + len(audio)
    data = mp3(tag, flags, 10, size) + audio

    assert declared(Container.MP3, data).length_known
    if flags & 2:
        with pytest.raises(MasterRejectedError, match=f"truncated: {size - 1} of {size}"):
            declared(Container.MP3, data[:-1])
    else:
        assert declared(Container.MP3, data[:-1]).length_known


def test_tags_in_front_of_an_mp3_are_no_audio(declared):
    audio = mp3(flags=2, size=500)
    tags = b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + bytes(256)  # 2 << 7 bytes

    assert declared(Container.MP3, tags + audio + bytes(500 - len(audio))).length_known
    with pytest.raises(MasterRejectedError, match="truncated"):
        declared(Container.MP3, tags + audio + bytes(499 - len(audio)))


def test_an_mp3_without_a_header_of_its_length_says_so(declared):
    assert not declared(Container.MP3, b"\xff\xfb\x90\x00" + bytes(1000)).length_known
    assert declared(Container.MP3, mp3(b"VBRI")).length_known


def test_an_ogg_ends_with_a_page_that_says_so(declared):
    declared(Container.OGG, OGG)

    with pytest.raises(MasterRejectedError, match="no end-of-stream"):
        declared(Container.OGG, ogg_page(bytes(300), last=False))
    with pytest.raises(MasterRejectedError, match="page is cut"):
        declared(Container.OGG, bytes(100))


def test_an_mp4_may_have_long_boxes_and_one_to_the_end(declared):
    declared(Container.MP4, box(b"ftyp", b"M4A ") + box(b"moov", b"", long=True))
    declared(Container.MP4, box(b"ftyp", b"") + box(b"moov", b"") + box(b"mdat", bytes(9), size=0))


@pytest.mark.parametrize(
    "data",
    [
        box(b"ftyp", b"") + box(b"mdat", bytes(10)),
        box(b"ftyp", b"") + box(b"moov", b"", size=9),
        box(b"ftyp", b"") + box(b"moov", b"", size=7),
        box(b"ftyp", b"") + box(b"moov", b"", long=True, size=1 << 63),
    ],
)
def test_an_mp4_whose_boxes_do_not_fit_is_truncated(declared, data):
    with pytest.raises(MasterRejectedError, match="truncated"):
        declared(Container.MP4, data)
