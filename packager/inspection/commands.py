"""`tonearm inspect`."""

import click

from core.output import Styled, json_option, print_json, print_line


@click.command()
@click.argument("where", metavar="FILE|URL")
@click.option("--all", "everything", is_flag=True, help="Up to 1000 fragments' boxes [2].")
@json_option
@click.pass_context
def inspect(ctx: click.Context, where: str, *, everything: bool, as_json: bool) -> None:
    """Show the boxes, timing, encryption and loudness of any MP4; never a key.

    A file that is broken or cut short is shown as far as it goes, with the places where it breaks,
    and the exit code is 1. Of a URL only the headers are fetched, by range requests.
    """
    from packager.inspection import inspection
    from packager.inspection.media_bytes import open_media
    from packager.inspection.text import lines_of

    shown = inspection.MAX_SHOWN_FRAGMENTS if everything else inspection.SHOWN_FRAGMENTS
    with open_media(where) as (name, source):
        result = inspection.inspect(source, shown_fragments=shown)
    if as_json:
        print_json(inspection.as_json(result, name))
    else:
        print_line(Styled(name, bold=True), f"  {result.size} bytes")
        for parts in lines_of(result, everything=everything):
            print_line(*parts)
    if result.problems:
        ctx.exit(1)
