"""Two tracks of one continuous master, joined in Chromium by the published numbers, play as one."""

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
