"""Cold and back while listeners play: the bytes never change and no read fails."""

import hashlib
import threading

import pytest

from core.model import DrmProfile


@pytest.fixture
def segments(service):
    """URLs of all segments of a rendition, with the SHA-256 of each."""
    track_id = "long-way-2"
    described = service.tracks[track_id]
    folder = service.start(track_id)["manifests"]["hls"].rsplit("/", 1)[0]
    file = described.rendition("opus-96k").file(DrmProfile.CBCS)
    body = (service.home.path / "hot" / file.key).read_bytes()
    start = file.init_size + file.index_size
    urls = {}
    for number, size in enumerate(file.segment_sizes, 1):
        urls[f"{folder}/opus-96k/{number}.m4s"] = hashlib.sha256(
            body[start : start + size]
        ).digest()
        start += size
    return track_id, urls


def _sizes(service, track_id, store):
    folder = service.home.path / store / "tracks" / track_id
    return sum(p.stat().st_size for p in folder.rglob("*.mp4*")) if folder.exists() else 0


def test_a_track_plays_from_cold_and_comes_back_while_listeners_read(
    service, segments, http, tonearm
):
    track_id, urls = segments
    before = _sizes(service, track_id, "hot")
    stop, failures, reads = threading.Event(), [], []

    def listen():
        while not stop.is_set():
            for url, digest in urls.items():
                answer = http(url)
                reads.append(url)
                if answer.status != 200 or hashlib.sha256(answer.body).digest() != digest:
                    failures.append((url, answer.status))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        tonearm(service.home.path, "tier", "demote", track_id)
        demoted = _sizes(service, track_id, "hot")
        assert '"cold"' in tonearm(service.home.path, "tier", "status", track_id, "--json").stdout
        tonearm(service.home.path, "tier", "promote", track_id)
    finally:
        stop.set()
        listener.join(60)

    assert 0 < demoted < before  # the intro stays hot
    assert _sizes(service, track_id, "hot") == before
    assert reads
    assert not failures


def test_a_damaged_cold_copy_is_not_promoted(service, segments, tonearm):
    track_id, _ = segments
    tonearm(service.home.path, "tier", "demote", track_id)
    cold = next((service.home.path / "cold" / "tracks" / track_id).rglob("opus-96k.mp4"))
    good = cold.read_bytes()
    cold.chmod(0o644)
    try:
        cold.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))

        done = tonearm(service.home.path, "tier", "promote", track_id, check=False)

        assert done.returncode == 1
        assert "error:" in done.stderr
    finally:
        cold.write_bytes(good)
    tonearm(service.home.path, "tier", "promote", track_id)
