r"""What commands print: results on stdout, for people or as JSON; errors and notes on stderr.

Names come from files, tags, servers and other people's command lines, and a terminal obeys what is
in them: an escape sequence recolours it, retitles it or moves its cursor, a bidi override shows
another name than there is. So everything that is printed passes `escaped` here: text is safe unless
somebody goes round this module. What is coloured is coloured by us, as a `Styled` part of a line.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from core.errors import ToolkitError

NOTHING = "-"
"""What people read where there is no value."""

# C0 with newline and tab, DEL, C1; marks and overrides of direction, line and paragraph separators,
# byte order mark; surrogates, which stand for the bytes of a file name that is no UTF-8
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_WORD_BREAK = re.compile(r"_([a-z0-9])")


@dataclass(frozen=True, slots=True)
class Styled:
    """A part of a line in a colour (as click names them), bold or dim, where colours are wanted."""

    text: str
    colour: str | None = None
    bold: bool = False
    dim: bool = False


def json_option(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, one line each.")(
        function
    )


def print_json(fields: Mapping[str, Any], *, indent: int | None = None) -> None:
    """Print *fields* as one JSON object; names are turned to camelCase, at every depth."""
    click.echo(_json_text(fields, indent))


def print_line(*parts: str | Styled) -> None:
    """Print one line, of these parts, as a result."""
    click.echo("".join(map(_part, parts)))


def print_columns(*cells: str) -> None:
    """Print one line of a list: cells between tabs, for people and `cut` alike."""
    click.echo("\t".join(map(escaped, cells)))


def print_fields(fields: Mapping[str, str]) -> None:
    """Print one thing: a line for each of its fields, behind its name."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print_line(f"{name:<{width}}  {value}")


class Table:
    """Rows under headings, printed as they come, so that a long list begins at once.

    Args:
        columns: Heading and least width of each; what is aligned to the right has a negative one.
    """

    def __init__(self, *columns: tuple[str, int]) -> None:
        self._columns = columns
        self._begun = False

    def print_row(self, *cells: str) -> None:
        """Print one row; before the first one, the headings."""
        if not self._begun:
            self._begun = True
            self._print([heading for heading, _ in self._columns])
        self._print([escaped(cell) for cell in cells])

    def _print(self, cells: list[str]) -> None:
        aligned = [
            cell.rjust(-width) if width < 0 else cell.ljust(width)
            for cell, (_, width) in zip(cells, self._columns, strict=True)
        ]
        click.echo("  ".join(aligned).rstrip())


def print_note(text: str) -> None:
    """Tell people something that is no result."""
    click.echo(escaped(text), err=True)


def print_error(error: ToolkitError, about: str | None = None) -> None:
    """Print what went wrong, with what it is about, and what to do."""
    first, *rest = error_lines(error.message, error.hint, about)
    click.secho(first, fg="red", err=True)
    for line in rest:
        click.echo(line, err=True)


def error_lines(message: str, hint: str | None, about: str | None = None) -> list[str]:
    """What `print_error` prints, for who draws on the terminal in a way of its own."""
    subject = f"{about}: " if about else ""
    lines = [f"error: {subject}{message}"] + [f"hint: {hint}"] * bool(hint)
    return [escaped(line) for line in lines]


def escaped(text: str) -> str:
    r"""*text* as a terminal may be sent it: what it would obey is spelt, as ``\x1b``."""
    return _UNSAFE.sub(_spelt, text)


def format_time(at_s: float) -> str:
    """RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(int(at_s), UTC).isoformat().replace("+00:00", "Z")


def format_length(seconds: float) -> str:
    """Minutes and seconds, as ``03:41``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:02}:{rest:02}"


def format_size(size: int) -> str:
    """Bytes as megabytes of a million."""
    return f"{size / 1e6:.2f} MB"


def format_number(value: float | None, unit: str) -> str:
    """With one decimal and its unit; `NOTHING` if it was not measured."""
    return NOTHING if value is None else f"{value:.1f} {unit}"


def _part(part: str | Styled) -> str:
    if isinstance(part, str):
        return escaped(part)
    # None leaves a style alone, False would end one that was never begun
    return click.style(
        escaped(part.text), fg=part.colour, bold=part.bold or None, dim=part.dim or None
    )


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte as PEP 383 keeps it
        return f"\\x{code - 0xDC00:02x}"
    return ascii(match[0])[1:-1]


def _json_text(fields: Mapping[str, Any], indent: int | None) -> str:
    text = json.dumps(_renamed(fields), default=str, ensure_ascii=False, indent=indent)
    if indent is None:  # all that is unsafe stands inside of strings
        return _UNSAFE.sub(_json_escape, text)
    return "\n".join(_UNSAFE.sub(_json_escape, line) for line in text.split("\n"))


def _json_escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _renamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_camel_case(str(name)): _renamed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item) for item in value]
    return value


def _camel_case(name: str) -> str:
    return _WORD_BREAK.sub(lambda match: match[1].upper(), name)
