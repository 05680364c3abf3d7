"""One ffmpeg process per master: decoded once, every rung encoded from that.

The graph, in floats throughout (an integer between would clip what is above full scale)::

    master ─┬─ f32, own rate ── our pipe: loudness, quality, waveform
            ├─ integers, own rate ── FLAC
            └─ soxr 48 kHz ─┬─ AAC ...
                            └─ Opus ...

ffmpeg's exit code is no quality control: it is 0 for half a WAV file. `transcode` therefore
counts the samples, reads every error line and leaves the last word to the caller.
"""

import collections
import itertools
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import MasterRejectedError, ToolkitError, UnavailableError
from core.model import Codec, Rung
from ingest.encode.children import Children
from ingest.encode.ladder import lossless_depth
from ingest.encode.toolchain import CHAINED_GRAPHS_VERSION, Toolchain
from ingest.master.probe import Master
from ingest.master.quality import impossible_samples

LOSSY_RATE = 48_000
"""Hz of every lossy rung: Opus has no other, and one rate gives all codecs one segment grid."""
FLAC_BLOCK = 4096
ROLL_MS = 960
"""Of a neighbour, for lossy encoders: whole samples at every usual rate, and at 48 kHz..."""
ROLL_SAMPLES = LOSSY_RATE * ROLL_MS // 1000
"""...45 AAC frames."""
SETTINGS_VERSION = 1
"""Stands in the recipe: raise it whenever a change here changes bytes."""
PLENTY_BPS = 128_000
"""Per channel; from here AAC is encoded with the fast coefficient search."""
SLACK_SAMPLES = 24_000
"""By how much a fast encoder may run ahead of a slow one; keeps two cores busy."""
STDERR_LINES = 40
STDERR_LINE_SIZE = 400
TIMEOUT_FLOOR_S = 300
TIMEOUT_PER_AUDIO_S = 10
"""Seconds of wall time per second of audio; a slow machine under load needs about 0.5."""

_OUR_FAULT = ("[out#", "[mux", "[enc", "[aost", "No space left", "Permission denied")
"""Where an error line speaks of what we write, not of the master."""


@dataclass(frozen=True, slots=True)
class Output:
    """A rung and the file it is encoded into."""

    rung: Rung
    path: Path


_MASTER = "file:MASTER"
"""Stands for the master while the command is compiled: the compiler takes no names but UTF-8."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that decides the bytes of a master's rungs.

    `before` and `after` are files of raw floats at the master's rate and layout: what AAC
    encoders hear in front of the master (`ROLL_MS` of it), and lossy ones behind it.
    """

    master: Master
    outputs: tuple[Output, ...]
    toolchain: Toolchain
    before: Path | None = None
    after: Path | None = None


def command(job: Job) -> list[str]:
    """The argument list; the samples at the master's own rate come as f32le on stdout."""
    import ffmpeg  # noqa: PLC0415 - only a transcode needs the command compiler

    # Explicit file: and demuxer: a name like http: or a playlist in disguise stays a local file.
    source_url = f"file:{job.master.path.resolve()}"
    source = ffmpeg.input(
        _MASTER,
        f=job.master.container.value,
        protocol_whitelist="file,pipe",
    )
    layout = "mono" if job.master.output_channels == 1 else "stereo"
    # rematrix_maxval: a downmix of float samples would otherwise exceed full scale.
    own = source["a:0"].filter("aresample", rematrix_maxval=1, ochl=layout)
    lossy = [o for o in job.outputs if o.rung.codec is not Codec.FLAC]
    lossless = [o for o in job.outputs if o.rung.codec is Codec.FLAC]
    split = own.filter_multi_output("asplit", 1 + bool(lossy) + len(lossless))
    pcm = _format(split[0], "flt", layout).output("pipe:1", f="f32le", acodec="pcm_f32le")
    sinks = [pcm]
    depth = lossless_depth(job.master)
    for index, output in enumerate(lossless, 1):
        integers = _format(split[index], "s16" if depth == 16 else "s32", layout)
        sinks.append(_output(integers, output, depth))
    if lossy:
        resampled = _between(split[1 + len(lossless)], job, layout).filter(
            # soxr gives the same bytes on every CPU; swr's own resampler does not.
            "aresample",
            LOSSY_RATE,
            resampler="soxr",
            precision=28,
        )
        counted = _format(resampled, "fltp", layout).filter("asetnsamples", SLACK_SAMPLES, p=0)
        # Vorbis has packets of two lengths, whose times the resampler rounds one by one.
        shared = counted.filter("asetpts", "N/SR/TB")
        branches = shared.filter_multi_output("asplit", len(lossy))
        for index, output in enumerate(lossy):
            # Pinned on every branch: what ffmpeg negotiates by itself depends on the neighbours.
            sample_format = "fltp" if output.rung.codec is Codec.AAC else "flt"
            branch = branches[index]
            if job.before is not None and output.rung.codec is Codec.OPUS:
                # It cannot be cut off again: Opus packets depend on all that went before.
                branch = branch.filter("atrim", start_sample=ROLL_SAMPLES)
                branch = branch.filter("asetpts", "PTS-STARTPTS")
            sinks.append(_output(_format(branch, sample_format, layout), output, depth))
    merged = ffmpeg.merge_outputs(*sinks).global_args(*_global_args(job.toolchain))
    compiled = merged.compile(cmd=str(job.toolchain.ffmpeg))
    argv = [source_url if arg == _MASTER else str(arg) for arg in compiled]
    return _one_thread_per_branch(argv, job.toolchain)


