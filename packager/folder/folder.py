"""Encoded files to encrypted CMAF, HLS and DASH in a folder that appears whole or not at all.

All inputs are rungs of one presentation. Everything is written into a folder beside the target,
decrypted and compared with its source there, and renamed at the end.
"""

import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal

from core.errors import ConflictError, IntegrityError, InvalidInputError
from core.model import (
    ContentKey,
    DrmProfile,
    HlsKeyTag,
    Loudness,
    MediaFile,
    Presentation,
    Rendition,
    Scheme,
    Tier,
)
from packager.cmaf.grid import SEGMENT_MS, grid_of
from packager.cmaf.segmenter import Output, package
from packager.cmaf.verify import Verified, overlapping_ivs, verify_file
from packager.folder.inputs import Input, segment_ticks
from packager.manifest import dash, hls
from packager.manifest.options import ManifestOptions
from packager.protect.protection import Encryption, FileProtection

Layout = Literal["single", "segments"]

_NO_LOUDNESS = Loudness(None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """What the folder shall look like; lengths are rounded to whole frames and segments.

    With `whole_segments`, files are clear and their segments HLS `AES-128`, under the keys of the
    one scheme; there is no DASH manifest then, because hardly a DASH player knows that.
    """

    schemes: tuple[Scheme, ...]
    layout: Layout = "single"
    whole_segments: bool = False
    segment_s: float = SEGMENT_MS / 1000
    hls_name: str = "master.m3u8"
    mpd_name: str = "manifest.mpd"
    license_base: str = ""
    clear_lead_s: float = 0
    crypto_period_s: float = 0
    full_pattern: bool = False

    @property
    def profiles(self) -> tuple[DrmProfile, ...]:
        """One for each scheme; `clear` if files themselves are not encrypted."""
        if self.whole_segments:
            return (DrmProfile.CLEAR,)
        return tuple(DrmProfile(scheme) for scheme in self.schemes) or (DrmProfile.CLEAR,)


@dataclass(frozen=True, slots=True)
class Packaged:
    """What is in the folder: manifests and media files by their paths below it."""

    renditions: tuple[Rendition, ...]
    manifests: tuple[str, ...]
    segment_s: Mapping[str, float]
    whole_segments: bool

    def protection(self, file: MediaFile) -> str:
        """How a file is encrypted, in the words of `--scheme`."""
        return "aes-128" if self.whole_segments else file.drm


Keys = Callable[[Sequence[Tier], Sequence[Scheme], int], Sequence[ContentKey]]
"""Given tiers, schemes and a number of periods, the keys of each, period after period."""
_ByUse = Mapping[tuple[Tier, DrmProfile], Sequence[ContentKey]]


def package_folder(
    inputs: Sequence[Input],
    folder: Path,
    options: FolderOptions,
    keys: Keys,
    progress: Callable[[str], None],
) -> Packaged:
    """Write everything for *inputs* to *folder*, which must not exist or be empty.

    Args:
        inputs: As `read_inputs` gave them.
        folder: Gets a subfolder for each scheme if there are two.
        options: What it shall look like.
        keys: Asked once for the keys of all tiers, schemes and periods.
        progress: Told of each file that was verified.

    Raises:
        ConflictError: *folder* holds something.
        InvalidInputError: A name, key or length does not fit.
        IntegrityError: A file does not decrypt to its source.
    """
    _check_names(options, inputs)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder} is not empty", hint="name a new folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    tiers = tuple(dict.fromkeys(item.rung.tier for item in inputs))
    ticks = segment_ticks([item.track for item in inputs], options.segment_s)
    by_use: dict[tuple[Tier, DrmProfile], list[ContentKey]] = {}
    if options.schemes:
        periods = max(
            _periods(item, length, options) for item, length in zip(inputs, ticks, strict=True)
        )
        for key in keys(tiers, options.schemes, periods):
            place = key.description.tier, DrmProfile(key.description.scheme)
            by_use.setdefault(place, []).append(key)
    with tempfile.TemporaryDirectory(prefix=".tonearm-", dir=folder.parent) as staging:
        target = Path(staging) / "folder"
        target.mkdir()  # below the private one: this has the permissions that folders have here
        run = _Run(target, options, by_use, progress)
        for item, length in zip(inputs, ticks, strict=True):
            run.add(item, length)
        manifests = run.finish()
        target.rename(folder)
    lengths = {
        item.rung.name: length / item.track.timing.timescale
        for item, length in zip(inputs, ticks, strict=True)
    }
    return Packaged(tuple(run.renditions), manifests, lengths, options.whole_segments)


