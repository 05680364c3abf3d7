"""Cutting a file that was proved into the files of its segments."""

import pytest

from core.errors import IntegrityError
from core.model import Codec, DrmProfile
from packager.folder.cut import cut


@pytest.fixture
def clear(synthetic, packaged):
    """A packaged file in the clear, and what is promised of it."""
    rendition, paths = packaged(synthetic(Codec.AAC, packets=400))
    return paths[DrmProfile.CLEAR], rendition.file(DrmProfile.CLEAR)


def test_the_pieces_are_the_file_without_its_index(clear):
    path, file = clear
    whole = path.read_bytes()

    sizes = cut(path, file)

    pieces = [path.parent / path.stem / f"{n}.m4s" for n in range(1, len(sizes) + 1)]
    init = (path.parent / path.stem / "init.mp4").read_bytes()
    assert sizes == list(file.segment_sizes)
    head = file.init_size + file.index_size
    assert init + b"".join(p.read_bytes() for p in pieces) == whole[: file.init_size] + whole[head:]
    assert not path.exists()


@pytest.mark.parametrize("place", [0, 1_000, -1])
def test_a_file_that_changed_after_it_was_proved_is_not_cut(clear, place):
    path, file = clear
    changed = bytearray(path.read_bytes())
    changed[place] ^= 1
    path.write_bytes(changed)

    with pytest.raises(IntegrityError, match="changed on disk"):
        cut(path, file)


@pytest.mark.parametrize("more", [b"", b"x"])
def test_a_file_of_another_length_is_not_cut(clear, more):
    path, file = clear
    path.write_bytes(path.read_bytes()[: -1 if not more else None] + more)

    with pytest.raises(IntegrityError, match="changed on disk"):
        cut(path, file)


def test_what_is_written_in_place_of_a_segment_is_counted(clear):
    path, file = clear

    sizes = cut(path, file, lambda number, segment: segment + bytes(number))

    assert sizes == [size + number for number, size in enumerate(file.segment_sizes)]
