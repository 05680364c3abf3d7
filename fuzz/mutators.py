"""Changes that keep the outer form: sizes of boxes stay true, JSON stays JSON.

Blind changes seldom get behind the first check; these do. Half of all inputs are changed so, the
rest blindly, because outer forms must be attacked as well.
"""

import json
import random
from collections.abc import Callable
from typing import Any

from packager.mp4.grammar import box

Mutate = Callable[[bytes, int], bytes]
"""The fuzzer's own blind change of bytes, to at most so many."""

_CONTAINERS = frozenset(b"moov trak edts mdia minf stbl udta ludt mvex moof traf sinf schi".split())
_HEADERS = {b"stsd": 8, b"mp4a": 28, b"Opus": 28, b"fLaC": 28, b"alac": 28, b"enca": 28}
"""Boxes with fields, of so many bytes, before the boxes inside."""
_VALUES = (0, 1, -1, 1 << 31, 1 << 32, 1 << 63, 1 << 64, 10**400, 1e308, 0.5, True, None, "", [])


def boxes(data: bytes, limit: int, seed: int, mutate: Mutate, *, skip: int = 0) -> bytes:
    """Change, drop, double or move one box at any depth; *skip* bytes lead and stay."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return mutate(data, limit)
    return (data[:skip] + _mutated(data[skip:], chance, mutate))[:limit]


def _mutated(data: bytes, chance: random.Random, mutate: Mutate) -> bytes:
    found = _split(data)
    if not found:
        return mutate(data, len(data) + 16)
    at = chance.randrange(len(found))
    fourcc, payload = found[at]
    match chance.randrange(8):
        case 0:
            del found[at]
        case 1:
            found.insert(chance.randrange(len(found) + 1), found[at])
        case 2:
            found.insert(chance.randrange(len(found)), found.pop(at))
        case _:
            head = _HEADERS.get(fourcc, 0)
            inner = payload[head:]
            if (head or fourcc in _CONTAINERS) and chance.random() < 0.9:
                found[at] = (fourcc, payload[:head] + _mutated(inner, chance, mutate))
            else:
                found[at] = (fourcc, mutate(payload, len(payload) + 16))
    return b"".join(box(name, body) for name, body in found)


def _split(data: bytes) -> list[tuple[bytes, bytes]]:
    """Boxes in *data*; empty if it does not consist of them."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if not 8 <= size <= len(data) - at:
            return []
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def tree(data: bytes, limit: int, seed: int, mutate: Mutate) -> bytes:
    """Replace, drop or double one value of a JSON document."""
    chance = random.Random(seed)
    if chance.random() < 0.5:
        return mutate(data, limit)
    try:
        root = [json.loads(data)]
    except (ValueError, RecursionError):
        return mutate(data, limit)
    _change(root, chance)
    return json.dumps(root[0], separators=(",", ":")).encode("utf-8", "replace")[:limit]


def _change(node: Any, chance: random.Random) -> None:
    """Walk down to a random place and change it."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    key = chance.choice(keys)
    value = node[key]
    if isinstance(value, dict | list) and value and chance.random() < 0.9:
        _change(value, chance)
    elif isinstance(value, int | float) and chance.random() < 0.5:
        node[key] = value + chance.choice((-1, 1))
    elif isinstance(node, list) and chance.random() < 0.3:
        node.append(value)
    else:
        node[key] = chance.choice(_VALUES)