def _encryption(item: Input, ticks: int, options: FolderOptions) -> Encryption:
    return Encryption.in_seconds(
        ticks / item.track.timing.timescale,
        clear_lead_s=options.clear_lead_s,
        crypto_period_s=options.crypto_period_s,
        full_pattern=options.full_pattern,
    )


def _periods(item: Input, ticks: int, options: FolderOptions) -> int:
    """How many keys follow each other in one input."""
    segments = len(grid_of(item.track, ticks).ticks)
    return _encryption(item, ticks, options).keys_needed(segments)


def _check_names(options: FolderOptions, inputs: Sequence[Input]) -> None:
    media = {f"{item.rung.name}.m3u8" for item in inputs}
    for name in (options.hls_name, options.mpd_name):
        if name != Path(name).name or name.startswith(".") or name in media:
            raise InvalidInputError(
                f"{name!r} cannot be a manifest's name", hint="a file name, without a folder"
            )
    if options.hls_name == options.mpd_name:
        raise InvalidInputError("both manifests have one name")
    if not 0.1 <= options.segment_s <= 60:
        raise InvalidInputError("a segment lasts from 0.1 to 60 seconds")


class _Run:
    """One folder while it is being filled."""

    def __init__(
        self,
        folder: Path,
        options: FolderOptions,
        keys: _ByUse,
        progress: Callable[[str], None],
    ) -> None:
        self._folder, self._options, self._keys = folder, options, keys
        self._progress = progress
        self._ivs: dict[uuid.UUID, list[Verified]] = {}
        self._used: dict[uuid.UUID, int] = {}
        self._sealed: dict[uuid.UUID, int] = {}
        self.whole: dict[str, Sequence[HlsKeyTag | None]] = {}
        self.renditions: list[Rendition] = []
        for drm in options.profiles:
            self._below(drm).mkdir(exist_ok=True)

    def add(self, item: Input, ticks: int) -> None:
        """Package one input under all protections, and prove each file by decryption."""
        outputs = {drm: self._output(item, drm) for drm in self._options.profiles}
        rendition = package(
            item.track,
            rung=item.rung,
            outputs=outputs,
            segment_ticks=ticks,
            encryption=_encryption(item, ticks, self._options),
            hashed=False,
        )
        for file in rendition.files:
            output = outputs[file.drm]
            later = output.later_keys[: len(file.key_changes)]
            verified = verify_file(output.path, rendition, file, output.key, later, made=item.track)
            if output.key and verified.first_iv is not None:
                self._ivs.setdefault(output.key.description.kid, []).append(verified)
            self._progress(f"{rendition.name}/{file.drm}: {verified.packets} packets verified")
            if self._options.whole_segments:
                rendition = self._encrypt_whole(item, ticks, rendition, file)
            elif self._options.layout == "segments":
                _cut(output.path, file)
        for kid in {o.key.description.kid for o in outputs.values() if o.key}:
            self._used[kid] = self._used.get(kid, 0) + len(item.track.sizes)
        self.renditions.append(rendition)

    def _encrypt_whole(
        self, item: Input, ticks: int, rendition: Rendition, file: MediaFile
    ) -> Rendition:
        """Replace a clear file by encrypted segments; the rendition as players see it."""
        from packager.folder import whole_segment  # noqa: PLC0415  # loads another cipher library

        own = self._keys[item.rung.tier, DrmProfile(self._options.schemes[0])]
        count = len(rendition.segment_ticks)
        how = FileProtection.chosen(
            DrmProfile.CBCS, tuple(own), _encryption(item, ticks, self._options), count
        )
        keys = [how.key_at(number) for number in range(count)]
        used = self._sealed.get(own[0].description.kid, 0)
        self._sealed[own[0].description.kid] = used + count
        said = whole_segment.tags(keys, used)
        path = self._below(file.drm) / f"{rendition.name}.mp4"
        sizes = whole_segment.cut_encrypted(path, file, keys, said)
        self.whole[rendition.name] = said
        made = whole_segment.resized(file, sizes, rendition.segment_ticks, rendition.timing)
        self._progress(f"{rendition.name}: {count} segments verified")
        return replace(rendition, files=(made,))

    def finish(self) -> tuple[str, ...]:
        """Write the manifests; their paths below the folder."""
        for ranges in self._ivs.values():
            if overlapping_ivs(ranges):
                raise IntegrityError("two packets would share an IV under one key")
        return tuple(
            str((self._below(drm) / name).relative_to(self._folder))
            for drm in self._options.profiles
            for name in self._manifests(drm)
        )

    def _below(self, drm: DrmProfile) -> Path:
        return self._folder / drm if len(self._options.profiles) > 1 else self._folder

    def _output(self, item: Input, drm: DrmProfile) -> Output:
        path = self._below(drm) / f"{item.rung.name}.mp4"
        keys = self._keys.get((item.rung.tier, drm))
        if not keys:
            return Output(path)
        used = self._used.get(keys[0].description.kid, 0)
        return Output(path, keys[0], used, tuple(keys[1:]))

    def _manifests(self, drm: DrmProfile) -> tuple[str, ...]:
        described = _presentation(self.renditions, self._keys, drm)
        single = self._options.layout == "single"
        options = ManifestOptions(license_base=self._options.license_base)
        best = max((r.tier for r in self.renditions), key=lambda tier: tier.rank)
        manifests = {self._options.hls_name: hls.multivariant(described, drm, best, options)}
        if not self._options.whole_segments:
            manifests[self._options.mpd_name] = dash.mpd(
                described, drm, best, options, "on-demand" if single else "live"
            )
        layout: hls.Layout = "byterange" if single else "segments"
        playlists = {
            f"{r.name}.m3u8": hls.media(
                described, drm, r.name, options, layout, whole=self.whole.get(r.name, ())
            )
            for r in self.renditions
        }
        for name, text in (manifests | playlists).items():
            (self._below(drm) / name).write_text(text, encoding="utf-8")
        return tuple(manifests)


