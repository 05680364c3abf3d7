"""An origin on a real socket: memory store, one published track, a clock that tests move."""

import asyncio
import dataclasses
import hashlib
import io
import json
import random
import uuid
from dataclasses import dataclass, field

import pytest
from aiohttp.test_utils import TestClient, TestServer
from click.testing import CliRunner

from cli import cli
from core.catalogue import Catalogue, TrackEntry
from core.grants import UrlGrant, UrlSigner, User, sign_user
from core.model import (
    Codec,
    DrmProfile,
    KeyDescription,
    Loudness,
    MediaFile,
    Pathway,
    PathwayDecision,
    Presentation,
    Rendition,
    Scheme,
    Tier,
    Timing,
)
from core.state.memory import MemoryState
from core.storage import open_store
from core.storage.memory import MemoryStore
from core.telemetry import Metrics, open_log
from core.web import create_app
from origin.app import Limits, Origin, setup
from packager.manifest import presentation as presentation_json
from packager.manifest.places import presentation_key

LOUDNESS = Loudness(-14.0, 5.0, -10.0, -12.0, -1.0)
SEGMENTS = 10
INIT_SIZE, INDEX_SIZE = 700, 200
SECRET_USER, SECRET_PLAYBACK, SECRET_URL = b"u" * 32, b"p" * 32, b"s" * 32


