"""Masters to try things with: small music, made of nothing but numbers.

The same seed gives the same bytes, on any machine with the same numpy. `python -m
ingest.master.synthesis FOLDER --seconds 30` writes an album of five masters.
"""

import warnings
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from core.output import print_line

MIN_SECONDS = 2
MAX_SECONDS = 900
"""A song is held in memory while it is made."""
PEAK = 0.84
"""-1.5 dBFS: room for the true peak."""
EDGE_FADE_MS = 15

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Song:
    """How one master is made.

    Attributes:
        chords: Semitones above `root_hz`, one tuple for each bar.
    """

    name: str
    seed: int
    tempo_bpm: float
    root_hz: float
    chords: tuple[tuple[int, ...], ...]
    sample_rate: int = 44_100
    sample_width: int = 2
    channels: int = 2


NIGHT_DRIVE = Song(
    "night-drive", 1, 112, 110.0, ((0, 3, 7, 10), (-4, 0, 3, 7), (-7, -4, 0, 3), (-2, 2, 5, 10))
)
GLASS_HALL = Song(
    "glass-hall", 2, 84, 146.83, ((0, 4, 7, 11), (-3, 0, 4, 7), (5, 9, 12, 16)), 96_000, 3
)
FIELD_NOTES = Song("field-notes", 3, 96, 98.0, ((0, 7, 12), (-2, 5, 10), (3, 7, 10)), channels=1)
LONG_WAY = Song("long-way", 4, 124, 123.47, ((0, 3, 7), (0, 5, 8), (-2, 2, 5), (-5, -1, 2, 5)))


