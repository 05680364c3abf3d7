"""The origin's commands and its part in `tonearm serve`."""

import time
from typing import TYPE_CHECKING

from core.wiring import Wiring
from origin.token_commands import sign, signer_of, token

if TYPE_CHECKING:  # slow to import, and help must be quick
    from collections.abc import AsyncIterator

    from aiohttp import web

    from core.wiring import ServeOptions

__all__ = ["setup_role", "sign", "token"]


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
