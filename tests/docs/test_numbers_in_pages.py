"""Sentences with a number in them, each beside the constant that it speaks of.

Who changes a constant changes its sentence: this table says where it stands.
"""

import re

import pytest

from cdn_router import beacons, belief, chooser, probes, router, scoring, steering
from core import cmcd, grants, keyring, serving, web
from core.model import Codec
from ingest.encode import ladder, neighbours
from ingest.encode.ladder import MUSIC
from ingest.master import containers, probe, quality
from ingest.published import tier_commands
from keyserver import eme, throttle, vault
from origin.dependencies import MIB, Limits
from origin.media import answers, library
from origin.playback import handlers, idempotency, session
from packager.cmaf.grid import SEGMENT_MS
from packager.folder import inputs
from packager.inspection import media_bytes
from packager.manifest import places
from tests.docs.pages import PAGES

DENIALS = throttle.DenialLimit()
LIMITS = Limits()
SHUTDOWN_S = int(serving.SHUTDOWN_TIMEOUT_S)
RENEWED_S = grants.URL_TTL_S - session.URL_EPOCH_S
EDGE_S = answers.MANIFEST_EDGE_TTL_S
INPUTS_S = inputs.TOLERANCE_MS / 1000
WORDS = {2: "two", 5: "five", 10: "ten", 3: "three"}

