"""What is to be done with each master, decided before anything is done. Pure but for probing."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core import ids
from core.catalogue.catalogue import MAX_ALBUM
from core.errors import InvalidInputError
from core.model import Ladder, Scheme, Tier
from ingest.encode.ladder import Fit, fit, lossless_depth
from ingest.encode.neighbours import ALONE, Rolls
from ingest.encode.toolchain import Toolchain
from ingest.encode.transcode import SETTINGS_VERSION
from ingest.master.probe import Master, printable
from packager.cmaf.grid import SEGMENT_MS
from packager.protect.protection import NO_CHOICES, Encryption


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for; the same for every master of a run.

    `encryption` has a clear lead in whole segments; keys change by rotation alone, not within.
    `license_base` is where manifests in a bucket look for licences.
    """

    ladder: Ladder
    schemes: tuple[Scheme, ...] = (Scheme.CBCS,)
    encryption: Encryption = NO_CHOICES
    license_base: str = ""
    regions: tuple[str, ...] = (ids.EVERYWHERE,)
    album: str | None = None
    title: str | None = None
    artist: str | None = None
    track_id: str | None = None

    @property
    def album_id(self) -> str | None:
        """The id that `album` becomes; InvalidInputError if it holds no letters for one."""
        hint = "an album's name needs a letter from A to Z or a digit"
        return None if self.album is None else slug(self.album, hint)


@dataclass(frozen=True, slots=True)
class Plan:
    """One master on its way to a track.

    `position` is its place on the command line, from 1; `rolls` is what encoders hear of its
    neighbours.
    """

    track_id: str
    position: int
    master: Master
    fit: Fit
    title: str
    artist: str
    album_id: str | None
    settings: str
    recipe_sha256: str
    options: Options
    rolls: Rolls = ALONE

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Of the rungs, lowest first."""
        tiers = {rung.tier for rung in self.fit.rungs}
        return tuple(tier for tier in Tier if tier in tiers)


def plan(master: Master, position: int, options: Options, toolchain: Toolchain) -> Plan:
    """Decide on a master that was probed.

    Raises:
        MasterRejectedError: No rung fits.
        InvalidInputError: There is no usable track id.
    """
    fitted = fit(options.ladder, master)
    # Everything that alters an encode but the rung itself: finished rungs are kept under this.
    settings = json.dumps(
        {
            "version": SETTINGS_VERSION,
            "toolchain": toolchain.fingerprint,
            "channels": master.output_channels,
            "lossless_bits": lossless_depth(master),
        },
        sort_keys=True,
    )
    return Plan(
        track_id=options.track_id or track_id_of(master),
        position=position,
        master=master,
        fit=fitted,
        title=ids.TITLE.check(options.title or master.tags.title or printable(master.path.stem)),
        artist=ids.ARTIST.check(options.artist or master.tags.artist or ""),
        album_id=options.album_id,
        settings=settings,
        recipe_sha256=_recipe_sha256(settings, fitted, options),
        options=options,
    )


def beside(alone: Plan, rolls: Rolls) -> Plan:
    """The plan for a track that is encoded between neighbours: other bytes, so another recipe."""
    if not rolls.identity:
        return alone
    settings = json.dumps(json.loads(alone.settings) | {"rolls": rolls.identity}, sort_keys=True)
    recipe_sha256 = _recipe_sha256(settings, alone.fit, alone.options)
    return replace(alone, settings=settings, recipe_sha256=recipe_sha256, rolls=rolls)


def _recipe_sha256(settings: str, fitted: Fit, options: Options) -> str:
    rungs = [(r.name, r.codec, r.bitrate_bps, r.tier, r.channels) for r in fitted.rungs]
    recipe: list[object] = [settings, rungs, SEGMENT_MS]
    encryption = options.encryption
    choices = [encryption.clear_segments, encryption.full_pattern, options.license_base]
    if any(choices):  # without one, hashes stay what they were before there was a choice
        recipe.append(choices)
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


def track_id_of(master: Master) -> str:
    """The ISRC in lower case if the master has one, else the file's name in allowed letters."""
    isrc = (master.tags.isrc or "").lower()
    return isrc or slug(master.path.stem, "name one with --track-id, or rename the file")


def slug(text: str, hint: str) -> str:
    """*text* in the letters of ids.

    Raises:
        InvalidInputError: Nothing is left of it.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    letters = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: ids.MAX_ID_LENGTH].rstrip("-")
    if not letters:
        raise InvalidInputError(f"no id can be made of {text[: ids.MAX_SHOWN]!a}", hint=hint)
    return letters


def doubles(plans: Sequence[Plan]) -> list[tuple[Plan, InvalidInputError]]:
    """The masters that would become the same track, and why they are refused; others go on."""
    by_track: dict[str, list[Plan]] = {}
    for track_plan in plans:
        by_track.setdefault(track_plan.track_id, []).append(track_plan)
    return [
        (
            double,
            InvalidInputError(
                f"{len(group)} masters would become the track {track_id}: "
                + ", ".join(str(one.master.path) for one in group),
                hint="one by one with 'tonearm ingest --track-id', or rename one",
            ),
        )
        for track_id, group in by_track.items()
        if len(group) > 1
        for double in group
    ]


def check_options(options: Options, masters: Sequence[Path]) -> None:
    """Raise InvalidInputError for options that do not fit together."""
    single = {"--track-id": options.track_id, "--title": options.title}
    for name, value in single.items():
        if value is not None and len(masters) != 1:
            raise InvalidInputError(f"{name} is for one master", hint="ingest them one by one")
    if options.track_id is not None:
        ids.TRACK_ID.check(options.track_id)
    ids.TITLE.check(options.title or "", "--title")
    ids.ARTIST.check(options.artist or "", "--artist")
    ids.check_regions(options.regions)
    ids.check_base_url(options.license_base, "--license-base")
    if options.album_id is not None and len(masters) > MAX_ALBUM:
        raise InvalidInputError(
            f"an album of {len(masters)} masters", hint=f"an album has at most {MAX_ALBUM} tracks"
        )
