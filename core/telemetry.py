"""Structured logs and metrics, passed in as values; no globals."""

import json
import logging
import sys
from dataclasses import dataclass
from typing import TextIO

from prometheus_client import CollectorRegistry, Counter, Histogram

LATENCY_BUCKETS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 3.0, 10.0)
"""The borders hold the objectives: 300 ms for play/start, 800 ms and 1.2 s to first audio."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The numbers every server keeps; components add their own to `registry`."""

    registry: CollectorRegistry
    requests: Counter
    latency_s: Histogram

    @classmethod
    def create(cls) -> "Metrics":
        """A registry of its own, so that two servers in one process do not mix."""
        registry = CollectorRegistry()
        return cls(
            registry,
            Counter(
                "http_requests", "Requests answered", ["route", "method", "status"],
                registry=registry,
            ),
            Histogram(
                "http_request_duration_seconds", "Time until the answer was ready", ["route"],
                registry=registry, buckets=LATENCY_BUCKETS_S,
            ),
        )  # fmt: skip


class JsonFormatter(logging.Formatter):
    """One JSON object a line; only fields that the caller named are written."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            # the type and place, never the text: it may quote a request
            kind, _, trace = record.exc_info
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            line["error"] = kind.__name__ if kind else "?"
            if trace is not None:
                line["where"] = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        return json.dumps(line, default=str)


def open_log(name: str, stream: TextIO | None = None) -> logging.Logger:
    """A logger that writes JSON lines to *stream* (stderr) and nowhere else."""
    logger = logging.Logger(name, logging.INFO)  # noqa: LOG001  a value, not a global by name
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    return logger
