"""Publishing is resumable and never overwrites; removal leaves nothing that promises too much."""

import dataclasses

import pytest

from core.errors import IntegrityError, InvalidInputError, NotFoundError, UnavailableError
from core.storage.local import LocalStore
from core.storage.memory import MemoryStore
from ingest.run.publish import prune, publish
from packager.manifest import presentation as description
from packager.manifest.places import generation_prefix, presentation_key
from tests.ingest.run.conftest import RecordingStore, keys_in


async def test_what_names_others_is_written_after_them(sealed):
    presentation, files = sealed
    store = RecordingStore()

    assert await publish(presentation, files, store)

    media = {f.key for f in presentation.renditions[0].files}
    assert set(store.log[: len(media)]) == media
    assert store.log[-2].endswith("waveform.json")
    assert store.log[-1] == presentation_key("t1", presentation.generation)
    assert description.decode(await store.get(store.log[-1])) == presentation


async def test_files_arrive_whole_in_a_local_store(sealed, tmp_path):
    presentation, files = sealed
    store = LocalStore(tmp_path / "store")

    await publish(presentation, files, store)

    for file in presentation.renditions[0].files:
        assert await store.get(file.key) == files[file.key].read_bytes()
    await store.aclose()


async def test_publishing_again_changes_nothing(sealed):
    presentation, files = sealed
    store = MemoryStore()
    await publish(presentation, files, store)

    assert not await publish(presentation, files, store)
    assert not await publish(presentation, {}, store)


@pytest.mark.parametrize("lives", range(5))
async def test_a_run_that_died_is_invisible_and_the_next_one_completes_it(sealed, lives):
    presentation, files = sealed
    store = RecordingStore(lives)
    with pytest.raises(UnavailableError):
        await publish(presentation, files, store)
    with pytest.raises(NotFoundError):
        await store.get(presentation_key("t1", presentation.generation))
    store.lives = 1000

    assert await publish(presentation, files, store)

    assert len(await keys_in(store)) == len(files) + 1


async def test_an_object_of_another_size_is_never_overwritten(sealed):
    presentation, files = sealed
    store = MemoryStore()
    key = presentation.renditions[0].files[1].key
    await store.put_if_absent(key, b"foreign")

    with pytest.raises(IntegrityError, match="stored with 7 bytes"):
        await publish(presentation, files, store)

    assert await store.get(key) == b"foreign"
    assert presentation_key("t1", presentation.generation) not in await keys_in(store)


async def test_a_description_of_something_else_is_an_error(sealed):
    presentation, files = sealed
    store = MemoryStore()
    await store.put_if_absent(presentation_key("t1", presentation.generation), b"{}")

    with pytest.raises(IntegrityError, match="describes something else"):
        await publish(presentation, files, store)


async def test_a_media_file_that_is_nowhere_is_an_error(sealed):
    presentation, files = sealed
    key = presentation.renditions[0].files[0].key

    with pytest.raises(IntegrityError, match="neither stored nor at hand"):
        await publish(presentation, {k: v for k, v in files.items() if k != key}, MemoryStore())


async def test_a_body_of_the_wrong_size_is_not_uploaded(sealed):
    presentation, files = sealed
    key = presentation.renditions[0].files[0].key
    store = MemoryStore()

    with pytest.raises(IntegrityError, match="promised"):
        await publish(presentation, {**files, key: b"short"}, store)

    assert key not in await keys_in(store)


@pytest.mark.parametrize("key", ["tracks/t2/0/x", "tracks/t1/{generation}/presentation.json"])
async def test_keys_outside_of_the_generation_are_refused(sealed, key):
    presentation, files = sealed
    foreign = key.format(generation=presentation.generation)
    store = MemoryStore()

    with pytest.raises(InvalidInputError):
        await publish(presentation, {**files, foreign: b"x"}, store)

    assert await keys_in(store) == []


async def test_a_description_that_contradicts_itself_is_refused(sealed):
    presentation, files = sealed
    store = MemoryStore()

    with pytest.raises(InvalidInputError, match="key is not described"):
        await publish(dataclasses.replace(presentation, keys=()), files, store)

    assert await keys_in(store) == []


async def three_generations(sealed, store):
    presentation, files = sealed
    await publish(presentation, files, store)
    for generation in ("a" * 16, "b" * 16):
        await store.put_if_absent(generation_prefix("t1", generation) + "cbcs/x.mp4", b"x")
    await store.put_if_absent(presentation_key("t1", "b" * 16), b"{}")
    await store.put_if_absent("tracks/t10/" + "c" * 16 + "/cbcs/x.mp4", b"another track")
    return presentation.generation


async def test_pruning_removes_orphans_and_keeps_the_rest(sealed):
    store = MemoryStore()
    kept = await three_generations(sealed, store)
    before = await keys_in(store, generation_prefix("t1", kept))

    assert await prune(store, "t1", {kept}) == ("a" * 16, "b" * 16)

    assert await keys_in(store, "tracks/t1/") == before
    assert len(await keys_in(store, "tracks/t10/")) == 1
    assert await prune(store, "t1", {kept}) == ()


async def test_a_description_goes_before_what_it_describes(sealed):
    store = RecordingStore()
    await three_generations(sealed, store)
    store.log.clear()

    await prune(store, "t1", ())

    for generation in ("a" * 16, "b" * 16, sealed[0].generation):
        prefix = generation_prefix("t1", generation)
        first = next(key for key in store.log if key.startswith(prefix))
        assert first == presentation_key("t1", generation)
    assert await keys_in(store, "tracks/t1/") == []


async def test_the_generation_of_equal_content_is_equal(sealed):
    presentation, _ = sealed

    assert description.seal(dataclasses.replace(presentation, generation="f" * 16)) == presentation
