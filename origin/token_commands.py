"""`tonearm sign` and `tonearm token`: what opens a URL, and who listens."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from core.errors import InvalidInputError, ToolkitError
from core.grants import (
    DEVICES,
    MAX_DEVICES,
    URL_TTL_S,
    USER_TTL_S,
    PlaybackGrant,
    UrlGrant,
    UrlSigner,
    User,
    open_playback,
    open_user,
    sign_user,
)
from core.ids import EVERYWHERE, URL_KEY_ID
from core.keyring import KeyRing
from core.model import Tier
from core.output import format_time, json_option, print_fields, print_json, print_line
from core.wiring import Wiring


def signer_of(ring: KeyRing) -> UrlSigner:
    """The home's signer of URLs."""
    return UrlSigner({URL_KEY_ID: ring.secret("url-token")}, active=URL_KEY_ID)


def _native(ring: KeyRing, grant: UrlGrant, path: str) -> str:
    return f"/{signer_of(ring).sign(grant)}{path}"


DIALECTS: dict[str, Callable[[KeyRing, UrlGrant, str], str]] = {"native": _native}
"""From a dialect's name to what signs a path in it."""


@click.command()
@click.argument("path")
@click.option(
    "--dialect",
    type=click.Choice(list(DIALECTS)),
    default="native",
    show_default=True,
    help="Whose signature: what the edge validates.",
)
@click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(1, USER_TTL_S),
    default=URL_TTL_S,
    show_default=True,
    help="Seconds until the URL expires.",
)
@click.option(
    "--tier",
    type=click.Choice([tier.value for tier in Tier]),
    help="The best tier it opens [the manifest's own, else lossless].",
)
@json_option
@click.pass_obj
def sign(  # noqa: PLR0913  one argument per option is click's way
    wiring: Wiring, path: str, *, dialect: str, ttl_s: int, tier: str | None, as_json: bool
) -> None:
    """Sign PATH, such as /m/TRACK/GENERATION/ww/cbcs/high.m3u8."""
    from packager.manifest.places import parse

    try:
        media = parse(path)
        named = media.parse_file().tier
    except ToolkitError:
        media = None
    if media is None or media.token:
        raise InvalidInputError(
            f"{path} is not a media path", hint="use /m/TRACK/GENERATION/REGION/DRM/FILE"
        )
    expires_s = int(time.time()) + ttl_s
    grant = UrlGrant(
        media.track_id, Tier(tier or named or Tier.LOSSLESS), media.region, "signed", expires_s
    )
    signed = DIALECTS[dialect](wiring.home.keyring, grant, path)
    if as_json:
        print_json({"path": signed, "expiresAt": format_time(expires_s)})
    else:
        print_line(signed)


@click.group()
def token() -> None:
    """Make and read tokens for development."""


@token.command()
@click.option("--subject", default="dev", show_default=True, help="The listener's id.")
@click.option(
    "--tier",
    type=click.Choice([tier.value for tier in Tier]),
    default=Tier.HIGH.value,
    show_default=True,
    help="The best tier of the listener's plan.",
)
@click.option(
    "--region", default=EVERYWHERE, show_default=True, help="The listener's rights region."
)
@click.option(
    "--devices",
    type=click.IntRange(1, MAX_DEVICES),
    default=DEVICES,
    show_default=True,
    help="How many devices the listener may have.",
)
@click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(1, USER_TTL_S),
    default=3600,
    show_default=True,
    help="Seconds until it expires.",
)
@json_option
@click.pass_obj
def issue(  # noqa: PLR0913  one argument per option is click's way
    wiring: Wiring,
    *,
    subject: str,
    tier: str,
    region: str,
    devices: int,
    ttl_s: int,
    as_json: bool,
) -> None:
    """Make a user token; a real service has its own issuer."""
    secret, now_s = wiring.home.keyring.secret("user"), int(time.time())
    user = User(subject, Tier(tier), region, devices)
    user_token = sign_user(user, secret, now_s=now_s, ttl_s=ttl_s)
    if as_json:
        print_json({"token": user_token, "expiresAt": format_time(now_s + ttl_s)})
    else:
        print_line(user_token)


@token.command("show")
@click.argument("text", metavar="TOKEN")
@json_option
@click.pass_obj
def show_token(wiring: Wiring, text: str, *, as_json: bool) -> None:
    """Say what TOKEN (user, playback or URL; `-` reads it from stdin) allows, if it is ours."""
    text = sys.stdin.readline().strip() if text == "-" else text
    ring, now_s = wiring.home.keyring, time.time()
    readers: dict[str, Callable[[], User | PlaybackGrant | UrlGrant]] = {
        "user": lambda: open_user(text, ring.secret("user"), now_s=now_s),
        "playback": lambda: open_playback(text, ring.secret("playback"), now_s=now_s),
        "url": lambda: signer_of(ring).open(text, now_s=now_s),
    }
    failures = []
    for kind, read in readers.items():
        try:
            fields = {"kind": kind, **asdict(read())}
        except ToolkitError as error:
            failures.append(error)
            continue
        if as_json:
            print_json(fields)
        else:
            print_fields(_words(fields))
        return
    # an expired token is the one thing worth telling apart
    failure = next((e for e in failures if "expired" in e.message), failures[0])
    hint = "give a user, playback or URL token that the key ring of this home signed"
    raise type(failure)(failure.message, hint=hint)


def _words(fields: dict[str, Any]) -> dict[str, str]:
    """What a token says, for people: times as dates, names without their units."""
    return {
        name.removesuffix("_s").replace("_", " "): (
            format_time(value) if name.endswith("_s") else str(value)
        )
        for name, value in fields.items()
    }
