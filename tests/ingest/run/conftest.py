"""Packaged tracks, as the packager's own tests make them, and a store that can die."""

import pytest

from core.errors import UnavailableError
from core.model import Codec, DrmProfile, Loudness, Presentation, Timing
from core.storage.memory import MemoryStore
from packager.manifest import presentation as description
from packager.manifest.places import generation_prefix
from tests.packager.conftest import (  # noqa: F401 - fixtures
    encoded,
    keys,
    packaged,
    packet_hashes,
    synthetic,
    transcode,
)

NO_LOUDNESS = Loudness(None, None, None, None, None)


@pytest.fixture
def sealed(synthetic, packaged, keys):  # noqa: F811 - a fixture is asked for by its name
    """A presentation of one rendition, and its files by object key."""
    rendition, paths = packaged(synthetic(Codec.OPUS, packets=30))
    presentation = description.seal(
        Presentation(
            track_id="t1",
            generation="0" * 16,
            title="Title",
            artist="Artist",
            timing=Timing(48_000, 0, rendition.timing.samples, 0),
            loudness=NO_LOUDNESS,
            album_id=None,
            album_loudness=None,
            master_sha256="0" * 64,
            recipe_sha256="1" * 64,
            # both schemes share a KID here, so one description serves
            keys=(keys[DrmProfile.CBCS].description,),
            renditions=(rendition,),
        )
    )
    files = {f.key: paths[f.drm] for f in presentation.renditions[0].files}
    waveform = generation_prefix("t1", presentation.generation) + "waveform.json"
    return presentation, {**files, waveform: b"[]"}


class RecordingStore(MemoryStore):
    """A store that notes what is done to it, and dies when told to."""

    def __init__(self, lives=1000):
        super().__init__()
        self.log = []
        self.lives = lives

    def _live(self, key):
        self.lives -= 1
        if self.lives < 0:
            raise UnavailableError("the power is out")
        self.log.append(key)

    async def put_if_absent(self, key, body):
        self._live(key)
        return await super().put_if_absent(key, body)

    async def delete(self, key):
        self._live(key)
        await super().delete(key)


async def keys_in(store, prefix="tracks/"):
    return [info.key async for info in store.list(prefix)]