def _between(own: Any, job: Job, layout: str) -> Any:
    """The master with its neighbours' audio around it."""
    import ffmpeg  # noqa: PLC0415 - only a transcode needs the command compiler

    def raw(path: Path) -> Any:
        master = job.master
        form = {"f": "f32le", "ar": master.sample_rate, "ac": master.output_channels}
        source = ffmpeg.input(f"file:{path.resolve()}", **form, protocol_whitelist="file")
        return _format(source["a:0"], "flt", layout)

    if job.before is None and job.after is None:
        return own
    parts = [
        *([raw(job.before)] if job.before else []),
        _format(own, "flt", layout),
        *([raw(job.after)] if job.after else []),
    ]
    return ffmpeg.concat(*parts, v=0, a=1)


def _format(stream: Any, sample_format: str, layout: str) -> Any:
    return stream.filter("aformat", sample_fmts=sample_format, channel_layouts=layout)


def _global_args(toolchain: Toolchain) -> list[str]:
    args = ["-nostdin", "-nostats", "-hide_banner", "-y", "-v", "error", "-xerror"]
    if toolchain.simd == "sse4.2":
        # AVX and FMA round differently: without this the bytes depend on the CPU.
        args += ["-cpuflags", "sse4.2"]
    return args


def _output(stream: Any, output: Output, lossless_bits: int) -> Any:
    encoder: dict[str, Any]
    if output.rung.codec is Codec.AAC:
        plenty = output.rung.bitrate_bps >= PLENTY_BPS * output.rung.channels
        encoder = {
            "c:a": "aac",
            "b:a": output.rung.bitrate_bps,
            "profile:a": "aac_low",
            # With bits to spare the fast search leaves less noise in every band (10 dB at 320 kb/s)
            # for two thirds of the CPU; with few, the slow one spends them better.
            "aac_coder": "fast" if plenty else "twoloop",
        }
    elif output.rung.codec is Codec.OPUS:
        encoder = {
            "c:a": "libopus",
            "b:a": output.rung.bitrate_bps,
            "vbr": "constrained",  # free VBR peaks 20 % above what the manifest promises
            "frame_duration": 20,  # 960 samples: the segment grid counts on it
            "application": "audio",
        }
    else:
        encoder = {
            "c:a": "flac",
            "frame_size": FLAC_BLOCK,  # ffmpeg's default depends on the sample rate
            "bits_per_raw_sample": lossless_bits,
            "compression_level": 5,
        }
    return stream.output(
        f"file:{output.path}",
        f="mp4",
        **encoder,
        **{"flags:a": "+bitexact"},  # no version string inside the AAC frames
        fflags="+bitexact",
        map_metadata=-1,  # tags carry dates: two runs must give the same bytes
    )


