"""`tonearm track verify`: everything that is published of a track, checked against its promises.

Theory of operation. Trust starts at one place, the generation that the catalogue names, and goes
from there to each object by a hash or by something that was computed again:

    generation ─► presentation.json, whose hash it is
      ├─► media files: size, SHA-256, every box, and every packet after decryption
      └─► which static manifests there must be
    sha256.json ─► static manifests, waveform, report: a hash of each

Without a description that hashes to the generation there is nothing to compare with, and the
report ends there. Otherwise every object is read, one after the other, and what is wrong is
collected, not raised: one bad file does not hide the next, and an object that nothing names is
wrong, too. A wrong master ends a run before it has begun; a store or key source that does not
answer ends it at any time, because nothing can be said of an object that was not seen.

A media file is fetched whole into a temporary file and checked there, so disk is needed for the
largest one. It counts in the search for IVs that serve twice only if it was found right. Keys that
the key source does not know are a problem, and their files are then left out. Nothing vouches for
`sha256.json`: whoever replaces it together with a waveform is not found out. A generation without
it gets a note; its manifests are rendered again and compared to the byte, the rest is not checked.

A run changes no object and takes no lock. A track that is removed while it is verified is reported
as damaged; one that is published anew is not, because generations do not touch each other.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from core.errors import IntegrityError, InvalidInputError, NotFoundError
from core.keysource import KeyRequest, KeySource
from core.model import ContentKey, DrmProfile, MediaFile, Presentation, Rendition, Scheme
from core.output import Styled
from core.storage.protocol import ObjectStore
from ingest.published.master_compare import compare_with_master
from ingest.run.sums import decode_sums
from packager.cmaf.verify import Verified, overlapping_ivs, verify_file
from packager.manifest import timeline
from packager.manifest.options import ManifestOptions
from packager.manifest.places import SUMS, generation_prefix, presentation_key, static_name
from packager.manifest.published import fetch_presentation
from packager.manifest.static import static_manifests

MAX_LISTED = 10_000
"""Objects of a generation that are looked at."""
WRONG = (IntegrityError, NotFoundError, InvalidInputError)
"""Errors that say something about an object; others say that it could not be looked at."""


@dataclass(slots=True)
class Report:
    """What was checked, object by object, and what is wrong; a problem starts with its place."""

    track_id: str
    generation: str
    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "track_id": self.track_id,
            "generation": self.generation,
            "ok": not self.problems,
            "checked": self.checked,
            "problems": self.problems,
            "notes": self.notes,
        }

    def lines(self) -> Iterator[str | Styled]:
        """For people; the verdict last."""
        yield from (f"checked  {line}" for line in self.checked)
        yield from (f"note     {line}" for line in self.notes)
        yield from (Styled(f"wrong    {line}", "red") for line in self.problems)
        verdict = f"{len(self.problems)} problems" if self.problems else "nothing is wrong"
        yield f"{self.track_id} {self.generation}: {len(self.checked)} objects, {verdict}"


async def verify_track(
    track_id: str,
    generation: str,
    store: ObjectStore,
    key_source: KeySource,
    *,
    master: Path | None = None,
) -> Report:
    """Check all objects of one generation.

    Args:
        track_id: Of the track.
        generation: The one to check.
        store: Where its objects lie.
        key_source: Hands out the keys, as it did when they were encrypted.
        master: If given, each rendition is decoded and compared with it.

    Raises:
        UnavailableError: The store or the key source does not answer.
    """
    report = Report(track_id, generation)
    key = presentation_key(track_id, generation)
    try:
        presentation = await fetch_presentation(store, track_id=track_id, generation=generation)
    except (IntegrityError, NotFoundError) as error:
        report.problems.append(f"{key}: {error.message}")
        return report
    report.checked.append(key)
    if (
        master is not None
        and await asyncio.to_thread(_sha256, master) != presentation.master_sha256
    ):
        raise InvalidInputError(f"{master.name} is not what {track_id} was made from")
    _check_alignment(presentation, report)
    keys = await asyncio.to_thread(_keys, presentation, key_source, report)
    await _check_media(store, presentation, keys, report, master)
    await _check_others(store, presentation, report)
    return report


async def _check_media(
    store: ObjectStore,
    presentation: Presentation,
    keys: Mapping[UUID, ContentKey],
    report: Report,
    master: Path | None,
) -> None:
    """All media files, one after the other, and that no IV serves twice."""
    ranges: dict[tuple[UUID, ...], list[Verified]] = {}
    for rendition in presentation.renditions:
        if master is not None and _decodable(rendition) is None:
            report.notes.append(f"{rendition.name}: not compared, its encryption changes within")
        for file in rendition.files:
            # one decode is enough: the packets of all protections have one hash
            heard = master if file is _decodable(rendition) else None
            await _check_file(
                store, rendition, file, keys=keys, ranges=ranges, report=report, master=heard
            )
    report.problems += [
        f"key {kids[0]}: two packets share an IV"
        for kids, r in ranges.items()
        if overlapping_ivs(r)
    ]


def _decodable(rendition: Rendition) -> MediaFile | None:
    """The first file that one key opens from end to end: FFmpeg's decryption knows no other."""
    whole = (f for f in rendition.files if not f.clear_segments and not f.key_changes)
    return next(whole, None)


