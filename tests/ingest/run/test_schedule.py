"""Many masters in one run: nobody waits for ever, and what ends one track ends no other."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from core.errors import IntegrityError, UnavailableError
from core.model import Codec, Ladder, Rung, Tier
from ingest.encode.toolchain import find_toolchain
from ingest.run.progress import Stage
from ingest.run.schedule import unavailable
from ingest.run.slots import TRACKS_AHEAD
from tests.ingest.conftest import children_of, music, wait_for, write_wav

SMALL = Ladder("small", (Rung(Codec.OPUS, 64_000, Tier.LOW),))


class DeathError(Exception):
    """No error of ours: the run dies of it."""


@pytest.fixture
def short_masters(tmp_path):
    def make(count):
        return [
            write_wav(tmp_path / f"track-{n}.wav", music(0.6, seed=n)) for n in range(1, count + 1)
        ]

    return make


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


@pytest.mark.parametrize("album", [None, "Suite"])
async def test_more_tracks_than_places_all_come_to_their_end(ingest, parts, short_masters, album):
    masters = short_masters(TRACKS_AHEAD + 4)
    at_work, most = set(), 0

    def listen(position, stage, _):
        nonlocal most
        if stage is Stage.QUEUED:
            at_work.add(position)
            most = max(most, len(at_work))
        elif stage is Stage.DONE:
            at_work.discard(position)

    outcomes = await ingest(
        masters, parts=replace(parts, jobs=1), ladder=SMALL, album=album, listener=listen
    )

    # tracks of an album wait for each other, and would wait for ever for a place
    assert most == (len(masters) if album else TRACKS_AHEAD + 1)
    assert statuses(outcomes) == ["published"] * len(masters)
    assert [outcome.path for outcome in outcomes] == masters
    assert len(parts.catalogue.list()) == len(masters)
    assert list(parts.work_dir.iterdir()) == []


class KeysAfter:
    """A key source that does something before it answers for one track."""

    def __init__(self, source, track_id, act):
        self._source = source
        self._track_id = track_id
        self._act = act

    def keys(self, request):
        if request.track_id == self._track_id:
            self._act()
        return self._source.keys(request)


def no_answer():
    raise UnavailableError("the key server does not answer", hint="start it")


async def test_a_master_that_vanishes_before_it_is_encoded_ends_its_own_track(
    ingest, parts, short_masters
):
    masters = short_masters(3)
    vanishing = KeysAfter(parts.key_source, "track-2", masters[1].unlink)

    outcomes = await ingest(
        masters, parts=replace(parts, key_source=vanishing), ladder=SMALL, album="Suite"
    )

    assert statuses(outcomes) == ["published", "failed", "published"]
    assert "No such file" in outcomes[1].error
    assert [t.entry.track_id for t in parts.catalogue.album("suite")] == ["track-1", "track-3"]


@pytest.mark.parametrize("album", [None, "Suite"])
async def test_a_track_without_keys_is_not_encoded_and_the_others_do_not_wait_for_it(
    ingest, parts, short_masters, album
):
    told = []
    failing = replace(parts, key_source=KeysAfter(parts.key_source, "track-2", no_answer))

    outcomes = await ingest(
        short_masters(3),
        parts=failing,
        ladder=SMALL,
        album=album,
        listener=lambda position, stage, _: told.append((position, stage)),
    )

    assert statuses(outcomes) == ["published", "failed", "published"]
    assert outcomes[1].hint == "start it"
    assert (2, Stage.ENCODE) not in told
    assert {n for n, stage in told if stage is Stage.DONE} == {1, 2, 3}


async def test_a_master_that_is_written_to_while_it_is_read_is_refused_and_no_rung_kept(
    ingest, parts, short_masters
):
    masters = short_masters(2)
    other = music(0.6, seed=99)
    rewriting = KeysAfter(parts.key_source, "track-1", lambda: write_wav(masters[0], other))

    outcomes = await ingest(masters, parts=replace(parts, key_source=rewriting), ladder=SMALL)

    assert statuses(outcomes) == ["failed", "published"]
    assert "changed while it was read" in outcomes[0].error
    assert list(parts.work_dir.iterdir()) == []


async def test_a_store_that_fails_for_one_track_fails_no_other(ingest, parts, short_masters):
    put = parts.store.put_if_absent

    async def fail(key, body):
        if key.startswith("tracks/track-1/"):
            raise IntegrityError("the disk lies")
        return await put(key, body)

    parts.store.put_if_absent = fail
    outcomes = await ingest(short_masters(3), ladder=SMALL)

    assert statuses(outcomes) == ["failed", "published", "published"]
    assert outcomes[0].error == "the disk lies"
    assert [t.entry.track_id for t in parts.catalogue.list()] == ["track-2", "track-3"]


async def test_what_was_encoded_before_the_store_failed_is_not_encoded_again(
    ingest, parts, short_masters
):
    put = parts.store.put_if_absent

    async def fail(key, body):
        raise UnavailableError(f"no room for {key} of {len(str(body))}")

    parts.store.put_if_absent = fail
    [failed] = await ingest(short_masters(1), ladder=SMALL)
    parts.store.put_if_absent = put
    [done] = await ingest(short_masters(1), ladder=SMALL)

    assert failed.status == "failed"
    assert (done.status, done.encoded) == ("published", ())
    assert list(parts.work_dir.iterdir()) == []


async def test_a_fault_of_ours_ends_the_run_and_the_encoders_of_all_tracks(ingest, parts, held):
    masters = held.masters(2)
    held.release("track-1")

    async def die(key, body):
        wait_for(lambda: "track-2" in held.running())
        raise DeathError(key, len(str(body)))

    parts.store.put_if_absent = die
    stuck = replace(parts, toolchain=find_toolchain(held.ffmpeg))
    before = set(children_of(os.getpid()))

    with pytest.raises(DeathError):
        await ingest(masters, parts=stuck, ladder=SMALL)

    assert set(children_of(os.getpid())) <= before
    assert [path.name for path in parts.work_dir.iterdir() if path.suffix != ".releasing"] == [
        path.name for path in parts.work_dir.iterdir() if path.name.startswith("track-1-")
    ]  # what was finished is kept; of the other nothing was


async def test_an_album_whose_tracks_all_fail_ends(ingest, parts, tmp_path):
    silent = [
        write_wav(tmp_path / f"{n}.wav", np.zeros((44_100 + n, 2), np.float32)) for n in range(3)
    ]

    outcomes = await ingest(silent, ladder=SMALL, album="Silence")

    assert statuses(outcomes) == ["failed"] * 3
    assert parts.catalogue.list() == ()
    assert list(parts.work_dir.iterdir()) == []


async def test_outcomes_are_told_as_they_come_and_given_in_the_order_of_the_masters(
    ingest, short_masters, tmp_path
):
    text = tmp_path / "notes.txt"
    text.write_text("no music")
    stages = {}

    def listen(position, stage, share):
        assert 0 <= share <= 1
        stages.setdefault(position, []).append(stage)

    outcomes = await ingest([*short_masters(2), text], ladder=SMALL, album="Suite", listener=listen)

    assert statuses(outcomes) == ["published", "published", "failed"]
    for position in (1, 2):
        assert list(dict.fromkeys(stages[position])) == list(Stage)
    assert stages[3] == [Stage.CHECK]


@pytest.mark.parametrize(
    "number, hint",
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOSPC, "free space"),
        (errno.EACCES, "permissions"),
        (None, "permissions"),
    ],
)
def test_what_the_system_refuses_comes_with_a_hint_for_it(number, hint):
    error = unavailable(OSError(number, "refused", "work/song.lock") if number else OSError())

    assert "Errno" not in error.message
    assert "None" not in error.message
    assert hint in error.hint
