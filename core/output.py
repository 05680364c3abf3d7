"""Results of the origin's commands on stdout: a line for people, or JSON."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from core.jsonlines import json_line


def json_option(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, one line each.")(
        function
    )


def print_fields(fields: dict[str, Any], *, as_json: bool, line: str) -> None:
    """Print one result: *fields* as JSON, or *line* for people."""
    click.echo(json_line(fields) if as_json else line)


def format_time(at_s: float) -> str:
    """RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(int(at_s), UTC).isoformat().replace("+00:00", "Z")
