"""`tonearm package`: encoded files in, a folder that plays out, or nothing at all."""

import json
import os
import re
import socket
import subprocess
import sys
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import av
import m3u8
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cli import cli
from core.errors import InvalidInputError, ToolkitError
from packager.folder.folder import FolderOptions, package_folder
from packager.folder.inputs import read_inputs, segment_ticks
from packager.mp4.grammar import read_boxes
from packager.mp4.moof import MovieFragment
from packager.mp4.sidx import SegmentIndex
from tests.packager.manifest.mpd_rules import rule_faults
from tests.packager.manifest.mpd_schema import schema_faults

KID, KEY = "00112233445566778899aabbccddeeff", "101112131415161718191a1b1c1d1e1f"
OTHER = "ffeeddccbbaa99887766554433221100:202122232425262728292a2b2c2d2e2f"
DASH = {"": "urn:mpeg:dash:schema:mpd:2011"}


def run(*arguments, home=None):
    words = [*(["--home", str(home)] if home else []), "package", *map(str, arguments)]
    return CliRunner().invoke(cli, words)


def bytes_below(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture(scope="module")
def ladder(encoded):
    """Rungs of one master at 48 kHz."""
    return [encoded["aac-96k"], encoded["opus-96k"]]


@pytest.fixture(scope="module")
def folder(ladder, tmp_path_factory):
    """What `package` makes of the ladder, encrypted, in one file each; and what it printed."""
    target = tmp_path_factory.mktemp("package") / "new" / "folder"
    result = run(*ladder, "--output", target, "--key", f"{KID}:{KEY}", "--json")
    assert result.exit_code == 0, result.output
    return target, result


def names(folder):
    return sorted(path.name for path in folder.glob("*.mp4"))


def test_the_playlists_name_what_is_there_and_add_up(folder):
    target, result = folder
    master = m3u8.load(str(target / "master.m3u8"))
    rows = json.loads(result.stdout)["renditions"]

    assert [p.uri for p in master.playlists] == [f"{row['name']}.m3u8" for row in rows]
    for row in rows:
        media = m3u8.load(str(target / f"{row['name']}.m3u8"))
        size = (target / f"{row['name']}.mp4").stat().st_size
        last = media.segments[-1].byterange.split("@")
        assert sum(s.duration for s in media.segments) == pytest.approx(row["durationS"], abs=1e-6)
        assert sum(map(int, last)) == size
        assert media.keys[-1].method == "SAMPLE-AES"
    assert len({row["segments"] for row in rows}) == 1


@pytest.mark.parametrize("options", [["clear"], ["cbcs", "--clear-lead", "4"], ["cenc"]])
@pytest.mark.parametrize("layout", ["single", "segments"])
def test_the_mpd_is_valid(ladder, tmp_path, layout, options):
    target = tmp_path / "out"
    keys = ["--key", f"{KID}:{KEY}"] if options != ["clear"] else []
    result = run(*ladder, "--output", target, "--layout", layout, "--scheme", *options, *keys)
    text = (target / "manifest.mpd").read_text()

    assert result.exit_code == 0, result.output
    assert schema_faults(text) == []
    assert list(rule_faults(text)) == []


def test_the_mpd_leads_to_the_one_index_of_each_file(folder):
    root = ET.parse(folder[0] / "manifest.mpd").getroot()
    representations = root.findall(".//Representation", DASH)
    assert len(representations) == len(names(folder[0]))
    for representation in representations:
        name, base = representation.find("BaseURL", DASH), representation.find("SegmentBase", DASH)
        data = (folder[0] / name.text).read_bytes()
        start, end = map(int, base.get("indexRange").split("-"))
        boxes = read_boxes(data)

        assert [b.fourcc for b in boxes[:3]] == [b"ftyp", b"moov", b"sidx"]
        assert {b.fourcc for b in boxes[3:]} == {b"moof", b"mdat"}
        assert b"dash" in bytes(boxes[0].payload)  # self-initialising (ISO/IEC 23009-1, 6.3.5.1)
        [index] = read_boxes(data[start : end + 1])
        found = SegmentIndex.decode(index.payload)
        assert found.timescale == int(base.get("timescale"))
        assert end + 1 + sum(r.size for r in found.references) == len(data)


def test_the_mpd_names_what_is_there(folder):
    root = ET.parse(folder[0] / "manifest.mpd").getroot()
    urls = [element.text for element in root.iterfind(".//BaseURL", DASH)]
    sets = root.findall(".//AdaptationSet", DASH)

    assert sorted(urls) == names(folder[0])
    assert len(sets) == 2  # one per codec: one key, one tier
    kid = "{urn:mpeg:cenc:2013}default_KID"
    protections = root.findall(".//ContentProtection[@value='cbcs']", DASH)
    assert {p.get(kid) for p in protections} == {str(uuid.UUID(KID))}


def test_packaging_mp4_loads_nothing_that_it_does_not_need(ladder, tmp_path):
    """Numpy, pycryptodome and FFmpeg's libraries each take as long to load as a song to package."""
    code = (
        "import sys; sys.argv[0] = 'tonearm'; from cli import main\n"
        "try: main()\n"
        "finally: print(*sorted({'numpy', 'Crypto', 'av', 'asyncio', 'boto3'} & set(sys.modules)))"
    )
    words = ["package", *map(str, ladder), "--output", str(tmp_path / "out"), "--scheme", "both"]
    command = [sys.executable, "-c", code, *words, "--key", f"{KID}:{KEY}"]

    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)

    assert done.stdout.splitlines()[-1] == ""


