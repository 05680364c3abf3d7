"""The composition root: options and environment in, components wired, errors to exit codes."""

import gc
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import InvalidInputError, ToolkitError
from core.home import Home

if TYPE_CHECKING:  # slow to import: for the type checker alone
    from aiohttp.web import Application

    from core.catalogue import Catalogue
    from core.model import PathwayChooser
    from core.serving import ServeOptions
    from core.state import StateStore
    from core.storage import ObjectStore
    from packager.keysource import KeySource

COMMANDS = {
    "album": "ingest.published.album_commands:album",
    "demo": "origin.demo.commands:demo",
    "ingest": "ingest.run.commands:ingest",
    "inspect": "packager.folder.commands:inspect",
    "keys": "keyserver.commands:keys ingest.published.rekey_commands:rotate",
    "package": "packager.folder.commands:package",
    "router": "cdn_router.commands:router",
    "serve": "core.serving:serve",
    "sign": "origin.commands:sign",
    "tier": "ingest.published.tier_commands:tier",
    "token": "origin.commands:token",
    "track": "origin.commands:track packager.folder.commands:verify",
}
"""Where each command lives, and what others add to a group; imported late: help is quick."""
ROLES = {"router": "cdn_router", "keyserver": "keyserver", "origin": "origin"}  # of `serve`


@dataclass(frozen=True, slots=True)
class Wiring:
    """What commands are handed (`click.pass_obj`): the home, and parts made on demand."""

    home: Home
    urls: dict[str, str | None]

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

    def store(self, url: str | None = None) -> "ObjectStore":
        """The hot store (*url*, or as configured) in front of the cold one."""
        from core.storage import TieredStore, open_store

        hot = open_store(url or self.urls["store"] or self.home.hot_url, credentials=os.environ)
        cold = open_store(self.urls["cold_store"] or self.home.cold_url, credentials=os.environ)
        return TieredStore(hot, cold, scratch=self.home.work_dir)

    def key_source(self, url: str | None = None) -> "KeySource":
        """The key server at *url*, or as configured; else the vault in the home."""
        self.home.create()
        ring, url = self.home.keyring, url or self.urls["key_source"]
        if url:
            from packager.keysource_http import HttpKeySource

            return HttpKeySource(url, ring.secret("operator"))
        from keyserver.vault import Vault

        return Vault.open(self.home.keys_path, ring.secret("root"), ring.secret("kid"))

    def setup_role(self, role: str, app: "Application", options: "ServeOptions") -> None:
        """Add *role* to *app*; the router comes first, because the origin asks it."""
        import_module(f"{ROLES[role]}.commands").setup_role(app, self, options)

    def chooser(self, app: "Application", options: "ServeOptions") -> "PathwayChooser":
        """The router of this process if it plays that role, else the one on the network."""
        from cdn_router.commands import make_chooser

        return make_chooser(app, self, options)


class _LazyGroup(click.Group):
    """Imports a command's module when the command is used, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        names = (where.partition(":") for where in COMMANDS.get(cmd_name, "").split())
        found: list[click.Group] = [getattr(import_module(m), name) for m, _, name in names]
        for added in found[1:]:
            found[0].add_command(added)
        return found[0] if found else None


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if not (file := path or Path("tonearm.toml")).exists() and path is None:
        return
    try:
        ctx.default_map = import_module("tomllib").loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"cannot read {file}: {error}", hint="it must be TOML") from None


@click.group(cls=_LazyGroup, context_settings={"auto_envvar_prefix": "TONEARM"})
@click.version_option(package_name="tonearm")
@click.option("--config", type=Path, callback=_read_config, is_eager=True, help="Defaults, TOML.")
@click.option("--home", type=Path, default="tonearm-data", show_default=True, help="State folder.")
@click.option("--store", metavar="URL", help="Hot object store [in the home].")
@click.option("--cold-store", metavar="URL", help="Cold object store [in the home].")
@click.option("--key-source", metavar="URL", help="Key server [the home's vault].")
@click.pass_context
def cli(ctx: click.Context, /, home: Path, **urls: str | None) -> None:
    """Turn music masters into encrypted adaptive streams, and serve them."""
    ctx.obj = Wiring(Home(home.absolute()), urls)


def main() -> None:
    """Run the command line; errors become one line, a hint and an exit code."""
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except ToolkitError as error:
        click.secho(f"error: {error.message}", fg="red", err=True)
        click.echo(f"hint: {error.hint}\n" if error.hint else "", nl=False, err=True)
        code = 1
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = 130
    gc.freeze()  # everything is about to go: a last search for cycles takes 10 ms
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
