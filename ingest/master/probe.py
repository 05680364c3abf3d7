"""Read what a master is, before anything expensive is done with it."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from core.errors import MasterRejectedError
from core.file_state import FileState
from core.ids import ISRC
from ingest.master.containers import Container, declaration, sniff

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

MIN_SAMPLE_RATE = 44_100
MAX_SAMPLE_RATE = 192_000
MIN_DURATION_S = 0.5
"""One gating block of loudness is 0.4 s (BS.1770-4); nothing shorter is music."""
MAX_DURATION_S = 12 * 3600
MAX_CHANNELS = 8
HASH_CHUNK_SIZE = 1 << 20
"""Bytes that are hashed at a time."""
MAX_TAG_LENGTH = 300
"""Characters of a title or artist that are kept."""

FORMATS_HINT = "accepted: WAV, AIFF, FLAC, ALAC, MP3, Ogg Vorbis and M4A"
_LOSSY_FRAME_SIZES = {"aac": 2048, "mp3": 1152, "mp3float": 1152, "vorbis": 8192}
_LOSSLESS = ("flac", "alac", "pcm_")


@dataclass(frozen=True, slots=True)
class Tags:
    """What the master says it is; None where it does not."""

    title: str | None = None
    artist: str | None = None
    isrc: str | None = None


@dataclass(frozen=True, slots=True)
class Master:
    """A master file that looks whole; only decoding can prove it.

    Attributes:
        channels: As in the file; more than two are mixed down to stereo.
        bit_depth: Valid bits of an integer sample; None for float and lossy masters.
        samples: Declared per channel, or None if the file does not say.
        slack_samples: By how many samples a decoder may differ from `samples`: 0 for lossless
            codecs, one codec frame for lossy ones, whose trimming is not exactly specified.
        bitrate_bps: Of a lossy master: what its rungs may not exceed; None for lossless ones.
        pcm_md5: From FLAC's STREAMINFO.
        state: Of the file when it was looked at: all that is read of it later must be the same.
    """

    path: Path
    container: Container
    codec: str
    sample_rate: int
    channels: int
    bit_depth: int | None
    samples: int | None
    slack_samples: int
    estimated_duration_s: float
    bitrate_bps: int | None
    pcm_md5: bytes | None
    state: FileState
    tags: Tags
    warnings: tuple[str, ...] = field(default=())

    @property
    def lossy(self) -> bool:
        """Whether an encoder has thrown something away already."""
        return self.bitrate_bps is not None

    def check_unchanged(self) -> None:
        """Raise MasterRejectedError if the file is another one by now, or was written to."""
        if FileState.of(self.path) != self.state:
            raise MasterRejectedError(
                "it was changed while it was read", hint="ingest it when it is whole"
            )

    @property
    def output_channels(self) -> int:
        """Of the rungs: mono stays mono, everything else becomes stereo."""
        return min(self.channels, 2)


def hash_master(master: Master, check: Callable[[], None] = lambda: None) -> str:
    """SHA-256 in hex of the file; *check* is called now and then, and may raise to end it.

    Raises:
        MasterRejectedError: It is another file than the one that was probed.
    """
    digest = hashlib.sha256()
    with master.path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK_SIZE):
            digest.update(chunk)
            check()
    master.check_unchanged()
    return digest.hexdigest()


def check_kind(path: Path) -> None:
    """Raise MasterRejectedError if it is no file: whoever opens a pipe waits for its writer."""
    kind = path.stat().st_mode
    if S_ISDIR(kind):
        raise MasterRejectedError("is a folder", hint="name the files in it")
    if not S_ISREG(kind):
        raise MasterRejectedError("is no file", hint="name files: a master is read several times")


def probe(path: Path) -> Master:
    """Look at a master without decoding it.

    Raises:
        MasterRejectedError: It is unreadable, truncated, empty or in a format we do not take.
    """
    import av  # noqa: PLC0415 - shared libraries that only probing needs
    import av.error  # noqa: PLC0415 - likewise

    try:
        check_kind(path)
        state = FileState.of(path)
        with path.open("rb") as file:
            container = sniff(file.read(12))
    except OSError as error:
        raise MasterRejectedError(
            f"cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from error
    if container is None:
        raise MasterRejectedError("not an audio file we know", hint=FORMATS_HINT)
    try:
        # Only local files: a playlist in disguise must not make us fetch something.
        options = {"protocol_whitelist": "file"}
        with av.open(
            f"file:{path}", format=container.value, options=options, metadata_errors="replace"
        ) as opened:  # old taggers write Latin-1: a letter is lost, not the master
            return _describe(path, container, opened, state)
    except (av.error.FFmpegError, ValueError) as error:
        declaration(path, container)  # a truncation explains it better
        raise MasterRejectedError(f"unreadable: {error}", hint=FORMATS_HINT) from error


def _describe(
    path: Path, container: Container, opened: "InputContainer", state: FileState
) -> Master:
    stream = opened.streams.audio[0] if opened.streams.audio else None
    # PyAV gives no context for a codec that FFmpeg does not know, whatever its types say.
    if stream is None or stream.codec_context is None:
        raise MasterRejectedError("there is no audio in it that we know", hint=FORMATS_HINT)
    context = stream.codec_context
    codec = context.name
    if codec not in _LOSSY_FRAME_SIZES and not codec.startswith(_LOSSLESS):
        raise MasterRejectedError(f"the codec {codec} is not accepted", hint=FORMATS_HINT)
    declared = declaration(path, container)
    warnings = []
    samples, slack = declared.samples, 0
    if samples is None and stream.duration is not None and stream.time_base is not None:
        samples = round(stream.duration * stream.time_base * context.sample_rate)
    if not declared.length_known:
        samples = None
        warnings.append("the MP3 does not declare its length: truncation cannot be detected")
    if codec in _LOSSY_FRAME_SIZES:
        slack = _LOSSY_FRAME_SIZES[codec]
    if context.channels > 2:
        warnings.append(f"{context.channels} channels ({context.layout.name}) mixed down to stereo")
    estimate = samples / context.sample_rate if samples else (opened.duration or 0) / 1e6
    master = Master(
        path=path,
        container=container,
        codec=codec,
        sample_rate=context.sample_rate,
        channels=context.channels,
        bit_depth=_bit_depth(codec, context.extradata, declared.bit_depth),
        samples=samples,
        slack_samples=slack,
        estimated_duration_s=estimate,
        bitrate_bps=_lossy_bitrate(path, stream, estimate) if slack else None,
        pcm_md5=declared.pcm_md5,
        state=state,
        tags=_tags(opened.metadata | stream.metadata),
        warnings=tuple(warnings),
    )
    _check_limits(master)
    return master


def _check_limits(master: Master) -> None:
    if not MIN_SAMPLE_RATE <= master.sample_rate <= MAX_SAMPLE_RATE:
        raise MasterRejectedError(
            f"a sample rate of {master.sample_rate} Hz",
            hint=f"masters have {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz",
        )
    if not 1 <= master.channels <= MAX_CHANNELS:
        raise MasterRejectedError(
            f"{master.channels} channels", hint=f"masters have 1 to {MAX_CHANNELS} channels"
        )
    if master.estimated_duration_s < MIN_DURATION_S:
        raise MasterRejectedError(
            f"{master.estimated_duration_s:.3f} s of audio",
            hint=f"a track has at least {MIN_DURATION_S} s",
        )
    if master.estimated_duration_s > MAX_DURATION_S:
        raise MasterRejectedError(
            f"{master.estimated_duration_s / 3600:.1f} hours of audio",
            hint=f"a track has at most {MAX_DURATION_S // 3600} hours: split it",
        )


def _bit_depth(codec: str, extradata: bytes | None, declared: int | None) -> int | None:
    if codec == "alac" and extradata is not None and len(extradata) >= 18:
        return extradata[17]  # box header, version, frameLength, compatibleVersion, bitDepth
    return declared if codec.startswith(_LOSSLESS) else None


def _lossy_bitrate(path: Path, stream: "AudioStream", duration_s: float) -> int:
    """What the stream says; else an upper bound from the size of the file."""
    stated: int | None = stream.codec_context.bit_rate
    measured = int(path.stat().st_size * 8 / duration_s) if duration_s > 0 else 0
    # Vorbis states its nominal rate, which may lie far above what was spent.
    return min(stated, measured) if stated and measured else stated or measured


def _tags(metadata: dict[str, str]) -> Tags:
    lowered = {key.lower(): value for key, value in metadata.items()}
    isrc = re.sub(r"[\s-]", "", lowered.get("isrc") or lowered.get("tsrc") or "").upper()
    return Tags(
        title=_text(lowered.get("title")),
        artist=_text(lowered.get("artist")),
        isrc=isrc if ISRC.fits(isrc) else None,
    )


def _text(value: str | None) -> str | None:
    """One printable line, or None."""
    return " ".join(printable(value or "").split())[:MAX_TAG_LENGTH] or None


def printable(text: str) -> str:
    """*text* with a space for all that is none: control characters, bytes that were no UTF-8."""
    return "".join(char if char.isprintable() else " " for char in text)