class CountingStore(MemoryStore):
    """Remembers what was asked of it, and can be made to fail."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.failure = None
        self.gate = None

    async def _note(self, *call):
        self.calls.append(call)
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure

    async def head(self, key):
        await self._note("head", key)
        return await super().head(key)

    async def get(self, key):
        await self._note("get", key)
        return await super().get(key)

    async def get_range(self, key, start, end):
        await self._note("get_range", key, start, end)
        return await super().get_range(key, start, end)

    async def stream(self, key, start, end):
        await self._note("stream", key, start, end)
        step = max(5_000, (end - start) // 50)
        try:
            for offset in range(start, end, step):
                yield await super().get_range(key, offset, min(end, offset + step))
        finally:
            self.calls.append(("stream closed", key))


class CountingCatalogue:
    """The real catalogue, with a count of its look-ups."""

    def __init__(self, catalogue):
        self._catalogue = catalogue
        self.calls = []

    def get(self, track_id):
        self.calls.append(track_id)
        return self._catalogue.get(track_id)

    def __getattr__(self, name):
        return getattr(self._catalogue, name)


class TwoPathways:
    """The far one for region `far`, else the near one."""

    async def choose(self, session):
        near, far = Pathway("near", "http://near.example"), Pathway("far", "http://far.example")
        order = (far, near) if session.region == "far" else (near, far)
        return PathwayDecision("decision-1", order)


@dataclass
class House:
    """Everything a test may want to touch."""

    store: CountingStore
    catalogue: CountingCatalogue
    state: MemoryState
    signer: UrlSigner
    log: io.StringIO
    now_s: float = 1_800_000_000.0
    ids: int = 0
    client: TestClient = None
    metrics: Metrics = field(default_factory=Metrics.create)
    presentation: Presentation = None
    bodies: dict = None

    def clock(self):
        return self.now_s

    def new_id(self):
        self.ids += 1
        return f"session-{self.ids}"

    def token(self, track="song", tier=Tier.HIGH, region="ww", ttl_s=900):
        grant = UrlGrant(track, tier, region, "session-x", int(self.now_s) + ttl_s)
        return self.signer.sign(grant)

    def path(self, file, *, token=None, track="song", generation=None, region="ww", drm="cbcs"):
        token = self.token() if token is None else token
        generation = generation or self.presentation.generation
        return f"/{token}/m/{track}/{generation}/{region}/{drm}/{file}"

    def user(self, subject="listener", tier=Tier.HIGH, region="de"):
        user = User(subject, tier, region)
        return sign_user(user, SECRET_USER, now_s=int(self.now_s), ttl_s=3600)

    def logged(self):
        return self.log.getvalue()


def make_presentation(
    track_id="song", drms=(DrmProfile.CBCS, DrmProfile.CENC), tiers=None, scale=1
):
    """A presentation with made-up bytes: the origin slices them and looks into none."""
    rng = random.Random(track_id)
    rungs = [
        ("aac-96k", Codec.AAC, Tier.LOW, 96_000),
        ("aac-160k", Codec.AAC, Tier.NORMAL, 160_000),
        ("aac-320k", Codec.AAC, Tier.HIGH, 320_000),
    ]
    ticks = (184_320,) * SEGMENTS
    timing = Timing(48_000, 1024, sum(ticks) - 1024 - 500, 500)
    keys, renditions, contents = [], [], {}
    for name, codec, tier, bps in rungs:
        if tiers and tier not in tiers:
            continue
        files = []
        for drm in drms:
            sizes = tuple(scale * rng.randrange(3_000, 5_000) for _ in ticks)
            content = rng.randbytes(INIT_SIZE + INDEX_SIZE + sum(sizes))
            kid = None
            if drm is not DrmProfile.CLEAR:
                kid = uuid.UUID(int=rng.getrandbits(128))
                keys.append(KeyDescription(kid, tier, Scheme(drm.value), ()))
            digest = hashlib.sha256(content).hexdigest()
            file = MediaFile(
                drm, "", len(content), digest, INIT_SIZE, INDEX_SIZE, sizes, bps, bps + 9, kid
            )
            files.append(file)
            contents[name, drm] = content
        renditions.append(
            Rendition(
                name, codec, tier, "mp4a.40.2", bps, 48_000, 2, None, timing, ticks, "0" * 64,
                tuple(files),
            )
        )  # fmt: skip
    presentation = presentation_json.seal(
        Presentation(
            track_id, "0" * 16, "Song", "Band", Timing(48_000, 0, timing.samples, 0), LOUDNESS,
            None, None, "1" * 64, "2" * 64, tuple(keys), tuple(renditions),
        )
    )  # fmt: skip
    bodies = {
        r.file(drm).key: contents[r.name, drm] for r in presentation.renditions for drm in drms
    }
    return presentation, bodies


def entry_of(presentation, regions=("ww",)):
    return TrackEntry(
        track_id=presentation.track_id,
        generation=presentation.generation,
        title=presentation.title,
        artist=presentation.artist,
        regions=regions,
        master_sha256=presentation.master_sha256,
        recipe_sha256=presentation.recipe_sha256,
        tiers=(Tier.LOW, Tier.NORMAL, Tier.HIGH),
        schemes=(Scheme.CBCS, Scheme.CENC),
        duration_ticks=presentation.timing.samples,
        timescale=presentation.timing.timescale,
        loudness=LOUDNESS,
    )


def fill_home(home, presentation, bodies, **terms):
    """Publish a track in *home*, as ingest does."""

    async def fill():
        store = open_store(home.hot_url)
        for key, body in bodies.items():
            await store.put_if_absent(key, body)
        key = presentation_key(presentation.track_id, presentation.generation)
        await store.put_if_absent(key, presentation_json.encode(presentation))
        await store.aclose()

    home.create()
    asyncio.run(fill())
    catalogue = Catalogue.open(home.catalogue_url)
    entry = dataclasses.replace(entry_of(presentation), **terms)
    catalogue.publish(entry, published_at_s=1_800_000_000)
    catalogue.close()
    return home


def run(home, *arguments, fails=None, **how):
    """Run `tonearm` in *home*; it must go well, or raise *fails*."""
    result = CliRunner().invoke(cli, ["--home", str(home.path), *arguments], **how)
    if fails:
        assert isinstance(result.exception, fails), result.exception
        return result
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def lines(result):
    """The objects that a command printed with `--json`."""
    return [json.loads(line) for line in result.stdout.splitlines()]


async def publish(house, presentation, bodies, regions=("ww",)):
    for key, body in bodies.items():
        await house.store.put_if_absent(key, body)
    body = presentation_json.encode(presentation)
    key = presentation_key(presentation.track_id, presentation.generation)
    await house.store.put_if_absent(key, body)
    house.catalogue.publish(entry_of(presentation, regions), published_at_s=house.now_s)


@pytest.fixture
async def house(tmp_path):
    catalogue = Catalogue.open(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    log = io.StringIO()
    house = House(
        CountingStore(),
        CountingCatalogue(catalogue),
        MemoryState(),
        UrlSigner({"k1": SECRET_URL}, active="k1"),
        log,
    )
    house.presentation, house.bodies = make_presentation()
    await publish(house, house.presentation, house.bodies)
    origin = make_origin(house)
    app = create_app(house.metrics, open_log("test", log))
    setup(app, origin)
    async with TestClient(TestServer(app)) as client:
        house.client = client
        yield house
    catalogue.close()


def make_origin(house, **changes):
    origin = Origin(
        store=house.store,
        catalogue=house.catalogue,
        state=house.state,
        url_signer=house.signer,
        playback_secret=SECRET_PLAYBACK,
        user_secret=SECRET_USER,
        chooser=TwoPathways(),
        clock=house.clock,
        new_id=house.new_id,
        limits=Limits(segment_cache_size=1 << 20),
    )
    return dataclasses.replace(origin, **changes)
