"""What the origin is made of: handed in by whoever composes it, never looked up."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from core.catalogue import Catalogue
from core.grants import UrlSigner
from core.model import PathwayChooser
from core.state.protocol import StateStore
from core.storage.protocol import ObjectStore

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the origin keeps in memory, in bytes."""

    segment_cache_size: int = 256 * MIB
    manifest_cache_size: int = 32 * MIB
    presentation_cache_size: int = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin's collaborators and choices; secrets stay out of `repr`.

    Attributes:
        license_base: Public base URL of the key server; empty if every pathway serves it too.
        base_pathway: The pathway id that manifests declare for the host they came from.
        steering: Whether manifests name a content steering server.
        clock: Seconds since the epoch.
        new_id: A fresh session id, not to be guessed.
    """

    store: ObjectStore
    catalogue: Catalogue
    state: StateStore
    url_signer: UrlSigner
    playback_secret: bytes = field(repr=False)
    user_secret: bytes = field(repr=False)
    chooser: PathwayChooser
    clock: Callable[[], float]
    new_id: Callable[[], str]
    license_base: str = ""
    base_pathway: str = "base"
    steering: bool = True
    limits: Limits = Limits()


ORIGIN = web.AppKey("origin", Origin)