def _presentation(
    renditions: Sequence[Rendition],
    keys: _ByUse,
    drm: DrmProfile,
) -> Presentation:
    """What manifests are written from: one protection, and a description of each key once."""
    described = {
        key.description.kid: key.description
        for (_, profile), of_use in keys.items()
        if profile is drm
        for key in of_use
    }
    longest = max((r.timing for r in renditions), key=lambda timing: timing.duration_s)
    return Presentation(
        track_id="package",
        generation="",
        title="",
        artist="",
        timing=replace(longest, priming=0, padding=0),
        loudness=_NO_LOUDNESS,
        album_id=None,
        album_loudness=None,
        master_sha256="",
        recipe_sha256="",
        keys=tuple(described.values()),
        renditions=tuple(renditions),
    )


def _cut(path: Path, file: MediaFile) -> None:
    """Replace a verified file by `{rendition}/init.mp4` and `{rendition}/{n}.m4s`."""
    folder = path.with_suffix("")
    folder.mkdir()
    starts = accumulate(file.segment_sizes, initial=file.init_size + file.index_size)
    with path.open("rb") as source:
        (folder / "init.mp4").write_bytes(source.read(file.init_size))
        for number, (start, size) in enumerate(zip(starts, file.segment_sizes, strict=False), 1):
            source.seek(start)
            (folder / f"{number}.m4s").write_bytes(source.read(size))
    path.unlink()
