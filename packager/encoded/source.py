"""Any container with audio that can be packaged: the fast reader where it fits, else FFmpeg's."""

from pathlib import Path

from core.errors import MalformedBoxError
from packager.encoded.fast_mp4 import read_mp4
from packager.encoded.track import EncodedTrack


def read_any(path: Path, *, samples: int | None = None, priming: int | None = None) -> EncodedTrack:
    """Read the first audio stream of any container with AAC, Opus, FLAC or ALAC.

    Args:
        path: MP4, M4A, MOV, ADTS, Ogg, FLAC, WebM, ...
        samples: The exact length of the music, if the caller knows better than the container.
        priming: Likewise the encoder's delay; ADTS cannot say, and is taken to have none.

    Raises:
        InvalidInputError: The file has no such stream, or one that cannot be cut into segments.
    """
    with path.open("rb") as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4:
        try:
            return read_mp4(path, samples=samples, priming=priming)
        except MalformedBoxError:
            pass  # fragmented, interleaved or QuickTime: legal, but not the fast path's business
    from packager.encoded import demux  # noqa: PLC0415  # loads FFmpeg's libraries, mostly in vain

    return demux.read(path, samples=samples, priming=priming)