def _one_thread_per_branch(argv: list[str], toolchain: Toolchain) -> list[str]:
    """Make the last filter of each branch a graph of its own, if this ffmpeg can link graphs.

    A graph runs in one thread and hands each encoder two frames at most, so a slow encoder stalls
    all others; linked graphs queue between themselves. Only stateless filters may move: a linked
    graph loses what a resampler or `asetnsamples` still holds at the end of the stream.
    """
    if toolchain.release < CHAINED_GRAPHS_VERSION:
        return argv
    at = argv.index("-filter_complex")
    filters = argv[at + 1].split(";")
    ends = {label for flag, label in itertools.pairwise(argv) if flag == "-map"}
    last = [f for f in filters if f[f.rindex("[") :] in ends]
    trunk = ";".join(f for f in filters if f not in last)
    graphs = [part for graph in (trunk, *last) for part in ("-filter_complex", graph)]
    return [*argv[:at], *graphs, *argv[at + 2 :]]


def transcode(job: Job, children: Children, consume: Callable[[NDArray[np.float32]], None]) -> int:
    """Run the job; the outputs exist and are complete when this returns.

    Args:
        job: What to encode into what.
        children: Where the process is registered, so that others can end it.
        consume: Gets the samples, ``(frames, channels)``, about a second at a time.

    Returns:
        Decoded samples per channel, at the master's own rate.

    Raises:
        MasterRejectedError: The decoder complained.
        CancelledByUserError: `children` were told to stop.
    """
    timeout_s = TIMEOUT_FLOOR_S + TIMEOUT_PER_AUDIO_S * job.master.estimated_duration_s
    with children.started(command(job)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        tail: collections.deque[str] = collections.deque(maxlen=STDERR_LINES)
        drain = threading.Thread(target=_drain, args=(process.stderr, tail), daemon=True)
        drain.start()
        watchdog = threading.Timer(timeout_s, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            samples = _pump(process.stdout, job.master, consume)
            status = process.wait()
        finally:
            expired = not watchdog.is_alive()
            watchdog.cancel()
        drain.join()
    children.check()
    if expired:
        raise UnavailableError(
            f"ffmpeg took more than {timeout_s:.0f} s", hint="the machine is overloaded: try again"
        )
    _judge(status, list(tail))
    return samples


def _pump(pipe: IO[bytes], master: Master, consume: Callable[[NDArray[np.float32]], None]) -> int:
    channels = master.output_channels
    samples = 0
    while chunk := pipe.read(master.sample_rate * channels * 4):
        whole = len(chunk) // (channels * 4)
        pcm = np.frombuffer(chunk, "<f4", count=whole * channels).reshape(whole, channels)
        consume(pcm)
        samples += whole
    return samples


def _drain(pipe: IO[bytes], tail: collections.deque[str]) -> None:
    """Keep the last lines: a full stderr pipe would stop ffmpeg."""
    for line in iter(lambda: pipe.readline(STDERR_LINE_SIZE), b""):
        if text := line.decode("utf-8", "replace").strip():
            tail.append(text)


def _judge(status: int, lines: Sequence[str]) -> None:
    if status == 0 and not lines:
        return
    if status == -signal.SIGKILL:
        raise UnavailableError("ffmpeg was killed", hint="is there too little memory?")
    if status < 0:
        raise MasterRejectedError("damaged: the decoder crashed on it", hint="export it again")
    if any("NaN/+-Inf" in line for line in lines):  # the AAC encoder says so of its input
        raise impossible_samples()
    said = lines[0] if lines else f"ffmpeg ended with status {status}"
    if "No space left" in "".join(lines):
        raise UnavailableError("the disk is full", hint="free space in the work directory")
    if not lines or any(mark in line for line in lines for mark in _OUR_FAULT):
        raise ToolkitError(f"encoding failed: {said}", hint="try again; --report keeps the details")
    raise MasterRejectedError(f"damaged: {_plain(said)}", hint="the decoder does not accept it")


def _plain(line: str) -> str:
    """An ffmpeg message without addresses, which differ from run to run."""
    return line.split("] ", 1)[-1] if line.startswith("[") else line
