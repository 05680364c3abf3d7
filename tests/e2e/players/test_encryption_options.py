"""Clear lead, the 10:0 pattern and keys that change within a track, in every player."""

import uuid

import pytest

from core.model import Codec, ContentKey, DrmProfile, KeyDescription, Rung, Scheme, Tier
from packager.protect.protection import Encryption
from tests.e2e.players.packaged import RMS_DBFS, package_track
from tests.e2e.players.track_server import LICENCE_TOKEN, TrackServer
from tests.levels import crossed
from tests.packager.manifest.examples import signals

LEVEL_DB = 0.5
RUNGS = (Rung(Codec.AAC, 96_000, Tier.LOW),)
CHOICES = {
    "periods": Encryption(clear_segments=1, period_segments=2, full_pattern=True),
    "lead": Encryption(clear_segments=2, full_pattern=True),
}
PERIODS = 3  # of 2 segments in 20 s
PROTECTED = [DrmProfile.CBCS, DrmProfile.CENC]
COMBINATIONS = [
    ("shaka", "mpd", "periods"),
    ("dash", "mpd", "periods"),
    ("hls", "m3u8", "periods"),
    # shaka-player knows ClearKey in HLS as one bare key: it cannot follow a change
    ("shaka", "m3u8", "lead"),
    ("hls", "m3u8", "lead"),
]

pytestmark = pytest.mark.asyncio(loop_scope="session")


def period_keys(scheme):
    """A key for each period; test keys, in no way secret."""
    keys = []
    for number in range(PERIODS):
        kid = uuid.UUID(int=(list(Scheme).index(scheme) + 1) << 64 | number)
        description = KeyDescription(kid, Tier.LOW, scheme, signals(kid, scheme), number)
        iv = bytes(range(number, number + (16 if scheme is Scheme.CBCS else 8)))
        keys.append(ContentKey(description, bytes([number + 1, *b"a content key.."]), iv))
    return tuple(keys)


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """The two tones, once for each of `CHOICES`."""
    keys = tuple(key for scheme in Scheme for key in period_keys(scheme))
    found = {}
    for name, choices in CHOICES.items():
        folder = tmp_path_factory.mktemp(name)
        found[name] = package_track(folder, rungs=RUNGS, keys=keys, encryption=choices), folder
    return found


@pytest.mark.parametrize(("name", "ending", "choices", "drm"), crossed(COMBINATIONS, PROTECTED))
async def test_a_track_sounds_on_both_sides_of_a_change(player, tracks, name, ending, choices, drm):
    p, folder = tracks[choices]
    keys = tuple(key for scheme in Scheme for key in period_keys(scheme))
    async with TrackServer(p, keys, folder).running() as server:
        await sounds_on_both_sides(player, server, name, server.url(drm, f"low.{ending}"))


async def sounds_on_both_sides(player, server, name, url):
    """Play *url* from its start and across two boundaries."""
    await player.load(
        name,
        url,
        token=LICENCE_TOKEN,
        license_url=server.license_url,
    )
    await player.meter()
    await player.play()
    await player.sounds(RMS_DBFS, within_db=LEVEL_DB, seconds=0.4)
    for boundary_s in (7.68, 15.36):  # the end of the longer lead, and of the periods
        await player.call("seek", boundary_s - 0.4)
        await player.until(lambda s, b=boundary_s: s.time > b + 0.4, "plays across the change", 9)
        await player.sounds(RMS_DBFS, within_db=LEVEL_DB, seconds=0.4)

    assert not (await player.state()).errors
