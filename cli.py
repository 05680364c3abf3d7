"""The composition root: options and environment in, components wired, errors to exit codes."""

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from core.errors import InvalidInputError, ToolkitError, UnavailableError
from core.home import Home
from core.output import print_error
from core.wiring import Wiring

COMMANDS = {
    "album": "ingest.published.album_commands:album",
    "demo": "origin.demo.commands:demo",
    "ingest": "ingest.run.commands:ingest",
    "inspect": "packager.inspection.commands:inspect",
    "keys": "keyserver.commands:keys",
    "package": "packager.folder.commands:package",
    "router": "cdn_router.commands:router",
    "serve": "core.serving:serve",
    "sign": "origin.commands:sign",
    "tier": "ingest.published.tier_commands:tier",
    "token": "origin.commands:token",
    "track": "ingest.published.track_commands:track",
}
"""Where each command lives; imported late: help is quick."""
MACHINE_HINT = "check disks, permissions, and where the results go"
ROLES = {"router": "cdn_router", "keyserver": "keyserver", "origin": "origin"}  # of `serve`


def wire(
    home: Home,
    *,
    store: str | None = None,
    cold_store: str | None = None,
    key_source: str | None = None,
) -> Wiring:
    """Everything that commands may want of *home*; it is imported and opened when it is asked for.

    Args:
        home: Where state lies.
        store: URL of the hot store; in the home by default, as the next two.
        cold_store: URL of the cold one.
        key_source: URL of the key server.
    """

    def late(module: str, name: str) -> Callable[..., Any]:
        def call(*args: object) -> object:
            return getattr(import_module(module), name)(*args)

        return call

    return Wiring(
        home=home,
        store_url=store,
        cold_store_url=cold_store,
        key_source_url=key_source,
        environment=os.environ,
        open_vault=late("keyserver.commands", "open_vault"),
        roles={role: late(f"{where}.commands", "setup_role") for role, where in ROLES.items()},
        make_chooser=late("cdn_router.commands", "make_chooser"),
        rotate_keys=late("ingest.published.commands", "rotate_keys"),
    )


class _LazyGroup(click.Group):
    """Imports a command's module when the command is used, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module, _, name = COMMANDS.get(cmd_name, "").partition(":")
        return getattr(import_module(module), name) if module else None


def _read_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    if not (file := path or Path("tonearm.toml")).exists() and path is None:
        return
    try:
        ctx.default_map = import_module("tomllib").loads(file.read_text())
    except OSError as error:
        raise InvalidInputError(
            f"cannot read {file}: {error.strerror}", hint="check the path and its permissions"
        ) from None
    except ValueError as error:
        hint = "write options as TOML; docs/ingest.md has an example"
        raise InvalidInputError(f"{file} is not TOML: {error}", hint=hint) from None


@click.group(cls=_LazyGroup, context_settings={"auto_envvar_prefix": "TONEARM"})
@click.version_option(package_name="tonearm")
@click.option(
    "--config",
    type=Path,
    callback=_read_config,
    is_eager=True,
    expose_value=False,
    help="Defaults, TOML.",
)
@click.option("--home", type=Path, default="tonearm-data", show_default=True, help="State folder.")
@click.option("--store", metavar="URL", help="Hot object store [in the home].")
@click.option("--cold-store", metavar="URL", help="Cold object store [in the home].")
@click.option("--key-source", metavar="URL", help="Key server [the home's vault].")
@click.pass_context
def cli(ctx: click.Context, /, home: Path, **urls: str | None) -> None:
    """Turn music masters into encrypted adaptive streams, and serve them."""
    ctx.color = False if os.environ.get("NO_COLOR") else None  # no-color.org; None: a terminal's
    ctx.obj = wire(Home(home.absolute()), **urls)


def _of_usage(error: click.ClickException) -> InvalidInputError:
    """What click refused, as all else that is refused is told."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "tonearm"
    # click breaks lines in its own sentences only; what a user gave is escaped when it is printed
    message = " ".join(error.format_message().split()).removesuffix(".")
    return InvalidInputError(message, hint=f"see: {command} --help")


def _tell(error: OSError) -> int:
    """Say what the system refused, unless it was to take what `head` wants no more of."""
    # what is still buffered for it would be refused once more when Python ends
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        place = f"{error.filename}: " if error.filename else ""
        reason = UnavailableError(f"{place}{error.strerror}", hint=MACHINE_HINT)
        print_error(reason)
    return 1


def main() -> None:
    """Run the command line; errors become one line, a hint and an exit code."""
    try:
        code = cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        print_error(_of_usage(error))
        code = error.exit_code
    except ToolkitError as error:
        print_error(error)
        code = 1
    except OSError as error:  # results that nobody reads any more, a disk that is full, ...
        code = _tell(error)
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = 130
    gc.freeze()  # everything is about to go: a last search for cycles takes 10 ms
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
