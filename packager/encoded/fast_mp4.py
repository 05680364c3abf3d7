"""Progressive MP4, which is what our own encoders write, read without a per-packet loop.

The packets are one slice of a memory map. What is legal but not like that (fragmented, interleaved,
QuickTime) is `packager.encoded.demux`'s job.
"""

from pathlib import Path

from core.errors import InvalidInputError, MalformedBoxError
from packager.encoded.mapped_file import map_file
from packager.encoded.track import EncodedTrack, PacketTiming, encoded_track
from packager.mp4.asc import may_hide_sbr
from packager.mp4.elst import EditList
from packager.mp4.esds import AacConfig
from packager.mp4.grammar import Box, descend, only, optional, read_boxes
from packager.mp4.mdhd import MediaHeader
from packager.mp4.mvhd import MovieHeader
from packager.mp4.stbl import SampleTables
from packager.mp4.stsd import AudioEntry


def read_mp4(path: Path, *, samples: int | None = None, priming: int | None = None) -> EncodedTrack:
    """Read a progressive MP4 with one audio track and contiguous packets.

    Args:
        path: A file that must not change while the result is in use.
        samples: The exact length of the music; by default from the edit list and `stts`.
        priming: The encoder's delay; by default from the edit list.

    Raises:
        MalformedBoxError: It is not such a file.
        InvalidInputError: Packets differ in duration, or *samples* do not fit.
    """
    data = map_file(path)
    moov = read_boxes(only(read_boxes(data), b"moov"))
    trak = _audio_track(moov)
    mdia = read_boxes(only(trak, b"mdia"))
    stbl = descend(only(mdia, b"minf"), b"stbl")
    tables = SampleTables.decode(stbl, len(data))
    entry = AudioEntry.decode(only(stbl, b"stsd"))
    if isinstance(entry.config, AacConfig) and may_hide_sbr(entry.config.specific):
        raise MalformedBoxError("the packets may hold SBR, which FFmpeg looks for")
    if entry.protection:
        raise InvalidInputError(f"{path.name} is encrypted", hint="package the clear file")
    start = tables.start_if_contiguous()
    end = (start or 0) + sum(tables.sizes)
    if start is None or end > len(data) or not tables.durations:
        raise MalformedBoxError("the packets are not one run of bytes in this file")
    timescale = MediaHeader.decode(only(mdia, b"mdhd")).timescale
    movie_timescale = MovieHeader.decode(only(moov, b"mvhd")).timescale
    skipped, edited = _edit(trak, movie_timescale == timescale)
    return encoded_track(
        entry.config,
        entry.channels,
        tables.sizes,
        data[start:end],
        PacketTiming(
            timescale,
            tables.durations,
            skipped if priming is None else priming,
            edited if samples is None else samples,
        ),
    )


def _audio_track(moov: list[Box]) -> list[Box]:
    tracks = [read_boxes(b.payload) for b in moov if b.fourcc == b"trak"]
    if len(tracks) != 1:
        raise MalformedBoxError(f"there are {len(tracks)} tracks instead of one")
    if any(b.fourcc == b"mvex" for b in moov):
        raise MalformedBoxError("the file is fragmented")
    return tracks[0]


def _edit(trak: list[Box], same_timescale: bool) -> tuple[int, int | None]:  # noqa: FBT001  # private
    """Priming, and the length of the music where the edit list says it exactly."""
    edts = optional(trak, b"edts")
    if edts is None:
        return 0, None
    edits = [e for e in EditList.decode(only(read_boxes(edts), b"elst")).edits if e.media_time >= 0]
    if len(edits) != 1:
        raise MalformedBoxError(f"the edit list has {len(edits)} media edits instead of one")
    return edits[0].media_time, (edits[0].duration or None) if same_timescale else None
