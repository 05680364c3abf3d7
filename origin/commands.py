"""The origin's commands and its part in `tonearm serve`."""

import time
from typing import TYPE_CHECKING, Protocol

from core.home import Home
from ingest.published.track_commands import track
from origin.token_commands import sign, signer_of, token

if TYPE_CHECKING:  # slow to import, and help must be quick
    from collections.abc import AsyncIterator

    from aiohttp import web

    from core.catalogue import Catalogue
    from core.model import PathwayChooser
    from core.serving import ServeOptions
    from core.state.protocol import StateStore
    from core.storage.protocol import ObjectStore

__all__ = ["setup_role", "sign", "token", "track"]


class Wiring(Protocol):
    """The part of the command line's wiring that the origin needs."""

    @property
    def home(self) -> Home:
        """Where everything is kept."""
        ...

    def catalogue(self) -> "Catalogue":
        """The catalogue below the home."""
        ...

    def state(self) -> "StateStore":
        """Sessions and idempotency records."""
        ...

    def store(self, url: str | None = None) -> "ObjectStore":
        """Hot and cold store."""
        ...

    def chooser(self, app: "web.Application", options: "ServeOptions") -> "PathwayChooser":
        """Who decides where sessions start."""
        ...


def setup_role(app: "web.Application", wiring: Wiring, options: "ServeOptions") -> None:
    """Make *app* an origin; what is opened here is closed with it."""
    from uuid import uuid4

    from origin.app import Origin, setup

    ring = wiring.home.keyring
    origin = Origin(
        store=wiring.store(),
        catalogue=wiring.catalogue(),
        state=wiring.state(),
        url_signer=signer_of(ring),
        playback_secret=ring.secret("playback"),
        user_secret=ring.secret("user"),
        chooser=wiring.chooser(app, options),
        clock=time.time,
        new_id=lambda: uuid4().hex,
        license_base=options.license_base,
        # with one pathway there is nothing to steer to
        steering=len(options.pathways) > 1,
    )

    async def resources(_: "web.Application") -> "AsyncIterator[None]":
        yield
        await origin.store.aclose()
        await origin.state.aclose()
        origin.catalogue.close()

    app.cleanup_ctx.append(resources)
    setup(app, origin)
