"""Logs that machines read and that quote nobody; metrics of one server alone."""

import datetime as dt
import io
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from core.telemetry import LATENCY_BUCKETS_S, Metrics, open_log


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def log():
    stream = io.StringIO()
    logger = open_log("test", stream)
    logger.read = lambda: lines(stream)
    return logger


def test_a_line_is_an_object_with_time_level_event_and_fields(log):
    log.info("serving", extra={"fields": {"port": 8080, "host": "::1"}})

    [line] = log.read()
    assert (line["level"], line["event"], line["port"], line["host"]) == (
        "info", "serving", 8080, "::1",
    )  # fmt: skip
    assert dt.datetime.strptime(line["at"], "%Y-%m-%dT%H:%M:%S%z").tzinfo


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3))
def test_whatever_is_logged_is_one_line_of_json(event, fields):
    stream = io.StringIO()
    open_log("test", stream).warning("%s", event, extra={"fields": fields})

    assert stream.getvalue().endswith("\n")
    assert stream.getvalue().count("\n") == 1
    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in fields} == fields
    assert fields.keys() & {"event"} or line["event"] == event


def test_an_exception_is_named_and_placed_but_never_quoted(log):
    secret = "Bearer c2VjcmV0"
    try:
        int(secret)
    except ValueError:
        log.exception("request failed")

    [line] = log.read()
    assert line["error"] == "ValueError"
    assert line["where"].startswith(__file__)
    assert "c2VjcmV0" not in json.dumps(line)


def test_the_place_is_where_it_was_raised_not_where_it_was_caught(log):
    def inner():
        raise KeyError("x")

    try:
        inner()
    except KeyError:
        log.exception("failed")

    [line] = log.read()
    assert line["where"] == f"{__file__}:{inner.__code__.co_firstlineno + 1}"


def test_what_json_does_not_know_is_written_as_text(log):
    log.info("x", extra={"fields": {"at_s": dt.timedelta(seconds=2), "b": b"\xff"}})

    [line] = log.read()
    assert (line["at_s"], line["b"]) == ("0:00:02", "b'\\xff'")


def test_what_was_not_meant_to_be_said_is_not(log):
    log.debug("details")
    log.info("said", extra={"password": "hush"})

    [line] = log.read()
    assert line.keys() == {"at", "level", "event"}


def test_a_logger_is_a_value_and_writes_in_one_place(capsys):
    stream = io.StringIO()
    one, other = open_log("same", stream), open_log("same")
    one.info("here")

    assert one is not other
    assert one is not logging.getLogger("same")
    assert one.parent is None
    assert [line["event"] for line in lines(stream)] == ["here"]
    assert capsys.readouterr() == ("", "")


def test_without_a_stream_it_is_stderr(capsys):
    open_log("test").error("loud")

    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "loud"
    assert sys.stderr is not None


def test_two_servers_of_one_process_do_not_mix():
    one, other = Metrics.create(), Metrics.create()
    one.requests.labels("/v1/x", "GET", "200").inc()
    one.latency_s.labels("/v1/x").observe(0.25)

    assert b'http_requests_total{method="GET",route="/v1/x",status="200"} 1.0' in (
        generate_latest(one.registry)
    )
    assert b"/v1/x" not in generate_latest(other.registry)


@pytest.mark.parametrize("objective_s", [0.3, 0.8, 1.2])
def test_an_objective_is_a_border_of_the_latencies(objective_s):
    assert objective_s in LATENCY_BUCKETS_S
    assert list(LATENCY_BUCKETS_S) == sorted(set(LATENCY_BUCKETS_S))
