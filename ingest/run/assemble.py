"""The second half of a track: encrypted files, each proved by decryption, and their description."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.catalogue import TrackEntry
from core.errors import IntegrityError
from core.model import (
    ContentKey,
    DrmProfile,
    Loudness,
    Presentation,
    Rendition,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from ingest.encode.rungs import read_rung
from ingest.encode.workspace import Workspace
from ingest.measure.meters import Findings
from ingest.run.plan import Plan
from packager.cmaf.grid import segment_samples
from packager.cmaf.segmenter import Output, package
from packager.cmaf.verify import Verified, overlapping_ivs, verify_file
from packager.encoded.track import EncodedTrack
from packager.manifest.presentation import seal

Keys = Mapping[tuple[Tier, Scheme], ContentKey]
Verifications = Mapping[DrmProfile, Verified]


@dataclass(frozen=True, slots=True)
class Piece:
    """A rung that is ready to be packaged.

    `first_sample` is how many packets the rungs before it encrypt with the same key: IVs count on
    from there.
    """

    rung: Rung
    track: EncodedTrack
    first_sample: int


def keys_by_use(keys: Sequence[ContentKey]) -> Keys:
    """Each key under the tier and the scheme it is for."""
    return {(key.description.tier, key.description.scheme): key for key in keys}


def pieces(plan: Plan, workspace: Workspace, findings: Findings) -> list[Piece]:
    """Open every rung, in the order of the ladder."""
    used = dict.fromkeys(Tier, 0)
    found = []
    for rung in plan.fit.rungs:
        track = read_rung(rung, workspace.rung(rung), plan, findings)
        found.append(Piece(rung, track, used[rung.tier]))
        used[rung.tier] += len(track.sizes)
    return found


def package_and_verify(  # noqa: PLR0913 - what a file is made of
    plan: Plan,
    piece: Piece,
    folder: Path,
    keys: Keys,
    *,
    loudness: Loudness,
    album_loudness: Loudness | None,
) -> tuple[Rendition, Verifications]:
    """Cut and encrypt one rung into `folder/{drm}/`, then prove every file by decryption.

    Raises:
        IntegrityError: A file does not decrypt to what the encoder made.
    """
    outputs = {
        DrmProfile(scheme): Output(
            packaged_path(folder, DrmProfile(scheme), piece.rung.name),
            keys[piece.rung.tier, scheme],
            piece.first_sample,
        )
        for scheme in plan.options.schemes
    }
    rendition = package(
        piece.track,
        rung=piece.rung,
        outputs=outputs,
        segment_ticks=segment_samples(piece.track.timing.timescale),
        key_prefix=f"tracks/{plan.track_id}/-",  # the generation is known when all are packaged
        loudness=loudness,
        album_loudness=album_loudness,
        encryption=plan.options.encryption,
    )
    verified = {
        file.drm: verify_file(outputs[file.drm].path, rendition, file, outputs[file.drm].key)
        for file in rendition.files
    }
    return rendition, verified


def packaged_path(folder: Path, drm: DrmProfile, name: str) -> Path:
    """Where a packaged file waits for the store."""
    return folder / drm / f"{name}.mp4"


def check_ivs(renditions: Sequence[Rendition], verified: Sequence[Verifications]) -> None:
    """Raise IntegrityError if two packets under one `cenc` key share an IV."""
    for tier in Tier:
        of_tier = [
            files[DrmProfile.CENC]
            for rendition, files in zip(renditions, verified, strict=True)
            if rendition.tier is tier and DrmProfile.CENC in files
        ]
        if overlapping_ivs(of_tier):
            raise IntegrityError(f"IVs of the tier {tier} overlap")


def describe(  # noqa: PLR0913 - all that a presentation says
    plan: Plan,
    master_sha256: str,
    findings: Findings,
    *,
    album_loudness: Loudness | None,
    keys: Sequence[ContentKey],
    renditions: Sequence[Rendition],
) -> Presentation:
    """The presentation, with its generation filled in."""
    return seal(
        Presentation(
            track_id=plan.track_id,
            generation="",
            title=plan.title,
            artist=plan.artist,
            timing=Timing(plan.master.sample_rate, 0, findings.quality.samples, 0),
            loudness=findings.loudness,
            album_id=plan.album_id,
            album_loudness=album_loudness,
            master_sha256=master_sha256,
            recipe_sha256=plan.recipe_sha256,
            keys=tuple(key.description for key in keys),
            renditions=tuple(renditions),
        )
    )


def entry_of(plan: Plan, presentation: Presentation) -> TrackEntry:
    """What the catalogue is told."""
    return TrackEntry(
        track_id=plan.track_id,
        generation=presentation.generation,
        title=presentation.title,
        artist=presentation.artist,
        regions=plan.options.regions,
        master_sha256=presentation.master_sha256,
        recipe_sha256=presentation.recipe_sha256,
        tiers=plan.tiers,
        schemes=plan.options.schemes,
        duration_ticks=presentation.timing.samples,
        timescale=presentation.timing.timescale,
        loudness=presentation.loudness,
        album_id=plan.album_id,
        album_position=plan.position if plan.album_id else None,
    )