def make_masters(folder: Path, seconds: float) -> list[Path]:
    """Write five masters: CD quality, 24 bits at 96 kHz, mono, and a gapless pair.

    The pair is one continuous signal, cut where no codec's frame ends: whoever plays both parts
    one after the other must not hear where.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [
        _write_faded(folder / "night-drive.wav", NIGHT_DRIVE, compose(NIGHT_DRIVE, seconds)),
        _write(folder / "glass-hall.wav", GLASS_HALL, compose(GLASS_HALL, seconds)),
        _write_faded(folder / "field-notes.wav", FIELD_NOTES, compose(FIELD_NOTES, seconds)),
    ]
    whole = compose(LONG_WAY, 2 * seconds)
    cut = len(whole) // 2 + 331  # 331 divides neither 1024 nor 960 nor 4096
    for part, signal in enumerate((whole[:cut], whole[cut:]), 1):
        paths.append(_write(folder / f"long-way-{part}.wav", LONG_WAY, signal))
    return paths


def compose(song: Song, seconds: float) -> Signal:
    """The music, of shape ``(frames, channels)``; full scale is 1.0."""
    rng = np.random.default_rng(song.seed)
    frames = round(seconds * song.sample_rate)
    mix = np.zeros((frames, 2))
    beat = 60 / song.tempo_bpm
    for index in range(int(seconds / beat) + 1):
        chord = song.chords[index // 4 % len(song.chords)]
        start = index * beat
        _add(mix, song, start, _drum(song, index, rng), 0.0)
        _add(mix, song, start, 0.5 * _tone(song, chord[0] - 12, beat, 1.5), 0.0)
        for step in range(4):  # sixteenth notes wander over the chord and the stereo field
            note = chord[int(rng.integers(len(chord)))] + 12 * int(rng.integers(1, 3))
            loudness = 0.10 + 0.12 * float(rng.random())
            pan = float(rng.uniform(-0.9, 0.9))
            _add(mix, song, start + step * beat / 4, loudness * _tone(song, note, 1.2, 6), pan)
            _add(mix, song, start + step * beat / 4, _hat(song, rng), 0.3)
        if index % 4 == 0:
            for voice, note in enumerate(chord):
                pad = 0.07 * _tone(song, note, 4 * beat, 0.5)
                _add(mix, song, start, pad, 1.2 * voice / len(chord) - 0.5)
    arc = 0.45 + 0.55 * np.sin(np.linspace(0.15, np.pi - 0.15, frames)) ** 2  # soft, loud, soft
    mix *= arc[:, None]
    if song.channels == 1:
        mix = mix.mean(axis=1, keepdims=True)
    return np.asarray(mix * (PEAK / np.abs(mix).max()))


def _add(mix: Signal, song: Song, start_s: float, sound: Signal, pan: float) -> None:
    """Mix a mono *sound* in; constant power, *pan* from -1 (left) to 1."""
    at = round(start_s * song.sample_rate)
    sound = sound[: max(0, len(mix) - at)]
    angle = (pan + 1) * np.pi / 4
    mix[at : at + len(sound)] += sound[:, None] * [np.cos(angle), np.sin(angle)]


@cache
def _tone(song: Song, semitone: int, length_s: float, decay: float) -> Signal:
    """A plucked string: eight harmonics, the higher the shorter."""
    time = np.arange(round(length_s * song.sample_rate)) / song.sample_rate
    frequency = song.root_hz * 2 ** (semitone / 12)
    sound = np.zeros_like(time)
    for harmonic in range(1, 9):
        if frequency * harmonic < 0.45 * song.sample_rate:
            envelope = np.exp(-time * decay * (1 + 0.6 * harmonic))
            sound += envelope * np.sin(2 * np.pi * frequency * harmonic * time) / harmonic
    edge = min(len(time), song.sample_rate // 200)  # 5 ms: no click where the note is cut off
    sound[len(time) - edge :] *= np.linspace(1, 0, edge)
    sound[:edge] *= np.linspace(0, 1, edge)
    return sound


def _drum(song: Song, index: int, rng: np.random.Generator) -> Signal:
    """A kick on even beats, a snare on odd ones: transients to frighten an encoder."""
    time = np.arange(song.sample_rate // 4) / song.sample_rate
    if index % 2 == 0:
        return np.asarray(
            0.9
            * np.exp(-time * 18)
            * np.sin(2 * np.pi * (48 * time + 9 * (1 - np.exp(-time * 40))))
        )
    noise = rng.standard_normal(len(time)) * np.exp(-time * 28)
    return np.asarray(0.22 * noise + 0.25 * np.exp(-time * 22) * np.sin(2 * np.pi * 190 * time))


def _hat(song: Song, rng: np.random.Generator) -> Signal:
    time = np.arange(song.sample_rate // 16) / song.sample_rate
    noise = np.diff(rng.standard_normal(len(time) + 1))  # a difference leaves the treble
    return np.asarray(0.05 * noise * np.exp(-time * 90))


def _integers(song: Song, signal: Signal) -> bytes:
    """Interleaved little-endian integers of the song's sample width."""
    scale = float((1 << (8 * song.sample_width - 1)) - 1)
    values = np.rint(signal * scale).astype("<i4")
    return values.reshape(-1, 1).view(np.uint8)[:, : song.sample_width].tobytes()


def _write(path: Path, song: Song, signal: Signal) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(song.channels)
        file.setsampwidth(song.sample_width)
        file.setframerate(song.sample_rate)
        file.writeframes(_integers(song, signal))
    return path


def _write_faded(path: Path, song: Song, signal: Signal) -> Path:
    """Fade the edges as a mastering engineer would, and export."""
    segment = _pydub()(
        _integers(song, signal),
        sample_width=song.sample_width,
        frame_rate=song.sample_rate,
        channels=song.channels,
    )
    fade_out = min(1500, len(segment) // 4)  # a pydub length is in milliseconds
    segment.fade_in(EDGE_FADE_MS).fade_out(fade_out).export(path, format="wav").close()
    return path


def _pydub() -> Any:
    """Load pydub without its complaint that PATH has no ffmpeg: we write WAV only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Couldn't find ffmpeg", RuntimeWarning)
        warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "invalid escape sequence", SyntaxWarning)
        from pydub import AudioSegment  # noqa: PLC0415 - warns when imported
    return AudioSegment


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--seconds",
    type=click.FloatRange(MIN_SECONDS, MAX_SECONDS),
    default=30.0,
    show_default=True,
    help="Length of each master.",
)
def main(folder: Path, seconds: float) -> None:
    """Write five masters into FOLDER and print their paths."""
    for path in make_masters(folder, seconds):
        print_line(str(path))


if __name__ == "__main__":
    main()
