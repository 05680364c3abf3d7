"""`tonearm keys rotate`: here and not beside its siblings, because it packages."""

import time
from typing import TYPE_CHECKING

import click

from core.jsonlines import json_line

if TYPE_CHECKING:  # slow to import, and help must be quick
    from ingest.published.rekey import Wiring


@click.command()
@click.option("--track", "track_id", metavar="ID", required=True, help="The track to re-encrypt.")
@click.option(
    "--license-base",
    metavar="URL",
    default="",
    help="Public base of the key server, for manifests in the bucket.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def rotate(wiring: "Wiring", track_id: str, *, license_base: str, as_json: bool) -> None:
    """Encrypt a published track with new keys, as a new generation.

    Nothing is encoded again, and an unchanged master stays unchanged. Who has begun to play the
    generation before plays on, and its keys are licensed until it is removed. Each run that ends
    well is one rotation; one that was killed is finished by the next.
    """
    from ingest.published.rekey import run

    done = run(track_id, wiring, time.time, license_base=license_base.rstrip("/"))
    if as_json:
        fields = {
            "track_id": done.track_id,
            "generation": done.generation,
            "previous": done.previous,
            "period": done.period,
            "kids": [str(kid) for kid in done.kids],
        }
        click.echo(json_line(fields))
        return
    click.echo(f"{done.track_id}\t{done.generation}\tperiod {done.period}\t{len(done.kids)} keys")
