"""Find ffmpeg and pin down exactly which one it is."""

import hashlib
import json
import platform
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import InvalidInputError, UnavailableError

VERSION_TIMEOUT_S = 30
REQUIRED = ("libopus", "libsoxr")
MIN_VERSION = (5, 1)
CHAINED_GRAPHS_VERSION = (7, 1)
"""Since then ffmpeg links filter graphs with each other, each in its own thread."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """One ffmpeg binary; two with the same fingerprint make the same bytes."""

    ffmpeg: Path
    version: str
    sha256: str
    simd: str

    @property
    def fingerprint(self) -> str:
        """What stands in a recipe."""
        return f"ffmpeg-{self.version}-{self.sha256[:16]}-{self.simd}"

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor number; a build from git without a number counts as new."""
        numbers = re.search(r"(\d+)\.(\d+)", self.version)
        return (int(numbers[1]), int(numbers[2])) if numbers else (99, 0)


def find_toolchain(explicit: Path | None = None, *, cache: Path | None = None) -> Toolchain:
    """The given ffmpeg, else the one of the imageio-ffmpeg wheel, else the system's.

    Args:
        explicit: A binary the user chose.
        cache: A file that remembers the hash of a binary by its path, size and time of change.

    Raises:
        InvalidInputError: *explicit* is not a usable ffmpeg.
        UnavailableError: There is no ffmpeg.
    """
    path = explicit or _wheel() or _system()
    if path is None:
        raise UnavailableError("there is no ffmpeg", hint="pip install imageio-ffmpeg")
    try:
        stat = path.stat()
    except OSError as error:
        raise InvalidInputError(
            f"{path} is not there", hint="name an ffmpeg binary, or leave the option out"
        ) from error
    identity = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    toolchain = _remembered(cache, identity)
    if toolchain is None:
        toolchain = _inspect(path)
        if cache is not None:
            _remember(cache, identity, toolchain)
    return toolchain


def _wheel() -> Path | None:
    import imageio_ffmpeg  # noqa: PLC0415 - looks around the file system when imported

    # The wheel's own resolver would fall back to PATH and obey IMAGEIO_FFMPEG_EXE.
    binaries = Path(imageio_ffmpeg.__file__).parent / "binaries"
    return next((p for p in sorted(binaries.glob("ffmpeg-*")) if p.is_file()), None)


def _system() -> Path | None:
    on_path = shutil.which("ffmpeg")
    return Path(on_path) if on_path else None


def _inspect(path: Path) -> Toolchain:
    try:
        answer = subprocess.run(  # noqa: S603 - the user's or the wheel's ffmpeg, no shell
            [path, "-hide_banner", "-version"],
            capture_output=True,
            text=True,
            errors="replace",  # whatever it is, it may print anything
            timeout=VERSION_TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise InvalidInputError(f"{path} does not run", hint="name a working ffmpeg") from error
    version = re.match(r"ffmpeg version (\S+)", answer)
    missing = [name for name in REQUIRED if f"--enable-{name}" not in answer]
    if version is None or missing:
        raise InvalidInputError(
            f"{path} is no ffmpeg with {' and '.join(missing or REQUIRED)}",
            hint="leave the option out: the bundled ffmpeg has everything",
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    simd = "sse4.2" if platform.machine().lower() in ("x86_64", "amd64") else platform.machine()
    toolchain = Toolchain(path, version[1], digest, simd)
    if toolchain.release < MIN_VERSION:
        raise InvalidInputError(
            f"{path} is ffmpeg {toolchain.version}", hint="5.1 or newer is needed"
        )
    return toolchain


def _remembered(cache: Path | None, identity: str) -> Toolchain | None:
    """A damaged or foreign cache is as good as none."""
    try:
        entry = json.loads(cache.read_text()) if cache is not None else {}
        if entry.get("identity") != identity:
            return None
        return Toolchain(
            Path(entry["ffmpeg"]), entry["version"], entry["sha256"], str(entry["simd"])
        )
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _remember(cache: Path, identity: str, toolchain: Toolchain) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    entry = {"identity": identity, **asdict(toolchain), "ffmpeg": str(toolchain.ffmpeg)}
    partial = cache.with_suffix(".partial")
    partial.write_text(json.dumps(entry))
    partial.replace(cache)
