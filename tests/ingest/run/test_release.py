"""A release may die anywhere: listeners have the old track or the new, and the next run ends it."""

from dataclasses import replace

import pytest

from core.catalogue import Catalogue, TrackEntry
from core.errors import ConflictError, InvalidInputError, UnavailableError
from core.model import DrmProfile, Scheme, Tier
from ingest.run.release import Release, extra_objects, release, settle
from packager.manifest import presentation as descriptions
from packager.manifest.places import generation_prefix, presentation_key
from tests.ingest.run.conftest import RecordingStore, keys_in

NOW_S = 1_700_000_000.0
TRACK = "t1"


@pytest.fixture
def catalogue(tmp_path):
    one = Catalogue.open(f"sqlite:///{tmp_path / 'catalogue.sqlite'}")
    yield one
    one.close()


@pytest.fixture
def work_dir(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def generation(sealed):
    """`generation(title)`: a release of the track, of its own generation."""
    presentation, files = sealed
    paths = {key: body for key, body in files.items() if key.endswith(".mp4")}
    by_drm = {f.drm: paths[f.key] for f in presentation.renditions[0].files}

    def make(title, follows=None):
        other = descriptions.seal(replace(presentation, title=title))
        media = {f.key: by_drm[f.drm] for f in other.renditions[0].files}
        entry = TrackEntry(
            track_id=TRACK,
            generation=other.generation,
            title=title,
            artist=other.artist,
            regions=("ww",),
            master_sha256=other.master_sha256,
            recipe_sha256=other.recipe_sha256,
            tiers=(Tier.HIGH,),
            schemes=(Scheme.CBCS,),
            duration_ticks=other.timing.samples,
            timescale=other.timing.timescale,
            loudness=other.loudness,
        )
        beside = extra_objects(other, b"{}", b"{}", "")
        return Release(entry, other, media | beside, follows)

    return make


@pytest.fixture
def released(catalogue, work_dir):
    """`released(what, store)`: releases it, as a run does."""

    async def run(what, store):
        return await release(
            what, store=store, catalogue=catalogue, work_dir=work_dir, clock=lambda: NOW_S
        )

    return run


def generations_in(keys):
    return {key.split("/")[2] for key in keys}


async def test_a_release_says_what_it_replaces_and_leaves_no_journal(
    generation, released, catalogue, work_dir
):
    store, first, second = RecordingStore(), generation("One"), generation("Two")

    assert await released(first, store) is None
    assert await released(second, store) == first.entry.generation

    assert catalogue.get(TRACK).entry == second.entry
    assert catalogue.get(TRACK).published_at_s == NOW_S
    assert list(work_dir.iterdir()) == []
    assert generations_in(await keys_in(store)) == {
        first.entry.generation,  # players may be amid it
        second.entry.generation,
    }


async def test_dying_at_any_object_leaves_the_old_track_and_the_next_run_completes_the_new(
    generation, released, catalogue, work_dir
):
    store, old, new = RecordingStore(), generation("Old"), generation("New")
    await released(old, store)
    last = presentation_key(TRACK, new.entry.generation)
    deaths = 0
    for lives in range(len(new.files) + 1):
        store.lives = lives
        with pytest.raises(UnavailableError):
            await released(new, store)
        deaths += 1

        assert catalogue.get(TRACK).entry == old.entry
        assert last not in await keys_in(store)
        assert (work_dir / f"{TRACK}.releasing").exists()
        assert not (work_dir / f"{TRACK}.release.lock").exists()

    store.lives = 1000
    assert await released(new, store) == old.entry.generation
    assert deaths == len(new.files) + 1
    assert catalogue.get(TRACK).entry == new.entry
    assert last in await keys_in(store)
    assert list(work_dir.iterdir()) == []


async def test_what_died_is_removed_before_another_generation_is_stored(
    generation, released, catalogue
):
    store, old = RecordingStore(), generation("Old")
    dead, new = generation("Dead"), generation("New")
    await released(old, store)
    store.lives = 3
    with pytest.raises(UnavailableError):
        await released(dead, store)
    assert dead.entry.generation in generations_in(await keys_in(store))
    store.lives, store.log = 1000, []

    await released(new, store)

    assert generations_in(await keys_in(store)) == {old.entry.generation, new.entry.generation}
    dead_last = max(n for n, key in enumerate(store.log) if dead.entry.generation in key)
    new_first = min(n for n, key in enumerate(store.log) if new.entry.generation in key)
    assert dead_last < new_first
    assert catalogue.get(TRACK).entry == new.entry


async def test_a_run_that_died_after_the_flip_is_settled(generation, released, catalogue, work_dir):
    store, old, new = RecordingStore(), generation("Old"), generation("New")
    await released(old, store)
    await released(new, store)
    (work_dir / f"{TRACK}.releasing").touch()
    orphan = generation_prefix(TRACK, "f" * 16) + "cbcs/x.mp4"
    await store.put_if_absent(orphan, b"of a run that died before")

    await settle(TRACK, store=store, catalogue=catalogue, work_dir=work_dir)

    assert list(work_dir.iterdir()) == []
    assert generations_in(await keys_in(store)) == {old.entry.generation, new.entry.generation}


async def test_settling_without_a_trace_touches_nothing(generation, released, catalogue, work_dir):
    store = RecordingStore()
    await released(generation("One"), store)
    before, store.lives = await keys_in(store), 0

    await settle(TRACK, store=store, catalogue=catalogue, work_dir=work_dir)

    assert await keys_in(store) == before


async def test_a_run_that_was_overtaken_stores_nothing(generation, released, catalogue):
    store, first = RecordingStore(), generation("One")
    await released(first, store)
    late = generation("Late", follows=first.entry.generation)
    await released(generation("Rotated", follows=first.entry.generation), store)
    before = await keys_in(store)

    with pytest.raises(ConflictError, match="by another run meanwhile") as refusal:
        await released(late, store)

    assert refusal.value.hint
    assert await keys_in(store) == before
    assert catalogue.get(TRACK).entry.title == "Rotated"


async def test_a_track_that_was_withdrawn_meanwhile_stores_nothing(generation, released, catalogue):
    store = RecordingStore()
    await released(generation("One"), store)
    catalogue.withdraw(TRACK)
    before = await keys_in(store)

    with pytest.raises(ConflictError, match="withdrawn") as refusal:
        await released(generation("Two"), store)

    assert refusal.value.hint
    assert await keys_in(store) == before


@pytest.mark.parametrize(
    "terms",
    [
        {"regions": tuple(f"r{n}" for n in range(301))},
        {"regions": ()},
        {"regions": ("EU",)},
        {"title": "t" * 501},
        {"album_id": "No Id"},
        {"master_sha256": "?"},
    ],
)
async def test_what_the_catalogue_would_refuse_is_refused_before_it_is_stored(
    generation, released, catalogue, work_dir, terms
):
    store, what = RecordingStore(), generation("One")

    with pytest.raises(InvalidInputError):
        await released(replace(what, entry=replace(what.entry, **terms)), store)

    assert await keys_in(store) == []
    assert catalogue.list() == ()
    assert list(work_dir.iterdir()) == []


async def test_static_manifests_lie_beside_each_profile_that_was_made(generation):
    what = generation("One")
    prefix = generation_prefix(TRACK, what.entry.generation)
    names = {key.removeprefix(prefix) for key in what.files}

    made = {f.drm for f in what.presentation.renditions[0].files}
    static = {name.split("/")[0] for name in names if "/static/" in name}
    assert static == {str(drm) for drm in DrmProfile if drm in made}
    assert {"waveform.json", "report.json", "sha256.json"} <= names