def test_keys_given_on_the_command_line_are_nowhere_in_the_output(folder):
    target, result = folder
    everything = bytes_below(target) + result.output.encode()

    assert bytes.fromhex(KEY) not in everything
    assert KEY.encode() not in everything.lower()


def test_inspect_reads_what_package_wrote(folder):
    paths = list(folder[0].glob("*.mp4"))
    assert paths
    for path in paths:
        assert CliRunner().invoke(cli, ["inspect", str(path)]).exit_code == 0


def test_segments_are_the_single_file_cut_up(ladder, folder, tmp_path):
    target = tmp_path / "out"
    result = run(*ladder, "--output", target, "--key", f"{KID}:{KEY}", "--layout", "segments")

    assert result.exit_code == 0, result.output
    for name in names(folder[0]):
        whole = read_boxes((folder[0] / name).read_bytes())
        parts = target / Path(name).stem
        count = sum(b.fourcc == b"moof" for b in whole)
        assert len(list(parts.glob("*.m4s"))) == count
        init, first = (parts / "init.mp4").read_bytes(), (parts / "1.m4s").read_bytes()
        assert [b.fourcc for b in read_boxes(init)] == [b"ftyp", b"moov"]
        assert [b.fourcc for b in read_boxes(first)] == [b"moof", b"mdat"]
        moof = next(b for b in whole if b.fourcc == b"moof")
        assert read_boxes(first)[0].payload == moof.payload
        playlist = m3u8.load(str(target / f"{Path(name).stem}.m3u8"))
        assert all((target / s.uri).exists() for s in playlist.segments)
        assert (target / playlist.segment_map[0].uri).exists()


def test_both_schemes_get_a_folder_each(ladder, tmp_path):
    target = tmp_path / "out"
    result = run(*ladder, "--output", target, "--scheme", "both", "--key", f"{KID}:{KEY}")

    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in target.iterdir()) == ["cbcs", "cenc"]
    assert names(target / "cbcs") == names(target / "cenc")
    for scheme, method in (("cbcs", "SAMPLE-AES,"), ("cenc", "SAMPLE-AES-CTR,")):
        for path in (target / scheme).glob("*-*.m3u8"):
            assert f"METHOD={method}" in path.read_text()


def test_a_clear_lead_is_in_the_clear(ladder, tmp_path):
    target = tmp_path / "out"
    arguments = ("--key", f"{KID}:{KEY}", "--clear_lead", "1", "--scheme", "cenc")
    result = run(*ladder, "--output", target, *arguments)
    path = next(target.glob("aac-*.mp4"))
    inspected = CliRunner().invoke(cli, ["inspect", str(path), "--json"])
    found = json.loads(inspected.stdout)

    assert result.exit_code == 0, result.output
    assert inspected.exit_code == 0
    assert [f["ivs"] is None for f in found["fragments"]] == [True, False, False]
    playlist = path.with_suffix(".m3u8").read_text()
    assert playlist.index("#EXTINF") < playlist.index("METHOD=SAMPLE-AES-CTR")


