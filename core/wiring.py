"""What commands are handed (`click.pass_obj`): the home, and parts made on demand.

Made by the composition root. What lies in a component (the vault, the roles of `serve`, a rotation
of keys) is handed in as a function, because nothing here may import it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.home import Home
from core.model import KeyRotation, Pathway, PathwayChooser

if TYPE_CHECKING:  # slow to import, and help must be quick
    from aiohttp import web

    from core.catalogue import Catalogue
    from core.keysource import KeySource
    from core.state import StateStore
    from core.storage import TieredStore

    SetupRole = Callable[[web.Application, "Wiring", "ServeOptions"], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """What the roles of one process are told.

    Attributes:
        pathways: The CDNs, in the operator's order of preference.
        region: The region label of what this router measures itself.
        public_url: Where players reach this process: scheme, host and port.
        license_base: Public base of the key server; `public_url` unless it is another process.
        router_url: The router to ask; None when it is this process.
        steering_ttl_s: How long players keep a steering answer; None for the router's own choice,
            as for the next two.
        probe_interval_s: Between two probes of a pathway.
        routing_epoch_s: In which the order of pathways changes at most once.
    """

    roles: tuple[str, ...]
    pathways: tuple[Pathway, ...]
    region: str
    public_url: str
    license_base: str
    router_url: str | None
    steering_ttl_s: int | None
    probe_interval_s: float | None = None
    routing_epoch_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The parts of this process.

    Attributes:
        store_url: The hot store; in the home if there is none.
        cold_store_url: Likewise the cold one.
        key_source_url: The key server; the vault in the home if there is none.
        environment: Where stores find their credentials.
        open_vault: Opens the vault in a home, as a source of keys.
        roles: What adds each role to an application.
        make_chooser: The router of this process if it plays that role, else the one on the network.
        rotate_keys: New keys for a published track: its ID, and the public base of the key server.
    """

    home: Home
    store_url: str | None = None
    cold_store_url: str | None = None
    key_source_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    open_vault: "Callable[[Home], KeySource]"
    roles: "Mapping[str, SetupRole]"
    make_chooser: "Callable[[web.Application, Wiring, ServeOptions], PathwayChooser]"
    rotate_keys: "Callable[[Wiring, str, str], KeyRotation]"

    def catalogue(self) -> "Catalogue":
        """The catalogue below the home."""
        from core.catalogue import Catalogue

        self.home.create()
        return Catalogue.open(self.home.catalogue_url)

    def state(self) -> "StateStore":
        """Short-lived state that the roles on this machine share."""
        from core.state import open_state

        self.home.create()
        return open_state(self.home.state_url)

    def store(self, url: str | None = None) -> "TieredStore":
        """The hot store (*url*, or as configured) in front of the cold one."""
        from core.storage import TieredStore, open_store

        hot = open_store(url or self.store_url or self.home.hot_url, credentials=self.environment)
        cold = open_store(self.cold_store_url or self.home.cold_url, credentials=self.environment)
        return TieredStore(hot, cold, scratch=self.home.work_dir)

    def key_source(self, url: str | None = None) -> "KeySource":
        """The key server at *url*, or as configured; else the vault in the home."""
        self.home.create()
        if not (url := url or self.key_source_url):
            return self.open_vault(self.home)
        from core.keysource_http import HttpKeySource

        return HttpKeySource(url, self.home.keyring.secret("operator"))

    def setup_role(self, role: str, app: "web.Application", options: "ServeOptions") -> None:
        """Add *role* to *app*; the router comes first, because the origin asks it."""
        self.roles[role](app, self, options)

    def chooser(self, app: "web.Application", options: "ServeOptions") -> "PathwayChooser":
        """On which pathway sessions of the origin in *app* start."""
        return self.make_chooser(app, self, options)

    def rotate(self, track_id: str, *, license_base: str) -> "KeyRotation":
        """Encrypt a published track with new keys, as a new generation."""
        return self.rotate_keys(self, track_id, license_base)
