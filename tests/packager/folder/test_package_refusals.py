"""What `tonearm package` refuses: one error, a hint, and not a file or folder left behind."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import cli
from core.errors import ToolkitError

KID, KEY = "00112233445566778899aabbccddeeff", "101112131415161718191a1b1c1d1e1f"
OTHER = "ffeeddccbbaa99887766554433221100:202122232425262728292a2b2c2d2e2f"
RAW = ("--key", f"{KID}:{KEY}")
TWO = (*RAW, "--key", f"lossless={OTHER}")
URI = ("--hls-key-uri", "https://keys.example/{kid}")
CLEAR = ("--scheme", "clear")
WHOLE = ("--scheme", "aes-128", *RAW)
NOWHERE = ("--track-id", "song", "--key-source", "http://127.0.0.1:1")

OPTIONS = {
    "no key": ((), "exactly one source of keys"),
    "two sources": ((*CLEAR, *RAW), "exactly one source of keys"),
    "a key and a track": ((*RAW, "--track-id", "song"), "exactly one source of keys"),
    "a key server without a track": (("--key-source", "http://127.0.0.1:1"), "for tracks"),
    "a key server that is not there": (NOWHERE, "does not answer"),
    "a key server without an address": ((*NOWHERE[:3], "keys"), "address"),
    "no track id": (("--track-id", "No Track"), "no track id"),
    "changing keys without a source": ((*RAW, "--crypto-period", "10"), "keys that change"),
    "a short key": (("--key", f"{KID}:{KEY[:-2]}"), "has not 32 hex digits"),
    "a key that is not hex": (("--key", f"{KID}:{'x' * 32}"), "has not 32 hex digits"),
    "a key without an ID": (("--key", KEY), "has not 32 hex digits"),
    "an unknown tier": (("--key", f"best={KID}:{KEY}"), "for an unknown tier"),
    "no key for the tier": (("--key", f"lossless={KID}:{KEY}"), "no key for the tier low"),
    "two keys of one tier": ((*RAW, "--key", OTHER), "a tier has two keys"),
    "one key ID twice": ((*RAW, "--key", f"low={KID}:{'a' * 32}"), "two keys have one key ID"),
    "one key twice": ((*RAW, "--key", f"low={'a' * 32}:{KEY}"), "two key IDs have one key"),
    "too many keys": (("--key", ",".join([f"{KID}:{KEY}"] * 65)), "more than 64"),
    "odd fields": (("--keys", f"key_id={KID}:key={KEY}:pssh=00"), "cannot be understood"),
    "a short IV": ((*RAW, "--iv", "0011"), "the IV does not fit"),
    "an IV that is not hex": ((*RAW, "--iv", "x" * 32), "the IV does not fit"),
    "an IV of the other scheme": ((*RAW, "--scheme", "cenc", "--iv", "0" * 32), "does not fit"),
    "one IV for two schemes": ((*RAW, "--scheme", "both", "--iv", "0" * 32), "does not fit"),
    "an IV in the clear": ((*CLEAR, "--iv", "0" * 32), "changes nothing"),
    "an IV for keys of a track": (("--track-id", "song", "--iv", "0" * 32), "the key source's"),
    "a key URI for keys of a track": (("--track-id", "song", *URI), "the key source's"),
    "a key URI in the clear": ((*CLEAR, *URI), "changes nothing"),
    "licences in the clear": ((*CLEAR, "--license-url", "https://x.example"), "changes nothing"),
    "a clear lead in the clear": ((*CLEAR, "--clear-lead", "4"), "changes nothing"),
    "a pattern in the clear": ((*CLEAR, "--cbcs-pattern", "10:0"), "changes nothing"),
    "a pattern of cenc": ((*RAW, "--scheme", "cenc", "--cbcs-pattern", "10:0"), "changes nothing"),
    "a pattern of whole segments": ((*WHOLE, *URI, "--cbcs-pattern", "10:0"), "changes nothing"),
    "whole segments in one file": ((*WHOLE, *URI, "--layout", "single"), "each for itself"),
    "whole segments without a URI": (WHOLE, "answers the 16 octets"),
    "one URI for two keys": (
        ("--scheme", "aes-128", *TWO, "--hls-key-uri", "https://keys.example/key"),
        "one URI cannot answer 2 keys",
    ),
    "a key URI with a quote": ((*RAW, "--hls-key-uri", 'https://x/"'), "no URL that a manifest"),
    "licences with a newline": ((*RAW, "--license-url", "https://x/\n"), "no URL that a manifest"),
    "a path as a name": ((*CLEAR, "--mpd", "../x.mpd"), "cannot be a manifest's name"),
    "a hidden name": ((*CLEAR, "--hls", ".m3u8"), "cannot be a manifest's name"),
    "an empty name": ((*CLEAR, "--hls", ""), "cannot be a manifest's name"),
    "a long name": ((*CLEAR, "--hls", "x" * 300), "cannot be a manifest's name"),
    "a name with a newline": ((*CLEAR, "--hls", "a\n.m3u8"), "cannot be a manifest's name"),
    "one name for both": ((*CLEAR, "--hls", "x", "--mpd", "x"), "both manifests have one name"),
    "a rendition's name": ((*CLEAR, "--hls", "aac-96k.m3u8"), "belongs to the rendition"),
    "a media file's name": ((*CLEAR, "--mpd", "aac-96k.mp4"), "belongs to the rendition"),
    "a media folder's name": ((*CLEAR, "--mpd", "aac-96k"), "belongs to the rendition"),
    "segments that are too short": ((*CLEAR, "--segment-duration", "0"), "range"),
    "segments that are too long": ((*CLEAR, "--segment-duration", "61"), "range"),
    "segments of no number": ((*CLEAR, "--segment-duration", "nan"), "not finite"),
    "a clear lead of no number": ((*RAW, "--clear-lead", "nan"), "not finite"),
    "a negative clear lead": ((*RAW, "--clear-lead", "-1"), "range"),
    "keys for no number": (("--track-id", "song", "--crypto-period", "nan"), "not finite"),
    "an unknown scheme": ((*RAW, "--scheme", "cbc1"), "is not one of"),
    "an unknown pattern": ((*RAW, "--cbcs-pattern", "1:9"), "is not one of"),
}


pytestmark = pytest.mark.usefixtures("bench")


@dataclass
class Bench:
    """Where files are made; what is beside them is what `package` left."""

    folder: Path
    encoded: dict
    transcode: object

    def make(self, name, *arguments, source="aac-96k"):
        self.transcode("-i", str(self.encoded[source]), *arguments, str(self.folder / name))
        return [name]

    def write(self, name, data):
        (self.folder / name).write_bytes(data)
        return [name]


FILES = {
    "no such file": (lambda _: ["missing.mp4"], "missing.mp4"),
    "a name that is too long": (lambda _: ["x" * 300], "cannot be read"),
    "an empty file": (lambda b: b.write("empty.mp4", b""), "empty.mp4"),
    "text": (lambda b: b.write("notes.txt", b"no music " * 1000), "notes.txt"),
    "half a file": (
        lambda b: b.write("half.mp4", b.encoded["aac-96k"].read_bytes()[:20_000]),
        "half.mp4",
    ),
    "a file without its boxes": (lambda b: b.write("ftyp.mp4", bytes(4) + b"ftypisom"), "ftyp.mp4"),
    "another codec": (lambda b: b.make("x.mp3", "-c:a", "libmp3lame"), "cannot be packaged"),
    "no codec": (lambda b: b.make("x.wav", "-c:a", "pcm_s16le"), "cannot be packaged"),
    "a picture": (
        lambda b: b.make(
            "x.png", "-f", "lavfi", "-i", "color=s=8x8", "-map", "1:v", "-frames:v", "1"
        ),
        "no audio stream",
    ),
    "an encrypted file": (
        lambda b: b.make(
            "x.mp4", "-c", "copy", "-encryption_scheme", "cenc-aes-ctr",
            "-encryption_key", KEY, "-encryption_kid", KID,
        ),
        "is encrypted",
    ),
    "lengths of two masters": (
        lambda b: ["aac-96k.mp4", *b.make("short.mp4", "-t", "5", "-c", "copy", source="opus-96k")],
        "short.mp4",
    ),
    "one rung twice": (lambda _: ["aac-96k.mp4", "aac-96k.mp4"], "are both aac-96k"),
    "too many files": (lambda _: ["aac-96k.mp4"] * 65, "more than 64"),
    "a folder": (lambda _: ["."], "directory"),
}  # fmt: skip


@pytest.fixture
def bench(tmp_path, encoded, transcode, monkeypatch):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "aac-96k.mp4").symlink_to(encoded["aac-96k"])
    monkeypatch.chdir(folder)
    return Bench(folder, encoded, transcode)


def refuse(tmp_path, files, *options, output):
    """Run the command, which must refuse; what it said."""
    words = ["--home", str(tmp_path / "home"), "package", *files, "--output", str(output)]
    result = CliRunner().invoke(cli, [*words, *options])
    said = result.output
    if result.exit_code == 2:
        assert "Error: " in said
    else:
        assert isinstance(result.exception, ToolkitError), result.exception
        assert result.exception.hint
        said += f"{result.exception.message} {result.exception.hint}"
    assert KEY[:-2] not in said
    return said


def leaves_nothing(tmp_path, files, *options):
    """What is said, with an output folder that is not there yet and with an empty one."""
    empty, new = tmp_path / "empty", tmp_path / "above" / "new"
    empty.mkdir()
    before = empty.stat().st_ino
    said = refuse(tmp_path, files, *options, output=new)
    assert not new.parent.exists()
    refuse(tmp_path, files, *options, output=empty)
    assert (empty.stat().st_ino, list(empty.iterdir())) == (before, [])
    assert {path.name for path in tmp_path.iterdir()} <= {"empty", "files", "home"}
    return said


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be_leave_nothing(case, tmp_path):
    options, words = OPTIONS[case]

    assert words in leaves_nothing(tmp_path, ["aac-96k.mp4"], *options)


@pytest.mark.parametrize("case", FILES)
def test_files_that_cannot_be_leave_nothing(case, bench, tmp_path):
    make, words = FILES[case]

    assert words in leaves_nothing(tmp_path, make(bench), *CLEAR)


AFTER_READING = (
    "no key for the tier", "a rendition's name", "a media file's name", "a media folder's name",
    "a key server that is not there", "whole segments without a URI",
)  # fmt: skip
"""Refusals that need to know what the files are."""


@pytest.mark.parametrize("case", [case for case in OPTIONS if case not in AFTER_READING])
def test_what_needs_no_file_is_refused_before_one_is_read(case, tmp_path):
    options, words = OPTIONS[case]

    assert words in refuse(tmp_path, ["missing.mp4"], *options, output=tmp_path / "out")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")

    said = refuse(tmp_path, ["missing.mp4"], *CLEAR, output=tmp_path)

    assert "is not empty" in said
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_file_in_the_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "out").write_text("precious")

    refuse(tmp_path, ["missing.mp4"], *CLEAR, output=tmp_path / "out")

    assert (tmp_path / "out").read_text() == "precious"


def test_the_folder_one_stands_in_is_not_taken_away(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    assert "is where you are" in refuse(tmp_path, ["missing.mp4"], *CLEAR, output=".")


@pytest.mark.parametrize("output", ["/proc/out", "/dev/null/out", "x" * 300])
def test_an_output_that_cannot_be_made_is_said_before_anything_is_read(bench, tmp_path, output):
    said = refuse(tmp_path, ["missing.mp4"], *CLEAR, output=output)

    assert "cannot be written" in said
    assert "permissions" in said
    assert not [path for path in bench.folder.iterdir() if path.name != "aac-96k.mp4"]


@pytest.mark.parametrize("scheme", ["cbcs", "cenc", "aes-128"])
def test_one_key_under_two_key_ids_is_refused(scheme, tmp_path):
    """IVs are counted by key ID: each would begin at the same one, under the same key."""
    keys = ("--key", f"lossless={OTHER[:32]}:{KEY}", *RAW)

    said = refuse(
        tmp_path, ["aac-96k.mp4"], "--scheme", scheme, *keys, *URI, output=tmp_path / "out"
    )

    assert "two key IDs have one key" in said


def test_a_file_that_nobody_may_read_is_named(bench, tmp_path):
    (bench.folder / "secret.mp4").symlink_to("/proc/1/mem" if os.getuid() else "/proc/self/mem")

    assert "secret.mp4" in refuse(tmp_path, ["secret.mp4"], *CLEAR, output=tmp_path / "out")
