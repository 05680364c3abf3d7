"""A routing table as bytes, for the state store: shared by workers, restored at start."""

import json
import math
import zlib
from collections.abc import Iterable
from typing import Any

from cdn_router.belief import BUCKETS, Breaker, BreakerState, Cell, Tally
from cdn_router.scoring import Lead, Table

MAX_SIZE = 1 << 20
"""Bytes of a table when it is no longer compressed."""


def dump(table: Table) -> bytes:
    """The table as compressed JSON."""
    text = json.dumps(
        {
            "decided_s": table.epoch * table.epoch_s,
            "offsets": {region: round(y, 4) for region, y in table.offsets.items()},
            "cells": [[*key, _pack(cell)] for key, cell in table.cells.items()],
            "leads": {region: _pack_lead(lead) for region, lead in table.leads.items()},
        },
        separators=(",", ":"),
    )
    return zlib.compress(text.encode(), level=1)


def load(data: bytes, like: Table) -> Table:
    """What `dump` wrote, with the pathways, home region and epochs of *like*.

    Raises:
        ValueError: The bytes are not a table.
    """
    pathways = like.pathways
    table = Table(pathways, like.home, like.epoch_s)
    try:
        raw = json.loads(zlib.decompressobj().decompress(data, MAX_SIZE))
        table.epoch = round(float(raw["decided_s"]) / like.epoch_s)
        table.offsets = {str(region): float(y) for region, y in raw["offsets"].items()}
        table.cells = {
            (str(region), str(pathway)): _unpack(cell)
            for region, pathway, cell in raw["cells"]
            if pathway in pathways
        }
        for region, lead in raw["leads"].items():
            table.leads[region] = _unpack_lead(lead, pathways)
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError, zlib.error) as error:
        raise ValueError(f"not a routing table: {error}") from None
    return table


def _pack(cell: Cell) -> list[Any]:
    tallies = [
        [round(x, 5) for x in (t.n, t.sum_y, t.sum_yy, t.attempts, t.errors)]
        for t in (cell.probe, cell.excursion, *cell.listeners)
    ]
    b = cell.breaker
    return [
        tallies, [b.state.value, b.since_s, b.good, b.trips],
        cell.srtt_ms, cell.rttvar_ms, cell.rising, cell.falling,
        _finite(cell.worse_s), _finite(cell.heard_s), cell.misses, cell.at_s,
    ]  # fmt: skip


def _unpack(raw: list[Any]) -> Cell:
    tallies, (state, since_s, good, trips), srtt, rttvar, rising, falling, *times = raw
    worse, heard, misses, at_s = times
    probe, excursion, *listeners = (Tally(*map(float, sums)) for sums in tallies)
    if len(listeners) != BUCKETS:
        raise ValueError("not a routing table: wrong number of buckets")
    return Cell(
        probe, listeners, Breaker(BreakerState(state), float(since_s), int(good), int(trips)),
        None if srtt is None else float(srtt), float(rttvar),
        excursion, float(rising), float(falling),
        _infinite(worse), _infinite(heard), int(misses), float(at_s),
    )  # fmt: skip


def _pack_lead(lead: Lead) -> list[Any]:
    return [lead.order, lead.reason, lead.cause, _finite(lead.changed_s), lead.former]


def _unpack_lead(raw: list[Any], pathways: tuple[str, ...]) -> Lead:
    order, reason, cause, changed_s, former = raw
    return Lead(
        _known(order, pathways),
        str(reason),
        str(cause),
        _infinite(changed_s),
        None if former is None else _known(former, pathways),
    )


def _known(order: Iterable[str], pathways: tuple[str, ...]) -> tuple[str, ...]:
    """*order* without pathways that are gone and with those that are new at its end."""
    kept = [p for p in order if p in pathways]
    return (*kept, *(p for p in pathways if p not in kept))


def _finite(at_s: float) -> float | None:
    """JSON has no infinity; None is never."""
    return at_s if math.isfinite(at_s) else None


def _infinite(at_s: float | None) -> float:
    return -math.inf if at_s is None else float(at_s)