SENTENCES = [
    (
        "docs/serving.md",
        "under way have up to {} seconds",
        WORDS[SHUTDOWN_S],
    ),
    ("docs/serving.md", "still on its way, {})", WORDS[SHUTDOWN_S // 2]),
    ("docs/serving.md", "bound to device, session and track | {} s |", grants.PLAYBACK_TTL_S),
    ("docs/serving.md", "in one region | {} minutes;", grants.URL_TTL_S // 60),
    (
        "docs/serving.md",
        "a heartbeat's has {} to 15 left",
        RENEWED_S // 60,
    ),
    ("docs/serving.md", "has less than {} s left", grants.PLAYBACK_TTL_S // 2),
    ("docs/serving.md", "Every {} s it reports", session.HEARTBEAT_S),
    ("docs/serving.md", "after {} s heard", session.COUNTED_AFTER_MS // 1000),
    ("docs/serving.md", "than time has passed, and {} s", session.JITTER_MS // 1000),
    ("docs/serving.md", "by a heartbeat for {} minutes", handlers.GRACE_S // 60),
    ("docs/serving.md", "lasts at most {} hours", handlers.SESSION_MAX_S // 3600),
    ("docs/serving.md", "ends after {} minutes without a report", handlers.SESSION_IDLE_S // 60),
    ("docs/serving.md", "stops within {} seconds at the origin", WORDS[int(library.TRACK_TTL_S)]),
    (
        "docs/serving.md",
        "a minute by players and about {} by edges",
        WORDS[EDGE_S // 60],
    ),
    ("docs/routing.md", "Every {} s (`--probe-interval`)", int(router.PROBE_INTERVAL_S)),
    ("docs/routing.md", "below 500 within {} s", int(probes.PROBE_TIMEOUT_S)),
    ("docs/routing.md", "latency in {} s", int(belief.LATENCY_HALF_LIFE_S)),
    ("docs/routing.md", "errors in {} s", int(belief.ERROR_HALF_LIFE_S)),
    ("docs/routing.md", "when {} probes in a row fail", WORDS[belief.MAX_MISSES]),
    ("docs/routing.md", "not before {} s have passed", int(belief.OPEN_S)),
    ("docs/routing.md", "up to {} minutes)", int(belief.MAX_OPEN_S) // 60),
    ("docs/routing.md", "Only {} probes in a row that succeed", WORDS[belief.GOOD_TO_CLOSE]),
    ("docs/routing.md", "changes at most every {} s", scoring.EPOCH_S),
    ("docs/routing.md", "plus {} s for each start", scoring.ERROR_COST_MS / 1000),
    ("docs/routing.md", "better by {} %", round(scoring.MARGIN * 100)),
    ("docs/routing.md", "ask again every {} s or so", steering.NORMAL_TTL_S),
    ("docs/routing.md", "every {} s while a pathway", steering.ALARM_TTL_S),
    ("docs/routing.md", "no answer within {} s", chooser.ASK_TIMEOUT_S),
    ("docs/routing.md", "At most {}.", scoring.MAX_PATHWAYS),
    ("docs/production.md", "at most {} pathways", scoring.MAX_PATHWAYS),
    ("docs/production.md", "pathways and {} regions", scoring.MAX_REGIONS),
    ("docs/production.md", "at most {} MiB of segments", LIMITS.segment_cache_size // MIB),
    ("docs/production.md", "of segments, {} of manifests", LIMITS.manifest_cache_size // MIB),
    (
        "docs/production.md",
        "of manifests, {} of descriptions",
        LIMITS.presentation_cache_size // MIB,
    ),
    ("docs/production.md", "Clocks are right within {} s", grants.CLOCK_SKEW_S),
    ("docs/production.md", "wait after {} refusals", DENIALS.denials),
    ("docs/production.md", "have up to {} seconds", WORDS[SHUTDOWN_S]),
    ("docs/production.md", "at least {} bytes. JWKS", keyring.MIN_SECRET_SIZE),
    ("docs/keys.md", "refused {} times in a minute", DENIALS.denials),
    ("docs/keys.md", "of up to {} later periods", vault.MAX_PERIODS),
    ("docs/keys.md", "{} in a transaction", vault.REWRAP_BATCH),
    ("docs/http.md", "Bodies have at most {} KiB", web.MAX_BODY_SIZE // 1024),
    ("docs/http.md", "and {} s to arrive", int(web.BODY_TIMEOUT_S)),
    ("docs/http.md", "is closed after {} s", int(serving.KEEPALIVE_TIMEOUT_S)),
    ("docs/http.md", "answers within {} s", int(web.READINESS_TIMEOUT_S)),
    ("docs/http.md", "Up to {} KIDs", eme.MAX_KIDS),
    ("docs/http.md", "At most {} lines", cmcd.MAX_EVENTS),
    ("docs/http.md", "lines of {} KiB", cmcd.MAX_LINE_SIZE // 1024),
    ("docs/http.md", "up to {} of either", beacons.MAX_REPORTS),
    ("docs/http.md", "at most {} characters, in quotes", idempotency.MAX_KEY_LENGTH),
    ("docs/reference.md", "413, a body above {} KiB", web.MAX_BODY_SIZE // 1024),
    ("docs/curl.md", "playback token lives for {} s", grants.PLAYBACK_TTL_S),
    ("docs/first-player.md", "licence token lives {} s", grants.PLAYBACK_TTL_S),
    ("docs/first-player.md", "media URLs lives {} minutes", grants.URL_TTL_S // 60),
    ("docs/url-token.md", "at most {} characters. All of it", grants.MAX_TOKEN_LENGTH),
    ("docs/url-token.md", "all of it has at most {} characters", places.MAX_PATH_LENGTH),
    ("docs/ingest.md", "1 to {} rungs", ladder.MAX_RUNGS),
    ("docs/ingest.md", "to {} kHz;", probe.MAX_SAMPLE_RATE // 1000),
    ("docs/ingest.md", "1 to {} channels", probe.MAX_CHANNELS),
    ("docs/ingest.md", "up to {} bits is also compared", quality.FlacChecksum.MAX_BIT_DEPTH),
    ("docs/ingest.md", "bit for bit up to {} bits", ladder.MAX_LOSSLESS_DEPTH),
    ("docs/albums.md", "{} s of the track before", neighbours.ROLL_MS / 1000),
    ("docs/albums.md", "more than {} MiB of memory", neighbours.MAX_ROLLS_SIZE >> 20),
    (
        "docs/storage.md",
        "first {} segments",
        WORDS[tier_commands.INTRO_SEGMENTS],
    ),
    ("docs/packaging.md", "Segments last {} s", SEGMENT_MS / 1000),
    (
        "docs/coming-from-shaka-packager.md",
        "within {} s: they are rungs",
        inputs.TOLERANCE_MS / 1000,
    ),
    ("docs/inspect.md", "at most {} MiB in", media_bytes.MAX_DOWNLOAD >> 20),
    ("docs/inspect.md", "MiB in {} s", int(media_bytes.MAX_SECONDS)),
]


@pytest.mark.parametrize(("page", "sentence", "value"), SENTENCES)
def test_a_number_in_a_page_is_the_programs(page, sentence, value):
    text = " ".join(PAGES[page].split())
    before, after = map(re.escape, sentence.split("{}"))

    # what stands there now, so that a failure says both numbers
    assert re.findall(rf"{before}([\w.]+){after}", text) == [str(value)]


def _section(page, heading):
    return PAGES[page].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_ladder_in_the_page_is_the_default_one():
    section = _section("docs/ingest.md", "What is made")
    codecs = {"AAC-LC": Codec.AAC, "Opus": Codec.OPUS}
    shown = {
        (name, codecs[codec], tier)
        for names, codec, tier in re.findall(
            r"^\| (.+) \| (AAC-LC|Opus) \| (\w+) \|$", section, re.MULTILINE
        )
        for name in re.findall(r"`([a-z]+-\d+k)`", names)
    }

    assert shown == {(rung.name, rung.codec, rung.tier.value) for rung in MUSIC.rungs}


def test_the_formats_in_the_page_are_those_that_are_sniffed():
    section = _section("docs/ingest.md", "What is taken")
    first_cells = " ".join(re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE))
    names = {"mov": "M4A", "ogg": "Ogg"}

    for container in containers.Container:
        assert re.search(rf"\b{names.get(container, container.upper())}\b", first_cells)