@pytest.mark.parametrize("scheme", ["cbcs", "cenc"])
def test_keys_of_a_track_may_change_within_it(ladder, tmp_path, scheme):
    target, home = tmp_path / "out", tmp_path / "home"
    arguments = ("--track-id", "song", "--scheme", scheme, "--crypto-period", "7", "--json")
    result = run(*ladder, "--output", target, *arguments, home=home)
    listed = CliRunner().invoke(cli, ["--home", str(home), "keys", "list", "song", "--json"])

    assert result.exit_code == 0, result.output
    periods = {
        json.loads(line)["kid"]: json.loads(line)["period"]
        for line in listed.stdout.split("\n")[:-1]
    }
    assert set(periods.values()) == {0, 1}  # 10.1 s in segments of 3.84 s, two to a key
    for path in target.glob("*.mp4"):
        playlist = path.with_suffix(".m3u8").read_text()
        named = [str(uuid.UUID(k)) for k in re.findall(r"KEYID=0x([0-9A-F]{32})", playlist)]
        assert [periods[kid] for kid in named] == [0, 1]
        boxes = [b for b in read_boxes(path.read_bytes()) if b.fourcc == b"moof"]
        found = [MovieFragment.decode(b.payload, 8 if scheme == "cenc" else 0) for b in boxes]
        assert [str(f.key.kid) if f.key else None for f in found] == [None, None, named[1]]


def test_raw_keys_do_not_change(ladder, tmp_path):
    target = tmp_path / "out"
    result = run(*ladder, "--output", target, "--key", f"{KID}:{KEY}", "--crypto-period", "7")

    assert isinstance(result.exception, ToolkitError)
    assert "--track-id" in result.exception.hint
    assert not target.exists()


def test_the_pattern_is_signalled_on_request(ladder, tmp_path):
    found = {}
    for pattern in ("0:0", "10:0"):
        target = tmp_path / pattern.replace(":", "-")
        arguments = ("--key", f"{KID}:{KEY}", "--iv", "00" * 16, "--cbcs-pattern", pattern)
        assert run(*ladder, "--output", target, *arguments).exit_code == 0
        found[pattern] = next(target.glob("aac-*.mp4")).read_bytes()

    differing = [a for a, b in zip(*found.values(), strict=True) if a != b]
    assert differing == [0]


def test_renditions_under_one_cenc_key_share_no_iv(ladder, tmp_path):
    target = tmp_path / "out"
    run(*ladder, "--output", target, "--scheme", "cenc", "--key", f"{KID}:{KEY}")
    ivs = []
    for path in target.glob("*.mp4"):
        for box in read_boxes(path.read_bytes()):
            if box.fourcc == b"moof":
                senc = MovieFragment.decode(box.payload, 8).encryption
                ivs += [senc.ivs[i : i + 8] for i in range(0, len(senc.ivs), 8)]

    assert len(ivs) > 900
    assert len(set(ivs)) == len(ivs)


