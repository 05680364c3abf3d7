"""Encoded files to encrypted CMAF, HLS and DASH in a folder.

All inputs are rungs of one presentation. What is written is decrypted and compared with its source
before the folder is shown to anybody (`staging`).
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core.errors import IntegrityError, InvalidInputError, ToolkitError
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
from packager.manifest import dash, hls, places
from packager.manifest.options import ManifestOptions
from packager.protect.protection import Encryption, FileProtection

Layout = Literal["single", "segments"]

_FILE_NAME = re.compile(r"\w[\w. -]{0,199}")
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
    """Write everything for *inputs* to *folder*, which exists and is empty.

    Args:
        inputs: As `read_inputs` gave them.
        folder: Gets a subfolder for each scheme if there are two.
        options: What it shall look like.
        keys: Asked once for the keys of all tiers, schemes and periods.
        progress: Told of each file that was verified.

    Raises:
        InvalidInputError: A name, key or length does not fit, or an input was changed meanwhile.
        IntegrityError: A file does not decrypt to its source.
    """
    _check_clashes(options, inputs)
    ticks = segment_ticks([item.track for item in inputs], options.segment_s)
    by_use = _keys_by_use(inputs, ticks, options, keys)
    run = _Run(folder, options, by_use, progress)
    try:
        for item, length in zip(inputs, ticks, strict=True):
            run.add(item, length)
        manifests = run.finish()
    except ToolkitError:
        _check_unchanged(inputs)  # it says better what is wrong
        raise
    _check_unchanged(inputs)
    lengths = {
        item.rung.name: length / item.track.timing.timescale
        for item, length in zip(inputs, ticks, strict=True)
    }
    return Packaged(tuple(run.renditions), manifests, lengths, options.whole_segments)


def _check_unchanged(inputs: Sequence[Input]) -> None:
    """Packets are read where the head of a file said that they lie: it must be the same file."""
    for item in inputs:
        item.check_unchanged()


def check_options(options: FolderOptions) -> None:
    """Refuse what no folder can be, before anything is read.

    Raises:
        InvalidInputError: A manifest's name or the length of segments does not fit.
    """
    for name in (options.hls_name, options.mpd_name):
        if not _FILE_NAME.fullmatch(name):
            raise InvalidInputError(
                f"{name} cannot be a manifest's name",
                hint="a file name without a folder: letters, digits, -, _, . and spaces",
            )
    if options.hls_name == options.mpd_name:
        raise InvalidInputError(
            "both manifests have one name", hint="give --hls and --mpd different ones"
        )
    if not 0.1 <= options.segment_s <= 60:
        raise InvalidInputError(
            f"a segment cannot last {options.segment_s} seconds", hint="0.1 to 60 seconds"
        )


def _check_clashes(options: FolderOptions, inputs: Sequence[Input]) -> None:
    for name in (item.rung.name for item in inputs):
        for taken in (name, places.whole_name(name), places.hls_name(name)):
            if taken in (options.hls_name, options.mpd_name):
                raise InvalidInputError(
                    f"{taken} cannot be a manifest's name: it belongs to the rendition {name}",
                    hint="choose another with --hls or --mpd",
                )


def _keys_by_use(
    inputs: Sequence[Input], ticks: Sequence[int], options: FolderOptions, keys: Keys
) -> _ByUse:
    """Ask for all keys at once."""
    if not options.schemes:
        return {}
    tiers = tuple(dict.fromkeys(item.rung.tier for item in inputs))
    periods = max(
        _periods(item, length, options) for item, length in zip(inputs, ticks, strict=True)
    )
    by_use: dict[tuple[Tier, DrmProfile], list[ContentKey]] = {}
    for key in keys(tiers, options.schemes, periods):
        use = key.description.tier, DrmProfile(key.description.scheme)
        by_use.setdefault(use, []).append(key)
    if options.whole_segments:
        from packager.folder.whole_segment import key_uri  # noqa: PLC0415  # loads its ciphers

        for own in by_use.values():
            for key in own:
                key_uri(key)  # before work: players must have somewhere to get it
    return by_use


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
            hashed=self._options.layout == "segments",  # `cut` reads the file again
        )
        for file in rendition.files:
            output = outputs[file.drm]
            later = output.later_keys[: len(file.key_changes)]
            verified = verify_file(
                output.path, rendition, file, output.key, later, encoded=item.track
            )
            if output.key and verified.first_iv is not None:
                self._ivs.setdefault(output.key.description.kid, []).append(verified)
            self._progress(f"{rendition.name}/{file.drm}: {verified.packets} packets verified")
            if self._options.whole_segments:
                rendition = self._encrypt_whole(item, ticks, rendition, file)
            elif self._options.layout == "segments":
                from packager.folder.cut import cut  # noqa: PLC0415  # loads OpenSSL, for this

                cut(output.path, file)
        for kid in {o.key.description.kid for o in outputs.values() if o.key}:
            self._used[kid] = self._used.get(kid, 0) + len(item.track.sizes)
        self.renditions.append(rendition)

    def _encrypt_whole(
        self, item: Input, ticks: int, rendition: Rendition, file: MediaFile
    ) -> Rendition:
        """Replace a clear file by encrypted segments; the rendition as players see it."""
        from packager.folder import whole_segment  # noqa: PLC0415  # loads another cipher library
        from packager.folder.cut import cut  # noqa: PLC0415  # loads OpenSSL, for this

        own = self._keys[item.rung.tier, DrmProfile(self._options.schemes[0])]
        count = len(rendition.segment_ticks)
        protection = FileProtection.chosen(
            DrmProfile.CBCS, tuple(own), _encryption(item, ticks, self._options), count
        )
        keys = [protection.key_at(number) for number in range(count)]
        used = self._sealed.get(own[0].description.kid, 0)
        self._sealed[own[0].description.kid] = used + count
        key_tags = whole_segment.tags(keys, used)
        path = self._below(file.drm) / places.whole_name(rendition.name)
        sizes = cut(path, file, whole_segment.sealing(keys, key_tags))
        self.whole[rendition.name] = key_tags
        as_played = whole_segment.resized(file, sizes, rendition.segment_ticks, rendition.timing)
        self._progress(f"{rendition.name}: {count} segments verified")
        return replace(rendition, files=(as_played,))

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
        path = self._below(drm) / places.whole_name(item.rung.name)
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
            places.hls_name(r.name): hls.media(
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
