"""What is told of a track: its `report.json`, and the outcome of a run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConflictError
from core.file_state import FileState
from core.model import Codec, Loudness, Rung, Tier
from ingest.encode.ladder import MUSIC
from ingest.encode.toolchain import Toolchain
from ingest.master.containers import Container
from ingest.master.probe import Master, Tags
from ingest.master.quality import Quality
from ingest.measure.meters import Findings
from ingest.run import outcome, report
from ingest.run.outcome import Outcome
from ingest.run.plan import Options, plan

FFMPEG = Toolchain(Path("/opt/secret-place/ffmpeg"), "7.1", "f" * 64, "sse4.2")
MASTER = Master(
    path=Path("/home/somebody/song.mp3"),
    container=Container.MP3,
    codec="mp3",
    sample_rate=44_100,
    channels=2,
    bit_depth=None,
    samples=441_000,
    slack_samples=1152,
    estimated_duration_s=10.0,
    bitrate_bps=128_000,
    pcm_md5=None,
    state=FileState(160_000, 0),
    tags=Tags("Sunday", None, None),
    warnings=("the MP3 does not declare its length: truncation cannot be detected",),
)
PLAN = plan(MASTER, 1, Options(ladder=MUSIC), FFMPEG)
FINDINGS = Findings(
    Loudness(-14.0, 5.0, -10.0, -12.0, None),
    np.linspace(0, 1, 40),
    Quality(441_000, 0.5, 2, (0.0, 0.01), None, 0.0, 0.0, ("clipped", "DC offset")),
    b'{"version":2}',
)


def test_a_report_says_what_came_in_what_was_heard_and_what_is_doubtful():
    document = json.loads(report.track_report(PLAN, FINDINGS, FFMPEG))

    assert document["format"] == 1
    assert document["master"] == {
        "container": "mp3",
        "codec": "mp3",
        "sample_rate": 44_100,
        "channels": 2,
        "bit_depth": None,
        "samples": 441_000,
        "tags": {"title": "Sunday", "artist": None, "isrc": None},
    }
    assert document["ladder"] == "music"
    assert document["warnings"] == [*MASTER.warnings, "clipped", "DC offset"]
    assert any("aac-320k is left out" in note for note in document["notes"])
    assert document["loudness"]["integrated_lufs"] == -14.0
    assert document["quality"]["clip_runs"] == 2
    assert document["toolchain"] == FFMPEG.fingerprint


def test_a_report_names_no_place_of_this_machine_and_no_time():
    text = report.track_report(PLAN, FINDINGS, FFMPEG).decode()
    elsewhere = replace(PLAN, master=replace(MASTER, path=Path("/mnt/other.mp3")))
    moved = replace(FFMPEG, ffmpeg=Path("/usr/bin/ffmpeg"))

    assert "somebody" not in text
    assert "secret-place" not in text
    assert report.track_report(elsewhere, FINDINGS, moved).decode() == text


@given(st.lists(st.floats(0, 10, width=32), max_size=30).map(np.array))
def test_energies_come_back_from_a_report_as_they_were_measured(energies):
    written = report.track_report(PLAN, replace(FINDINGS, energies=energies), FFMPEG)

    assert np.array_equal(report.energies_of(written), energies)


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b'{"energies": 1}', b'{"energies": "A"}', b"\xff"]
)
def test_a_report_without_energies_raises_what_its_reader_expects(data):
    with pytest.raises((ValueError, KeyError, TypeError)):
        report.energies_of(data)


def test_an_outcome_leaves_out_what_is_empty():
    failed = outcome.failed(Path("a.wav"), ConflictError("no", hint="yes"), "a")

    assert failed.as_json() == {
        "path": "a.wav",
        "status": "failed",
        "track_id": "a",
        "error": "no",
        "hint": "yes",
    }
    bare = outcome.failed(Path("a.wav"), ConflictError("no"))
    assert bare.as_json() == {"path": "a.wav", "status": "failed", "error": "no"}


def test_an_outcome_keeps_a_loudness_of_zero_and_drops_no_number_that_means_something():
    told = Outcome(
        path=Path("a.wav"),
        status="published",
        duration_s=1.5,
        loudness=Loudness(0.0, 0.0, None, None, -0.5),
        renditions=("aac-96k",),
    ).as_json()

    assert told["loudness"]["integrated_lufs"] == 0.0
    assert told["loudness"]["momentary_max_lufs"] is None
    assert told["duration_s"] == 1.5
    assert list(told["renditions"]) == ["aac-96k"]


@given(st.text(), st.text())
def test_an_outcome_is_json_whatever_a_file_is_called(name, message):
    told = outcome.failed(Path(name), ConflictError(message)).as_json()

    assert json.loads(json.dumps(told)) == told


def test_a_rung_that_was_finished_before_is_not_called_encoded(sealed):
    presentation, _ = sealed
    rung = Rung(Codec.AAC, 96_000, Tier.LOW)

    fresh = outcome.published(Path("a.wav"), presentation, None, [rung], ["doubtful"])
    resumed = outcome.published(Path("a.wav"), presentation, "0" * 16, [], [])
    again = outcome.unchanged(Path("a.wav"), presentation)

    assert (fresh.encoded, fresh.warnings) == (("aac-96k",), ("doubtful",))
    assert (resumed.encoded, resumed.previous) == ((), "0" * 16)
    assert again.status == "unchanged"
    assert again.generation == fresh.generation == presentation.generation
    assert fresh.stored_size == sum(f.size for f in presentation.renditions[0].files)
