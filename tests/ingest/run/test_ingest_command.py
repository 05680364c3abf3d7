"""The command line, in processes of its own: output and exit codes."""

import json
import subprocess
import sys

import pytest

from tests.ingest.conftest import ROOT, music, write_wav


def test_results_go_to_stdout_and_the_second_run_says_unchanged(tonearm, masters):
    first = tonearm("ingest", masters("s16.wav"), masters("flac.flac"), "--track-id", "x")
    assert first.returncode == 1
    assert "hint:" in first.stderr

    first = tonearm("ingest", masters("s16.wav"))
    second = tonearm("ingest", masters("s16.wav"))

    assert (first.returncode, second.returncode) == (0, 0)
    assert "published" in first.stdout
    assert "gbaye0000001" in first.stdout
    assert "unchanged" in second.stdout


def test_json_is_one_line_for_each_track(tonearm, masters, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")

    done = tonearm("ingest", broken, masters("s16.wav"), "--json", "--scheme", "both")

    lines = {line["status"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert lines["failed"]["path"] == str(broken)
    assert lines["failed"]["hint"]
    assert lines["published"]["renditions"][0] == "aac-96k"
    assert "error: " in done.stderr


def test_a_report_is_checked_by_a_second_meter(tonearm, masters, tmp_path):
    report = tmp_path / "run.json"

    done = tonearm("ingest", masters("s24.wav"), "--report", report)

    assert done.returncode == 0, done.stderr
    [track] = json.loads(report.read_text())["tracks"]
    assert track["crosscheck"]["meter"] == "pyloudnorm"
    assert track["crosscheck"]["agrees"] is True


@pytest.mark.parametrize(
    "options, complaint",
    [
        (("--ladder", "nowhere.toml"), "cannot be read"),
        (("--track-id", "Ä"), "no track id"),
        (("--regions", "EU"), "no region group"),
        (("--ffmpeg", "nowhere"), "is not there"),
        (("--album", "!!!"), "no id can be made"),
    ],
)
def test_wrong_options_are_one_line_with_a_hint(tonearm, masters, options, complaint):
    done = tonearm("ingest", masters("s16.wav"), *options)

    assert done.returncode == 1
    assert complaint in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys, ingest.run.commands as c\n"
        "try: c.ingest(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'av', 'sqlalchemy', 'pyebur128', 'rich'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_folder_among_the_masters_is_refused_and_the_others_go_on(tonearm, masters, tmp_path):
    (tmp_path / "folder.wav").mkdir()

    done = tonearm("ingest", str(tmp_path / "folder.wav"), str(masters("s16.wav")))

    assert done.returncode == 1
    assert "folder.wav: is a folder" in done.stderr
    assert "published" in done.stdout


def test_a_master_that_is_named_twice_is_one_master(tonearm, masters):
    path = str(masters("s16.wav"))

    done = tonearm("ingest", path, path, "--json")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1


def test_a_clear_lead_and_the_full_pattern_are_a_generation_of_their_own(tonearm, tmp_path):
    master = write_wav(tmp_path / "song.wav", music(9.0))
    choices = ("--clear-lead", "1", "--cbcs-pattern", "10:0")
    runs = [
        tonearm("ingest", master, "--json"),
        tonearm("ingest", master, *choices, "--json"),
        tonearm("ingest", master, *choices, "--json"),
        tonearm("keys", "rotate", "--track", "song", "--json"),
    ]
    assert [run.returncode for run in runs] == [0] * 4, [run.stderr for run in runs]
    plain, chosen, again, rotated = (json.loads(run.stdout) for run in runs)

    assert [run["status"] for run in (plain, chosen, again)] == [
        *("published", "published", "unchanged")
    ]
    assert len({run["generation"] for run in (plain, chosen, rotated)}) == 3
    for run in (chosen, rotated):  # new keys do not take the choice away
        found = tmp_path.rglob(f"{run['generation']}/presentation.json")
        files = [f for r in json.loads(next(found).read_text())["renditions"] for f in r["files"]]
        assert {(f["clear_segments"], f["crypt_blocks"]) for f in files} == {(1, 10)}
    assert tonearm("track", "verify", "song").returncode == 0


def test_manifests_in_the_bucket_name_the_key_server_that_was_given(tonearm, tmp_path):
    master = write_wav(tmp_path / "song.wav", music(4.0))
    base = ("--license-base", "https://keys.example/")
    runs = [
        tonearm("ingest", master, "--json"),
        tonearm("ingest", master, *base, "--json"),
        tonearm("ingest", master, *base, "--json"),
        tonearm("keys", "rotate", "--track", "song", *base, "--json"),
    ]
    bare, named, again, rotated = (json.loads(run.stdout) for run in runs)

    assert [run["status"] for run in (bare, named, again)] == [
        *("published", "published", "unchanged")
    ]
    for run, url in (
        (bare, ">/v1/license/clearkey<"),
        (named, ">https://keys.example/v1/license/clearkey<"),
        (rotated, ">https://keys.example/v1/license/clearkey<"),
    ):
        [mpd] = tmp_path.rglob(f"{run['generation']}/cbcs/static/high.mpd")
        assert url in mpd.read_text()
    assert tonearm("track", "verify", "song").returncode == 0
