"""`tonearm keys`, and the key server's role in `tonearm serve`."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import ConflictError, IntegrityError, NotFoundError
from core.home import Home
from core.output import (
    Table,
    json_option,
    print_columns,
    print_json,
    print_line,
    print_note,
)
from core.wiring import Wiring

if TYPE_CHECKING:  # slow to import, and help must be quick
    from aiohttp import web

    from core.wiring import ServeOptions
    from keyserver.database import StoredKey
    from keyserver.vault import Vault

RING_SECRETS = ("root", "kid", "playback", "operator")
"""What the key server needs from the ring."""


def setup_role(app: "web.Application", wiring: Wiring, _: "ServeOptions") -> None:
    """Add the key server of this home to *app*."""
    from keyserver.app import KeyServer, setup

    vault = open_vault(wiring.home)

    async def close(_: "web.Application") -> None:
        vault.close()

    ring = wiring.home.keyring
    server = KeyServer(
        vault=vault,
        playback_secret=ring.secret("playback"),
        operator_secret=ring.secret("operator"),
        clock=time.time,
    )
    setup(app, server)
    # after the threads that use it: clean-ups of cleanup_ctx run first
    app.on_cleanup.append(close)


@click.group()
def keys() -> None:
    """Make, list and check content keys; none of these commands shows one."""


@keys.command()
@click.pass_obj
def init(wiring: Wiring) -> None:
    """Make the key ring and an empty vault; refuse if there is either."""
    from keyserver.vault import Vault

    home = wiring.home
    if home.keys_path.exists():
        raise ConflictError(
            f"there is a vault at {home.keys_path}", hint="its keys open tracks: keep it"
        )
    for name in RING_SECRETS:
        home.keyring.secret(name)
    Vault.create(home.keys_path, home.keyring.secret("root"))
    print_line(str(home.keys_path))


@keys.command("list")
@click.argument("track", required=False)
@json_option
@click.pass_obj
def list_keys(wiring: Wiring, track: str | None, *, as_json: bool) -> None:
    """List the KIDs of all tracks, or of TRACK: tier, scheme, period and date; never a key."""
    vault = _open_existing(wiring.home)
    try:
        table = Table(
            ("key", 36), ("tier", 8), ("scheme", 6), ("period", -6), ("made", 16), ("track", 0)
        )
        is_empty = True
        for row in vault.stored(track):
            is_empty = False
            if as_json:
                print_json(_described(row))
            else:
                table.print_row(*_words(row))
        if track and is_empty:
            raise NotFoundError(f"there is no key for {track}", hint="is it a track id?")
    finally:
        vault.close()


@keys.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--track", help="Look for this track's keys only.")
@json_option
@click.pass_obj
def doctor(wiring: Wiring, files: tuple[Path, ...], track: str | None, *, as_json: bool) -> None:
    """Check every key in the vault, and that none of them stands in FILES.

    FILES are logs, dumps, reports, media or whole folders; keys are looked for as bytes, as
    hexadecimal, base64 and base64url, in UTF-8 and UTF-16.
    """
    from keyserver.doctor import check_ring, check_vault, find_keys

    home = wiring.home
    vault = _open_existing(home)
    try:
        count, findings = check_vault(vault, track)
        findings += check_ring(home.path / "keyring.json", home.keys_path)
        scanned, leaks = find_keys(vault, files, track)
        findings += leaks
    finally:
        vault.close()
    for finding in findings:
        if as_json:
            print_json({"check": finding.check, "where": finding.where})
        else:
            print_line(f"{finding.check}: {finding.where}")
    print_note(f"{count} keys, {scanned} files, {len(findings)} findings")
    if findings:
        raise IntegrityError(
            f"{len(findings)} findings", hint="a key that leaked must be replaced: re-package"
        )


@keys.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
@click.pass_obj
def systems(wiring: Wiring, names: tuple[str, ...], *, as_json: bool) -> None:
    """Print the DRM systems that keys are signalled for, or choose NAMES.

    clearkey, fairplay, widevine, playready. What is published keeps its signals; `keys rotate`, or
    ingesting the master again, gives it the new ones.
    """
    vault = open_vault(wiring.home) if names else _open_existing(wiring.home)
    try:
        if names:
            vault.choose_systems(names)
        chosen = vault.systems()
    finally:
        vault.close()
    if as_json:
        print_json({"systems": chosen})
        return
    for name in chosen:
        print_line(name)


@keys.command()
@click.option("--track", "track_id", metavar="ID", required=True, help="The track to re-encrypt.")
@click.option(
    "--license-base",
    metavar="URL",
    default="",
    help="Public base of the key server, for manifests in the bucket.",
)
@json_option
@click.pass_obj
def rotate(wiring: Wiring, track_id: str, *, license_base: str, as_json: bool) -> None:
    """Encrypt a published track with new keys, as a new generation.

    Nothing is encoded again, and an unchanged master stays unchanged. Who has begun to play the
    generation before plays on, and its keys are licensed until it is removed. Each run that ends
    well is one rotation; one that was killed is finished by the next.
    """
    done = wiring.rotate(track_id, license_base=license_base.rstrip("/"))
    if as_json:
        fields = {
            "track_id": done.track_id,
            "generation": done.generation,
            "previous": done.previous,
            "period": done.period,
            "kids": [str(kid) for kid in done.kids],
        }
        print_json(fields)
        return
    print_columns(done.track_id, done.generation, f"period {done.period}", f"{len(done.kids)} keys")


@keys.command()
@click.pass_obj
def rewrap(wiring: Wiring) -> None:
    """Seal all content keys with a new key-encryption key; tracks play on unchanged."""
    vault = _open_existing(wiring.home)
    try:
        moved = 0
        for count in vault.rewrap():
            moved += count
            print_note(f"{moved} keys")
        print_line(str(moved))
    finally:
        vault.close()


def open_vault(home: Home) -> "Vault":
    """The vault in *home*, which is made if there is none."""
    from keyserver.vault import Vault

    ring = home.keyring
    return Vault.open(home.keys_path, ring.secret("root"), ring.secret("kid"))


def _open_existing(home: Home) -> "Vault":
    if not home.keys_path.exists():
        raise NotFoundError(
            f"there is no vault at {home.keys_path}", hint="tonearm keys init, or check --home"
        )
    return open_vault(home)


def _described(row: "StoredKey") -> dict[str, str | int]:
    return {
        "kid": str(row.kid),
        "track_id": row.track_id,
        "tier": row.tier,
        "scheme": row.scheme,
        "period": row.period,
        "kek_version": row.kek_version,
        "created": datetime.fromtimestamp(row.created_s, UTC).isoformat(),
    }


def _words(row: "StoredKey") -> tuple[str, ...]:
    """The same for people, in the order of the table."""
    created = datetime.fromtimestamp(row.created_s, UTC).strftime("%Y-%m-%d %H:%M")
    return str(row.kid), row.tier, row.scheme, str(row.period), created, row.track_id
