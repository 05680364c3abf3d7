"""What commands print with ``--json``: one object a line, fields named as in the HTTP API."""

import json
import re
from collections.abc import Mapping
from typing import Any

_WORD_BREAK = re.compile(r"_([a-z0-9])")


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