def test_the_names_that_shaka_packager_has_are_understood(ladder, tmp_path):
    target = tmp_path / "out"
    result = run(
        *ladder, "--output", target, "--protection_scheme", "cenc", "--segment_duration", "1.92",
        "--keys", f"label=:key_id={KID}:key={KEY}", "--hls_master_playlist_output", "h.m3u8",
        "--mpd_output", "d.mpd", "--hls_key_uri", "https://keys.example/k",
        "--iv", "0011223344556677",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert (target / "h.m3u8").exists()
    assert (target / "d.mpd").exists()
    [playlist, _] = sorted(target.glob("*-*.m3u8"))
    assert m3u8.load(str(playlist)).segments[0].duration == pytest.approx(1.92)
    assert 'METHOD=SAMPLE-AES-CTR,URI="https://keys.example/k"' in playlist.read_text()


def test_a_duration_is_rounded_to_whole_frames_of_all_codecs_and_that_is_said(ladder, tmp_path):
    result = run(
        *ladder, "--output", tmp_path / "out", "--scheme", "clear", "--segment-duration", "2"
    )

    assert result.stderr.count("segments last 1.920000 s, whole frames near 2 s") == 2


def test_frames_that_never_meet_are_rounded_codec_by_codec(synthetic):
    aac, opus = synthetic("aac", rate=44_100), synthetic("opus")

    assert segment_ticks([aac, opus], 4.0) == [172 * 1024, 200 * 960]


@pytest.mark.parametrize(
    ("name", "arguments", "extension"),
    [
        ("aac-96k", "-c copy -f adts", "aac"),
        ("opus-96k", "-c copy", "ogg"),
        ("opus-96k", "-c copy", "webm"),
        ("flac-24-96k", "-c copy", "flac"),
        ("flac-24-96k", "-c:a alac", "m4a"),
        ("aac-96k", "-c copy -movflags +frag_keyframe+empty_moov", "mp4"),
    ],
)
def test_every_container_is_taken(name, arguments, extension, encoded, transcode, tmp_path):
    path = tmp_path / f"in.{extension}"
    transcode("-i", str(encoded[name]), *arguments.split(), str(path))
    result = run(path, "--output", tmp_path / "out", "--key", f"{KID}:{KEY}", "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["renditions"][0]["segments"] == 3


def test_keys_of_a_track_come_from_the_vault_tier_by_tier(encoded, ladder, tmp_path):
    files = [ladder[0], encoded["flac-16-44k"]]
    arguments = (*files, "--track-id", "song", "--json")
    first = run(*arguments, "--output", tmp_path / "a", home=tmp_path / "home")
    run(*arguments, "--output", tmp_path / "b", home=tmp_path / "home")

    assert first.exit_code == 0, first.output
    rows = json.loads(first.stdout)["renditions"]
    assert [row["tier"] for row in rows] == ["low", "lossless"]
    assert rows[0]["kid"] != rows[1]["kid"]
    assert bytes_below(tmp_path / "a") == bytes_below(tmp_path / "b")


def test_tiers_may_have_keys_of_their_own(encoded, ladder, tmp_path):
    files = [ladder[0], encoded["flac-16-44k"]]
    keys = ["--key", f"low={KID}:{KEY}", "--key", f"lossless={OTHER}"]
    result = run(*files, "--output", tmp_path / "out", *keys, "--json")

    kids = [row["kid"]["cbcs"] for row in json.loads(result.stdout)["renditions"]]
    assert kids == [str(uuid.UUID(KID)), str(uuid.UUID(OTHER[:32]))]


def test_two_keys_have_two_clearkey_uris(ladder, encoded, tmp_path):
    """hls.js keeps what it asked for by URI, and would wait for the second key for ever."""
    files = (*ladder, encoded["flac-24-96k"])
    keys = ("--key", f"lossless={KID}:{KEY}", "--key", OTHER)
    url = ("--license-url", "https://keys.example/license")
    result = run(*files, "--output", tmp_path / "out", *keys, *url)
    assert result.exit_code == 0, result.output

    text = "".join(path.read_text() for path in (tmp_path / "out").glob("*.m3u8"))
    assert set(re.findall(r'URI="(https:[^"]*)"', text)) == {
        f"https://keys.example/license?kid={uuid.UUID(kid)}" for kid in (KID, OTHER[:32])
    }


@pytest.fixture(scope="module")
def whole(ladder, tmp_path_factory):
    """The ladder in the clear, and as `AES-128` with a clear lead; and what was printed."""
    folder = tmp_path_factory.mktemp("whole")
    uri = "https://keys.example/{kid}"
    words = ("--scheme", "aes-128", "--key", f"{KID}:{KEY}", "--hls-key-uri", uri, "--json")
    sealed = run(*ladder, "--output", folder / "sealed", "--clear-lead", "3", *words)
    clear = run(*ladder, "--output", folder / "clear", "--scheme", "clear", "--layout", "segments")
    assert (sealed.exit_code, clear.exit_code) == (0, 0), sealed.output + clear.output
    return folder, json.loads(sealed.stdout)


def test_whole_segments_decrypt_to_the_clear_ones(whole):
    folder, printed = whole
    ivs = []
    for row in printed["renditions"]:
        media = m3u8.load(str(folder / "sealed" / f"{row['name']}.m3u8"))
        name = media.segments[0].init_section.uri
        init = (folder / "sealed" / name).read_bytes()
        assert init == (folder / "clear" / name).read_bytes()
        for number, segment in enumerate(media.segments):
            data = (folder / "sealed" / segment.uri).read_bytes()
            expected = (folder / "clear" / segment.uri).read_bytes()
            if number == 0:
                assert (segment.key.method, data) == ("NONE", expected)
                continue
            assert segment.key.method == "AES-128"
            assert segment.key.uri == f"https://keys.example/{uuid.UUID(KID)}"
            ivs.append(segment.key.iv)
            iv = bytes.fromhex(segment.key.iv.removeprefix("0x"))
            # another library than the one that encrypts
            cipher = Cipher(algorithms.AES(bytes.fromhex(KEY)), modes.CBC(iv)).decryptor()
            remover = padding.PKCS7(128).unpadder()
            assert remover.update(cipher.update(data)) + remover.finalize() == expected
    assert len(set(ivs)) == len(ivs) == 4  # of both renditions: they share a key


def test_ffmpeg_plays_whole_segments(whole, ladder, tmp_path):
    """Its HLS demuxer is another implementation: the packets are those that went in."""
    folder, printed = whole
    key = tmp_path / "key"
    key.write_bytes(bytes.fromhex(KEY))
    for row, source in zip(printed["renditions"], ladder, strict=True):
        path = folder / "sealed" / f"{row['name']}.m3u8"
        local = path.with_name(f"local-{path.name}")
        local.write_text(re.sub(r'URI="https:[^"]*"', f'URI="{key.as_uri()}"', path.read_text()))
        options = {"allowed_extensions": "ALL", "protocol_whitelist": "file,crypto"}
        with av.open(str(local), options=options) as found, av.open(str(source)) as before:
            packets = [[bytes(p) for p in c.demux(audio=0) if p.size] for c in (found, before)]
        local.unlink()
        assert packets[0] == packets[1]


def test_whole_segments_are_counted_with_their_padding(whole):
    folder, printed = whole
    master = m3u8.load(str(folder / "sealed" / "master.m3u8"))
    for row, variant in zip(printed["renditions"], master.playlists, strict=True):
        media = m3u8.load(str(folder / "sealed" / variant.uri))
        sizes = [(folder / "sealed" / s.uri).stat().st_size for s in media.segments]
        average = 8 * sum(sizes) / row["durationS"]
        assert variant.stream_info.average_bandwidth == pytest.approx(average, abs=1)
        rates = [8 * size / s.duration for size, s in zip(sizes, media.segments, strict=True)]
        # HLS durations give the priming to the last segment, those of the rates to the first
        assert variant.stream_info.bandwidth == pytest.approx(max(rates[:-1]), rel=0.03)
        assert not master.session_keys
        assert row["bandwidthBps"] == {"aes-128": variant.stream_info.bandwidth}
    assert printed["manifests"] == ["master.m3u8"]
    assert not list((folder / "sealed").rglob("*.mpd"))


def test_whole_segments_take_the_keys_of_a_track_and_change_them(ladder, tmp_path):
    words = ("--scheme", "aes-128", "--track-id", "song", "--crypto-period", "4")
    result = run(*ladder, "--output", tmp_path / "out", *words, home=tmp_path / "home")
    assert result.exit_code == 0, result.output

    for playlist in (tmp_path / "out").glob("*-*.m3u8"):
        media = m3u8.load(str(playlist))
        uris = [segment.key.uri for segment in media.segments]
        assert len(set(uris)) == len(uris) > 1
        assert all(re.fullmatch(r"/v1/license/raw/[0-9a-f-]{36}", uri) for uri in uris)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)

    for words in (["package", str(pipe), "--scheme", "clear", "--output", str(tmp_path / "out")],
                  ["inspect", str(pipe)]):  # fmt: skip
        command = [sys.executable, "-m", "cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 1
        assert "error: " in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("change", [Path.touch, Path.unlink], ids=["written", "removed"])
def test_an_input_that_changes_while_it_is_packaged_gives_no_folder(encoded, tmp_path, change):
    path = tmp_path / "rung.mp4"
    path.write_bytes(encoded["aac-96k"].read_bytes())
    inputs = read_inputs([path], one_tier=True)
    (tmp_path / "folder").mkdir()

    with pytest.raises(InvalidInputError, match=r"rung\.mp4 was changed while it was packaged"):
        package_folder(
            inputs, tmp_path / "folder", FolderOptions(()), lambda *_: [], lambda _: change(path)
        )


def test_packaging_that_is_ended_by_sigterm_leaves_no_folder(encoded, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"http://127.0.0.1:{silent.getsockname()[1]}"
        target = tmp_path / "new" / "folder"
        options = ("--output", target, "--track-id", "song", "--key-source", source)
        words = ["--home", tmp_path / "home", "package", encoded["aac-96k"], *options]
        run = subprocess.Popen([sys.executable, "-m", "cli", *map(str, words)], text=True)
        silent.settimeout(30)
        silent.accept()[0].close()  # it asks for keys, and the folder is begun
        run.terminate()

        assert run.wait(timeout=30) == 143
    assert not (tmp_path / "new").exists()
