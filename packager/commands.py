"""The packager's commands: `inspect`, `package` and `track verify`."""

import json
import os

import click

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("where", metavar="FILE|URL")
@click.option("--all", "everything", is_flag=True, help="Up to 1000 fragments' boxes [2].")
@JSON
@click.pass_context
def inspect(ctx: click.Context, where: str, *, everything: bool, as_json: bool) -> None:
    """Show the boxes, timing, encryption and loudness of any MP4; never a key.

    A file that is broken or cut short is shown as far as it goes, with the places where it breaks,
    and the exit code is 1. Of a URL only the headers are fetched, by range requests.
    """
    from packager import inspection
    from packager.inspection_text import lines_of
    from packager.media_bytes import open_media

    shown = inspection.MAX_SHOWN_FRAGMENTS if everything else inspection.SHOWN_FRAGMENTS
    with open_media(where) as (name, source):
        found = inspection.inspect(source, shown_fragments=shown)
    if as_json:
        click.echo(json.dumps(inspection.as_json(found, name), ensure_ascii=False))
    else:
        click.echo(f"{click.style(name, bold=True)}  {found.size} bytes", color=_colour())
        for line in lines_of(found, everything=everything):
            click.echo(line, color=_colour())
    if found.problems:
        ctx.exit(1)


def _colour() -> bool | None:
    """None lets click decide by the terminal; see no-color.org."""
    return False if os.environ.get("NO_COLOR") else None
