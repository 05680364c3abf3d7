"""Which masters a demo plays, and the runs of `tonearm ingest` that publish them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in ("aif", "aifc", "aiff", "flac", "m4a", "mp3", "mp4", "oga", "ogg", "opus", "wav")
)
"""What is looked for in folders; a file that is named itself is tried whatever its name."""
MAX_MASTERS = 100
"""Masters of one demo: what the page lists."""
MAX_ENTRIES = 50_000
"""Files that are looked at below one folder."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that does not play, and why not.

    Attributes:
        name: For people; it may hold anything that a file name can.
    """

    name: str
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class IngestRun:
    """One run of `tonearm ingest`: masters, and the options that go with them."""

    masters: tuple[Path, ...]
    options: tuple[str, ...] = ()


@dataclass(slots=True)
class Selection:
    """What was asked for: the masters in their order, and what is none."""

    masters: list[Path] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def select_masters(paths: Iterable[Path]) -> Selection:
    """The files among *paths*, and the audio files below the folders among them, each once.

    A path that does not exist is selected, too: `ingest` says best what is wrong with it.
    """
    selection = Selection()
    files: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            files[path.absolute()] = None
            continue
        inside = sorted(_audio_files(path))
        if not inside:
            hint = f"files that end in {', '.join(sorted(AUDIO_SUFFIXES))} are looked for"
            selection.refused.append(Refusal(str(path), "there is no audio file in it", hint))
        files.update(dict.fromkeys(file.absolute() for file in inside))
    selection.masters = list(files)[:MAX_MASTERS]
    left_out = len(files) - len(selection.masters)
    if left_out:
        reason = f"left out: a demo plays {MAX_MASTERS} tracks"
        selection.refused.append(Refusal(f"{left_out} more files", reason, "name fewer"))
    return selection


def _audio_files(folder: Path) -> Iterator[Path]:
    entries = 0
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            entries += 1
            if entries > MAX_ENTRIES:
                return
            # a leading dot: what other systems keep beside a file, under the same suffix
            if Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                yield Path(where, name)


def runs_for(masters: list[Path]) -> list[IngestRun]:
    """Runs that publish *masters*; a track id is made of a file's name where that can be.

    Names without Latin letters make no id, and two files of one name make the same one: such
    files get an id of their own, which only a run of a single master can be given.
    """
    names = Counter(path.stem.casefold() for path in masters)
    plain = [p for p in masters if p.stem.isascii() and names[p.stem.casefold()] == 1]
    runs = [IngestRun(tuple(plain))] if plain else []
    for path in masters:
        if path not in plain:
            digest = blake2b(os.fsencode(path), digest_size=6).hexdigest()
            runs.append(IngestRun((path,), ("--track-id", f"track-{digest}")))
    return runs


def synthesised_runs(folder: Path) -> list[IngestRun]:
    """Runs for what `ingest.master.synthesis` wrote: singles, and the gapless pair as an album."""
    masters = sorted(folder.glob("*.wav"))
    pair = tuple(path for path in masters if path.stem.startswith("long-way-"))
    singles = tuple(path for path in masters if path not in pair)
    return [IngestRun(singles), IngestRun(pair, ("--album", "Long Way"))]
