"""What other components' commands do to published tracks, by way of the wiring."""

import asyncio
import contextlib
import time

from core.model import KeyRotation
from core.wiring import Wiring


def rotate_keys(wiring: Wiring, track_id: str, license_base: str) -> KeyRotation:
    """`rekey.rotate` with the parts of this home; see there for errors."""
    from ingest.published.rekey import Rekeying, rotate

    async def rotate_once() -> KeyRotation:
        with contextlib.closing(wiring.catalogue()) as catalogue:
            store = wiring.store()
            try:
                parts = Rekeying(
                    store=store,
                    catalogue=catalogue,
                    key_source=wiring.key_source(),
                    work_dir=wiring.home.work_dir,
                    clock=time.time,
                    license_base=license_base,
                )
                return await rotate(track_id, parts)
            finally:
                await store.aclose()

    return asyncio.run(rotate_once())
