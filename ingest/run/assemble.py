"""The light half of a track: encrypted files, each proved by decryption, and their description.

`package_rung` is a plain function of a value that can be pickled, as `encode` is. All rungs of a
tier share a key; where IVs count up (`cenc`), a rung starts behind the packets of those before it,
so that rungs can be packaged in any order, at the same time, on any machine. That they did not
overlap after all is asked of the finished files (`check_ivs`), not of the plan.
"""

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
    Tier,
    Timing,
)
from ingest.encode.rungs import Encoded, RungFile
from ingest.encode.toolchain import Toolchain
from ingest.measure.meters import Findings
from ingest.run.plan import Plan
from ingest.run.release import Release, extra_objects
from ingest.run.report import track_report
from packager.cmaf.grid import segment_samples
from packager.cmaf.segmenter import Output, package
from packager.cmaf.verify import Verified, overlapping_ivs, verify_file
from packager.manifest.presentation import seal
from packager.protect.protection import Encryption

Verifications = Mapping[DrmProfile, Verified]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageOrder:
    """One rung to cut, encrypt and prove.

    Attributes:
        first_sample: How many packets the rungs before it encrypt with the same key: IVs count on
            from there.
        keys: Of its tier; one for each scheme that is to be made.
        folder: Files are written to ``{drm}/{rung}.mp4`` below it.
    """

    track_id: str
    file: RungFile
    first_sample: int
    keys: tuple[ContentKey, ...]
    encryption: Encryption
    loudness: Loudness
    album_loudness: Loudness | None
    folder: Path


@dataclass(frozen=True, slots=True)
class PackagedRung:
    """A rung in its files, which `verified` proves."""

    rendition: Rendition
    verified: Verifications


def package_orders(
    plan: Plan,
    encoded: Encoded,
    keys: Sequence[ContentKey],
    album_loudness: Loudness | None,
    folder: Path,
) -> list[PackageOrder]:
    """What is to be packaged of a track, in the order of the ladder."""
    by_use = {(key.description.tier, key.description.scheme): key for key in keys}
    packets_before = dict.fromkeys(Tier, 0)
    orders = []
    for file, packets in zip(encoded.files, encoded.packets, strict=True):
        tier = file.rung.tier
        orders.append(
            PackageOrder(
                track_id=plan.track_id,
                file=file,
                first_sample=packets_before[tier],
                keys=tuple(by_use[tier, scheme] for scheme in plan.options.schemes),
                encryption=plan.options.encryption,
                loudness=encoded.findings.loudness,
                album_loudness=album_loudness,
                folder=folder,
            )
        )
        packets_before[tier] += packets
    return orders


def package_rung(order: PackageOrder) -> PackagedRung:
    """Cut and encrypt one rung in every scheme, then prove every file by decryption.

    Raises:
        IntegrityError: A file does not decrypt to what the encoder made.
    """
    track, rung = order.file.read(), order.file.rung
    outputs = {}
    for key in order.keys:
        drm = DrmProfile(key.description.scheme)
        path = packaged_path(order.folder, drm, rung.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        outputs[drm] = Output(path, key, order.first_sample)
    rendition = package(
        track,
        rung=rung,
        outputs=outputs,
        segment_ticks=segment_samples(track.timing.timescale),
        loudness=order.loudness,
        album_loudness=order.album_loudness,
        encryption=order.encryption,
    )
    return prove(rendition, outputs)


def prove(rendition: Rendition, outputs: Mapping[DrmProfile, Output]) -> PackagedRung:
    """*rendition*, every file of which was decrypted and is what the encoder made.

    Raises:
        IntegrityError: One is not.
    """
    verified = {
        file.drm: verify_file(outputs[file.drm].path, rendition, file, outputs[file.drm].key)
        for file in rendition.files
    }
    return PackagedRung(rendition, verified)


def packaged_path(folder: Path, drm: DrmProfile, name: str) -> Path:
    """Where a packaged file waits for the store."""
    return folder / drm / f"{name}.mp4"


def check_ivs(rungs: Sequence[PackagedRung]) -> None:
    """Raise IntegrityError if two packets under one `cenc` key share an IV."""
    for tier in Tier:
        of_tier = [
            rung.verified[DrmProfile.CENC]
            for rung in rungs
            if rung.rendition.tier is tier and DrmProfile.CENC in rung.verified
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


def release_of(
    plan: Plan,
    presentation: Presentation,
    findings: Findings,
    toolchain: Toolchain,
    packaged: Path,
) -> Release:
    """All that becomes visible with *presentation*, whose files wait below *packaged*."""
    media = {
        file.key: packaged_path(packaged, file.drm, rendition.name)
        for rendition in presentation.renditions
        for file in rendition.files
    }
    report = track_report(plan, findings, toolchain)
    beside = extra_objects(presentation, findings.waveform, report, plan.options.license_base)
    return Release(entry_of(plan, presentation), presentation, media | beside)