def _check_alignment(p: Presentation, report: Report) -> None:
    """What players count on: sums that are exact, and equal cuts in all rungs of a codec."""
    cuts: dict[tuple[Any, ...], Rendition] = {}
    for r in p.renditions:
        if sum(timeline.durations(r)) != r.timing.samples:
            report.problems.append(f"{r.name}: DASH durations do not add up to the music")
        if sum(timeline.hls_durations_us(r)) != timeline.length_us(r.timing):
            report.problems.append(f"{r.name}: EXTINFs do not add up to the music")
        first = cuts.setdefault((r.codec, r.sample_rate), r)
        if first.segment_ticks != r.segment_ticks:
            report.problems.append(f"{r.name}: is not cut where {first.name} is")
        exact = p.timing.samples * r.timing.timescale / p.timing.timescale
        if abs(r.timing.samples - exact) > 1:
            report.problems.append(f"{r.name}: {r.timing.samples} samples, the master {exact:.1f}")


def _keys(p: Presentation, source: KeySource, report: Report) -> Mapping[UUID, ContentKey]:
    """The content keys by KID; those that the key source does not know are problems."""
    keys_by_kid: dict[UUID, ContentKey] = {}
    for period in sorted({k.period for k in p.keys}):
        of_period = [k for k in p.keys if k.period == period]
        tiers = tuple(dict.fromkeys(k.tier for k in of_period))
        schemes = tuple(s for s in Scheme if any(k.scheme is s for k in of_period))
        answer = source.keys(KeyRequest(p.track_id, tiers, schemes, period))
        keys_by_kid |= {key.description.kid: key for key in answer}
    for described in p.keys:
        if described.kid not in keys_by_kid:
            report.problems.append(f"key {described.kid}: the key source does not know it")
    # pssh boxes are compared with what was signalled when the files were written
    return {
        described.kid: ContentKey(described, own.key, own.iv)
        for described in p.keys
        if (own := keys_by_kid.get(described.kid))
    }


async def _check_file(  # noqa: PLR0913  # one file, and all that it is checked against
    store: ObjectStore,
    rendition: Rendition,
    file: MediaFile,
    *,
    keys: Mapping[UUID, ContentKey],
    ranges: dict[tuple[UUID, ...], list[Verified]],
    report: Report,
    master: Path | None,
) -> None:
    """Fetch one media file to a temporary one and verify it there."""
    if not keys.keys() >= set(file.kids):
        return  # said already
    own = [keys[kid] for kid in file.kids]
    key = own[0] if own else None
    with tempfile.TemporaryDirectory(prefix="tonearm-verify-") as folder:
        path = Path(folder) / "file.mp4"
        try:
            await _fetch(store, file, path)
            verified = await asyncio.to_thread(verify_file, path, rendition, file, key, own[1:])
            if master is not None:
                note = await asyncio.to_thread(compare_with_master, path, rendition, key, master)
                report.notes.append(note)
        except WRONG as error:
            report.problems.append(f"{file.key}: {error.message}")
            return
    if own:
        ranges.setdefault(file.kids, []).append(verified)
    report.checked.append(f"{file.key}: {verified.packets} packets")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _fetch(store: ObjectStore, file: MediaFile, path: Path) -> None:
    size = (await store.head(file.key)).size
    if size != file.size:
        raise IntegrityError(f"{size} bytes are stored where {file.size} are promised")
    with path.open("wb") as target:
        async for chunk in store.stream(file.key, 0, size):
            target.write(chunk)


async def _check_others(store: ObjectStore, p: Presentation, report: Report) -> None:
    """Manifests that lie beside the media, and JSON; what nobody named is a problem, too."""
    prefix = generation_prefix(p.track_id, p.generation)
    checked_before = {presentation_key(p.track_id, p.generation)}
    checked_before |= {f.key for r in p.renditions for f in r.files}
    expected = {
        prefix + static_name(drm, name): text
        for drm in DrmProfile
        for name, text in static_manifests(p, drm, ManifestOptions()).items()
    }
    stored_keys: set[str] = set()
    async for info in store.list(prefix):
        if len(stored_keys) == MAX_LISTED:
            report.problems.append(f"{prefix}: more than {MAX_LISTED} objects")
            break
        stored_keys.add(info.key)
    sums = (
        await _sums(store, f"{prefix}{SUMS}", report) if f"{prefix}{SUMS}" in stored_keys else None
    )
    if sums is None:
        report.notes.append(f"{prefix}{SUMS} is missing: waveform and report are not checked")
    named = {f"{prefix}{name}" for name in sums or ()}
    report.problems += [f"{k}: is missing" for k in sorted((expected.keys() | named) - stored_keys)]
    for key in sorted(stored_keys - checked_before - {f"{prefix}{SUMS}"}):
        try:
            body = await store.get(key)
        except WRONG as error:
            report.problems.append(f"{key}: {error.message}")
            continue
        if key in named or key not in expected:
            if sums is None:
                continue
            wrong = _unlike_its_sum(body, sums.get(key.removeprefix(prefix)))
        else:
            wrong = _first_difference(body, expected[key].encode())
        report.problems += [f"{key}: {wrong}"] if wrong else []
        report.checked += [] if wrong else [key]


async def _sums(store: ObjectStore, key: str, report: Report) -> dict[str, str]:
    try:
        sums = decode_sums(await store.get(key))
    except WRONG as error:
        report.problems.append(f"{key}: {error.message}")
        return {}
    report.checked.append(key)
    return sums


def _unlike_its_sum(body: bytes, promised: str | None) -> str | None:
    if promised is None:
        return "nothing of this generation has this name"
    digest = hashlib.sha256(body).hexdigest()
    return None if digest == promised else f"its SHA-256 is {digest}, not {promised}"


def _first_difference(body: bytes, expected: bytes) -> str | None:
    if body == expected:
        return None
    at = next((i for i, (a, b) in enumerate(zip(body, expected, strict=False)) if a != b), None)
    at = min(len(body), len(expected)) if at is None else at
    line = expected[:at].count(b"\n") + 1
    return f"differs from what the description gives, from byte {at} (line {line})"
