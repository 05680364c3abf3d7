"""New keys for a published track, without encoding it again.

    read ─ new key period ─ (fetch, decrypt, package, verify) each rendition ─ store ─ flip

The period of a track's keys stands in its `presentation.json`. A rotation asks the key source for
the one after it, and asked again gets the same keys: a rotation that died before the catalogue's
flip is finished by the next one, and one that died after it is over. The generation before stays in
the store, and its keys in the vault.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.catalogue import Catalogue, Status, Track
from core.errors import ConflictError, IntegrityError, InvalidInputError
from core.ids import check_base_url
from core.keysource import KeyRequest, KeySource
from core.model import (
    ContentKey,
    DrmProfile,
    KeyRotation,
    MediaFile,
    Presentation,
    Rendition,
    Rung,
    Tier,
)
from core.storage.protocol import ObjectStore
from ingest.encode.workspace import Workspace, opened
from ingest.published.tracks import track_named
from ingest.run.assemble import PackagedRung, check_ivs, packaged_path, prove
from ingest.run.release import Release, extra_objects, release
from packager.cmaf.reopen import reopen
from packager.cmaf.segmenter import Output, package
from packager.manifest import presentation as presentations
from packager.manifest.places import REPORT, WAVEFORM, generation_prefix
from packager.manifest.published import fetch_presentation
from packager.protect.protection import Encryption

Keys = Mapping[tuple[Tier, DrmProfile], ContentKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rekeying:
    """What a rotation works with; the caller owns and closes them."""

    store: ObjectStore
    catalogue: Catalogue
    key_source: KeySource
    work_dir: Path
    clock: Callable[[], float]
    license_base: str = ""


async def rotate(track_id: str, parts: Rekeying) -> KeyRotation:
    """Encrypt a published track with keys that nobody has yet, as a new generation.

    Raises:
        NotFoundError: There is no such track, or the store has lost it.
        ConflictError: It is withdrawn, or another run works on it or has just published it.
        InvalidInputError: It is not encrypted, or the base of licence URLs is none.
        IntegrityError: A file does not open with the key that the key source has for it.
    """
    check_base_url(parts.license_base, "--license-base")
    with opened(parts.work_dir, f"{track_id}-rekey") as workspace:
        track = await asyncio.to_thread(_published, parts.catalogue, track_id)
        previous = track.entry.generation
        old = await fetch_presentation(parts.store, track_id=track_id, generation=previous)
        period = max((key.period for key in old.keys), default=-1)
        if period < 0:
            raise InvalidInputError(
                f"{track_id} is not encrypted", hint="ingest its master with --scheme"
            )
        before = await asyncio.to_thread(_keys, parts.key_source, old, period)
        if {key.description.kid for key in before} != {key.kid for key in old.keys}:
            raise IntegrityError(
                f"the key source has other keys for {track_id} than it was encrypted with",
                hint="restore the vault that made them, or ingest the master again",
            )
        after = await asyncio.to_thread(_keys, parts.key_source, old, period + 1)
        new, media = await _Rotating(parts.store, old, workspace).run(before, after)
        prefix = generation_prefix(track_id, previous)
        waveform, report = [await parts.store.get(f"{prefix}{name}") for name in (WAVEFORM, REPORT)]
        entry = replace(track.entry, generation=new.generation)
        await release(
            Release(
                entry,
                new,
                media | extra_objects(new, waveform, report, parts.license_base),
                previous,
            ),
            store=parts.store,
            catalogue=parts.catalogue,
            work_dir=parts.work_dir,
            clock=parts.clock,
        )
        workspace.remove()
    kids = tuple(key.description.kid for key in after)
    return KeyRotation(track_id, new.generation, previous, period + 1, kids)


def _published(catalogue: Catalogue, track_id: str) -> Track:
    track = track_named(catalogue, track_id)
    if track.status is Status.WITHDRAWN:
        raise ConflictError(f"the track {track_id} is withdrawn", hint="`tonearm track restore` it")
    return track


def _keys(source: KeySource, old: Presentation, period: int) -> tuple[ContentKey, ...]:
    """In the order in which ingest asked: an unchanged master is known by its keys."""
    tiers = tuple(dict.fromkeys(key.tier for key in old.keys))
    schemes = tuple(dict.fromkeys(key.scheme for key in old.keys))
    return source.keys(KeyRequest(old.track_id, tiers, schemes, period))


def _by_use(keys: tuple[ContentKey, ...]) -> Keys:
    return {(k.description.tier, DrmProfile(k.description.scheme)): k for k in keys}


class _Rotating:
    """One run over the renditions, one after the other: their copies need disk space."""

    def __init__(self, store: ObjectStore, old: Presentation, workspace: Workspace) -> None:
        self._store, self._old = store, old
        self._folder = workspace.fresh(workspace.packaged)
        self._scratch = workspace.fresh(workspace.attempt)
        self._used = dict.fromkeys(Tier, 0)

    async def run(
        self, before: tuple[ContentKey, ...], after: tuple[ContentKey, ...]
    ) -> tuple[Presentation, dict[str, bytes | Path]]:
        """The new description, and its media files by object key."""
        new_keys = _by_use(after)
        for drm in {file.drm for rendition in self._old.renditions for file in rendition.files}:
            (self._folder / drm).mkdir()
        rungs: list[PackagedRung] = []
        for old in self._old.renditions:
            file = old.files[0]  # all hold the same packets
            stored = self._scratch / "stored.mp4"
            await self._fetch(file, stored)
            rungs.append(await asyncio.to_thread(self._package, old, stored, before, new_keys))
        check_ivs(rungs)
        new = replace(
            self._old,
            keys=tuple(key.description for key in after),
            renditions=tuple(rung.rendition for rung in rungs),
        )
        new = presentations.seal(new)
        media: dict[str, bytes | Path] = {
            file.key: packaged_path(self._folder, file.drm, rendition.name)
            for rendition in new.renditions
            for file in rendition.files
        }
        return new, media

    async def _fetch(self, file: MediaFile, path: Path) -> None:
        """A copy of a stored file, which is what it was when it was published."""
        digest = hashlib.sha256()
        with path.open("wb") as out:
            async for chunk in self._store.stream(file.key, 0, file.size):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise IntegrityError(
                f"{file.key} is not what was published", hint="ingest the master again"
            )

    def _package(
        self, old: Rendition, stored: Path, before: tuple[ContentKey, ...], keys: Keys
    ) -> PackagedRung:
        """Decrypt one rendition, write it under its new keys, and prove the files."""
        track = reopen(stored, old, old.files[0], before, self._scratch / "packets")
        outputs = {
            drm: Output(
                packaged_path(self._folder, drm, old.name),
                keys.get((old.tier, drm)),
                self._used[old.tier],
            )
            for drm in (file.drm for file in old.files)
        }
        self._used[old.tier] += len(track.sizes)
        new = package(
            track,
            rung=Rung(old.codec, old.bitrate_bps, old.tier, old.channels),
            outputs=outputs,
            segment_ticks=old.segment_ticks[0],  # priming included: the whole grid follows from it
            loudness=self._old.loudness,
            album_loudness=self._old.album_loudness,
            encryption=Encryption(
                clear_segments=max(file.clear_segments for file in old.files),
                full_pattern=any(file.crypt_blocks for file in old.files),
            ),
        )
        if replace(new, files=()) != replace(old, files=()):
            raise IntegrityError(f"{old.name} did not come out as it was")
        return prove(new, outputs)
