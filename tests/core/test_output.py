"""What reaches a terminal: names from files, tags, servers and users are spelt, not sent."""

import gc
import json
import math
import os
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

import cli
from core.errors import ToolkitError
from core.output import Styled, print_columns, print_error, print_json, print_line

EVIL = b"\x1b]0;x\x07\x1b[31m\xe2\x80\xae\n\xff"
"""Sets the title, turns red, overrides the direction of reading, breaks the line, is no UTF-8."""
SPELT = rb"\x1b]0;x\x07\x1b[31m\u202e\n\xff"
MASTER, BROKEN = b"song" + EVIL + b".wav", b"broken" + EVIL + b".wav"
REFUSED = {
    "no such command": [EVIL],
    "no such option": [b"track", b"list", b"--" + EVIL],
    "no such choice": [b"token", b"issue", b"--tier", EVIL],
    "no configuration": [b"--config", EVIL, b"track", b"list"],
    "no master": [b"ingest", b"no" + EVIL],
    "no audio": [b"ingest", BROKEN],
    "no key server": [b"--key-source", EVIL, b"ingest", MASTER],
    "nothing to package": [b"package", BROKEN, b"--output", b"out", b"--scheme", b"clear"],
    "no server to inspect": [b"inspect", b"http://127.0.0.1:1/" + EVIL],
    "no router": [b"router", b"show", b"--url", b"http://127.0.0.1:1/" + EVIL],
    "no path to sign": [b"sign", EVIL],
    "no token": [b"token", b"show", EVIL],
    "no track": [b"track", b"show", EVIL],
    "no track to move": [b"tier", b"promote", EVIL],
    "no album": [b"album", b"show", EVIL],
    "no keys": [b"keys", b"list", EVIL],
    "no system": [b"keys", b"systems", EVIL],
}


def wav(tag):
    """Three seconds of two tones, with *tag* as title and artist."""
    pcm = array("h")
    for n in range(3 * 48_000):
        pcm.extend((round(8000 * math.sin(n * 0.05)), round(7000 * math.sin(n * 0.031))))

    def chunk(kind, body):
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    tags = b"INFO" + chunk(b"INAM", tag + b"\0") + chunk(b"IART", tag + b"\0")
    form = struct.pack("<HHIIHH", 1, 2, 48_000, 192_000, 4, 16)
    return chunk(
        b"RIFF",
        b"WAVE" + chunk(b"fmt ", form) + chunk(b"LIST", tags) + chunk(b"data", pcm.tobytes()),
    )


@pytest.fixture
def run(tmp_path, monkeypatch, capfdbinary):
    """A function that runs `tonearm` as the shell does: (exit code, stdout, stderr)."""
    (tmp_path / os.fsdecode(MASTER)).write_bytes(wav(EVIL))
    (tmp_path / os.fsdecode(BROKEN)).write_bytes(b"RIFFxxxx")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        """Run it; *arguments* as bytes, as the system hands them over."""
        monkeypatch.setattr(
            sys, "argv", ["tonearm", "--home", "home", *map(os.fsdecode, arguments)]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        gc.unfreeze()  # what `main` does because its process is over
        out, err = capfdbinary.readouterr()
        for unsafe in (b"\x1b", b"\x07", b"\xe2\x80\xae", b"\xff"):
            assert unsafe not in out + err, out + err
        return ended.value.code, out, err

    assert run(b"keys", b"init")[0] == 0
    return run


@pytest.mark.parametrize(
    "character",
    # one-byte controls of 8-bit terminals (CSI, OSC, next line) are as good as ESC sequences
    ["\0", "\t", "\r", "\x7f", "\x80", "\x85", "\x9b", "\x9d", "\x9f", "\u061c", "\u200e", "\u200f",
     "\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\ufeff", "\udcff"],
    ids=ascii,
)  # fmt: skip
def test_no_character_that_a_terminal_obeys_is_printed(character, capsys):
    print_line(f"a{character}b", Styled(character))
    print_columns("a", character)
    print_json({"a": character})
    print_error(ToolkitError(character, hint=character), about=character)
    out, err = capsys.readouterr()

    assert character not in out.replace("a\t", "a", 1) + err
    assert json.loads(out.splitlines()[-1])["a"] == character


@pytest.mark.parametrize("letters", ["Zoë", "日本語", "🎵 ♪", 'it\'s "so" \\ 100 %', "\xa0"])
def test_letters_are_printed_as_they_are(letters, capsys):
    print_line(letters)

    assert capsys.readouterr().out == f"{letters}\n"


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_spelt(run, case):
    code, out, err = run(*REFUSED[case])

    assert code in (1, 2)
    assert err.startswith(b"error: ")
    assert out == b"" or case in ("no master", "no audio", "no key server")  # a table says it, too


def test_a_master_with_such_a_name_and_such_tags_is_ingested_and_shown(run):
    code, out, _ = run(b"ingest", MASTER, b"--track-id", b"song", b"--json")

    assert code == 0
    [row] = map(json.loads, out.decode("utf-8", errors="strict").splitlines())
    assert os.fsencode(row["path"]) == MASTER
    assert run(b"ingest", MASTER, b"--track-id", b"song")[0] == 0
    for command in (
        (b"track", b"list"),
        (b"track", b"show", b"song"),
        (b"track", b"list", b"--json"),
    ):
        code, out, _ = run(*command)
        assert code == 0
        assert b"]0;x" in out  # the title


@pytest.mark.parametrize("how", [(), (b"--json",)])
def test_a_broken_file_with_such_a_name_is_inspected(run, how):
    code, out, _ = run(b"inspect", BROKEN, *how)

    assert code == 1
    if how:
        assert os.fsencode(json.loads(out.decode("utf-8"))["name"]) == BROKEN
    else:
        assert out.startswith(b"broken" + SPELT + b".wav  8 bytes\n")


def test_results_for_a_full_disk_are_one_error(tmp_path):
    command = [sys.executable, "-m", "cli", "--home", str(tmp_path), "token", "issue"]

    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device\nhint: ")
    assert len(done.stderr.splitlines()) == 2


def test_who_wants_no_more_results_is_told_nothing(tmp_path):
    command = [sys.executable, "-m", "cli", "--home", str(tmp_path), "token", "issue"]
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")
