"""What commands print: results for people or, with ``--json``, one JSON object a line."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

_WORD_BREAK = re.compile(r"_([a-z0-9])")


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


def json_line(fields: Mapping[str, Any]) -> str:
    """*fields* as one line; names are turned to camelCase, at every depth."""
    return json.dumps(_renamed(fields), default=str, ensure_ascii=False)


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_camel_case(str(name)): _renamed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item) for item in value]
    return value


def _camel_case(name: str) -> str:
    return _WORD_BREAK.sub(lambda match: match[1].upper(), name)
