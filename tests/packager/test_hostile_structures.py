"""Files that are cut, whose boxes lie about sizes and counts, or that want all our memory."""

import contextlib
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import IntegrityError, InvalidInputError
from core.model import DrmProfile
from fuzz import seeds
from packager.cmaf.verify import verify_file
from packager.encoded.fast_mp4 import read_mp4
from packager.encoded.source import read_any
from packager.mp4.grammar import MAX_BOXES, box, full_box

ROOT = Path(__file__).parent.parent.parent
MEMORY_MIB = 200
CPU_S = 10.0
SIZES = (0, 1, 2, 7, 8, 9, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
WORDS = (0, 1, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")

every_source = pytest.mark.parametrize("number", range(len(seeds.sources())))
every_protection = pytest.mark.parametrize("drm", DrmProfile)


@pytest.fixture
def read(tmp_path):
    """A function that reads bytes as a file, and lets our error alone pass."""

    def run(data, reader=read_mp4):
        path = tmp_path / "hostile.mp4"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        with contextlib.suppress(InvalidInputError):
            return reader(path)
        return None

    return run


def verify(data, drm):
    rendition, keys = seeds.packaged().rendition, seeds.KEYS[drm]
    return verify_file(data, rendition, rendition.file(drm), keys[0] if keys else None)


def boxes_in(data, start=0, end=None):
    """Offsets of all boxes at all depths whose children follow their header at once."""
    at, end = start, len(data) if end is None else end
    while at < end:
        size = int.from_bytes(data[at : at + 4], "big")
        yield at
        if data[at + 4 : at + 8] in (*PARENTS, b"edts", b"udta", b"moof", b"traf", b"mvex"):
            yield from boxes_in(data, at + 8, at + size)
        at += size


def with_box(data, new):
    """*data* with another box of the type of *new* in its sample table."""
    at = data.index(new[4:8]) - 4
    old = int.from_bytes(data[at : at + 4], "big")
    out = bytearray(data[:at] + new + data[at + old :])
    for name in PARENTS:
        place = data.index(name) - 4
        size = int.from_bytes(out[place : place + 4], "big") + len(new) - old
        out[place : place + 4] = size.to_bytes(4, "big")
    return bytes(out)


@every_source
def test_no_part_of_a_source_is_taken_for_the_whole(read, number):
    data = seeds.sources()[number]

    assert read(data)
    for end in range(len(data)):
        assert read(data[:end]) is None


@every_source
def test_other_readers_take_a_part_without_another_error_either(read, number):
    data = seeds.sources()[number]
    for end in range(0, len(data), 17):
        read(data[:end], read_any)


@every_protection
def test_no_part_of_a_packaged_file_verifies_or_is_read_as_a_source(read, drm):
    data = seeds.packaged().files[drm]

    verify(data, drm)
    for end in range(len(data)):
        assert read(data[:end]) is None
        with pytest.raises(IntegrityError):
            verify(data[:end], drm)


@every_source
def test_boxes_that_lie_about_their_size_are_refused_or_harmless(read, number):
    data = seeds.sources()[number]
    for at in boxes_in(data):
        own = int.from_bytes(data[at : at + 4], "big")
        for size in {*SIZES, own - 1, own + 1} - {own}:
            read(data[:at] + size.to_bytes(4, "big") + data[at + 4 :])
            wide = (1).to_bytes(4, "big") + data[at + 4 : at + 8] + size.to_bytes(8, "big")
            read(data[:at] + wide + data[at + 8 :])
            read(data[:at] + wide[:8] + bytes((255,)) * 8 + data[at + 8 :])


@every_protection
def test_a_packaged_file_with_any_other_size_does_not_verify(drm):
    data = seeds.packaged().files[drm]
    for at in boxes_in(data):
        own = int.from_bytes(data[at : at + 4], "big")
        for size in {*SIZES, own - 1, own + 1} - {own}:
            with pytest.raises(IntegrityError):
                verify(data[:at] + size.to_bytes(4, "big") + data[at + 4 :], drm)


@every_source
def test_hostile_numbers_anywhere_are_refused_or_harmless(read, number):
    data = seeds.sources()[number]
    for at in range(0, len(data) - 4, 2):
        for word in WORDS:
            read(data[:at] + word.to_bytes(4, "big") + data[at + 4 :])


def test_boxes_in_boxes_end_at_a_depth(read):
    data = b""
    for _ in range(10_000):
        data = box(b"moov", data)

    assert read(data) is None


def _crowded():
    """As many boxes as a container may have, in each of the containers that are opened."""
    crowd = box(b"free") * (MAX_BOXES - 1)
    body = crowd
    for name in reversed(PARENTS):
        body = box(name, body) + crowd
    return box(b"ftyp", b"isom", bytes(4)) + body


def _restless(rows=4_000_000):
    """Every packet lasts another time than the one before."""
    data = with_box(seeds.sources()[2], full_box(b"stsz", 0, 0, struct.pack(">2I", 1, rows)))
    data = with_box(data, full_box(b"stsc", 0, 0, struct.pack(">4I", 1, 1, rows, 1)))
    runs = struct.pack(">4I", 1, 1, 1, 2) * (rows // 2)
    return with_box(data, full_box(b"stts", 0, 0, rows.to_bytes(4, "big"), runs)) + bytes(rows)


def _scattered(chunks=1_000_000):
    """As many chunks as packets, all in one place."""
    data = with_box(seeds.sources()[2], full_box(b"stsz", 0, 0, struct.pack(">2I", 1, chunks)))
    data = with_box(data, full_box(b"stsc", 0, 0, struct.pack(">4I", 1, 1, 1, 1)))
    data = with_box(data, full_box(b"stts", 0, 0, struct.pack(">3I", 1, chunks, 1024)))
    offsets = struct.pack(">I", 40) * chunks
    return with_box(data, full_box(b"stco", 0, 0, chunks.to_bytes(4, "big"), offsets)) + bytes(
        chunks
    )


MEASURE = """
import contextlib, re, sys, time
from pathlib import Path
from core.errors import InvalidInputError
from packager.encoded.fast_mp4 import read_mp4

def peak_kib():  # getrusage would tell the peak of whoever started this process
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before = peak_kib()
with contextlib.suppress(InvalidInputError):
    read_mp4(Path(sys.argv[1]))
print(peak_kib() - before, time.process_time())
"""


@pytest.mark.parametrize("make", [_crowded, _restless, _scattered])
def test_no_file_takes_more_memory_or_time_than_is_ours_to_give(tmp_path, make):
    (tmp_path / "hostile.mp4").write_bytes(make())

    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "hostile.mp4")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    grown_kib, cpu_s = map(float, done.stdout.split())
    assert grown_kib < MEMORY_MIB * 1024
    assert cpu_s < CPU_S
