"""The catalogue through its public calls, on real files."""

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from core.catalogue import Catalogue, Status, Tail, TrackEntry
from core.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from core.model import Loudness, Scheme, Tier

GENERATIONS = [f"{n:016x}" for n in range(10)]
ENTRY = TrackEntry(
    track_id="one",
    generation=GENERATIONS[0],
    title="One “title”",
    artist="Ann Artist",
    regions=("ww", "eu-1"),
    master_sha256="a" * 64,
    recipe_sha256="b" * 64,
    tiers=(Tier.LOW, Tier.NORMAL),
    schemes=(Scheme.CBCS, Scheme.CENC),
    duration_ticks=48_000 * 200 + 1,
    timescale=48_000,
    loudness=Loudness(-14.25, 6.5, -9.0, -11.0, -0.75),
    album_id="album",
    album_position=2,
)


@pytest.fixture
def catalogue(tmp_path):
    catalogue = Catalogue.open(f"sqlite:///{tmp_path}/deep/catalogue.sqlite")
    yield catalogue
    catalogue.close()


def test_what_is_published_comes_back_whole(catalogue):
    assert catalogue.publish(ENTRY, published_at_s=1000.5) is None

    track = catalogue.get("one")
    assert track.entry == ENTRY
    assert (track.status, track.tail, track.published_at_s) == (
        Status.PUBLISHED, Tail.HOT, 1000.5
    )  # fmt: skip
    assert catalogue.get("two") is None


def test_a_silent_track_has_no_loudness(catalogue):
    silent = replace(ENTRY, loudness=Loudness(None, None, None, None, None), album_id=None,
                     album_position=None)  # fmt: skip
    catalogue.publish(silent, published_at_s=0)

    assert catalogue.get("one").entry == silent


def test_a_new_generation_follows_the_old_one_and_history_keeps_both(catalogue):
    catalogue.publish(ENTRY, published_at_s=1)
    catalogue.set_tail("one", Tail.COLD, generation=GENERATIONS[0])
    newer = replace(ENTRY, generation=GENERATIONS[1], title="Remaster", master_sha256="c" * 64)

    assert catalogue.publish(newer, published_at_s=2) == GENERATIONS[0]
    assert catalogue.get("one").entry == newer
    assert catalogue.get("one").tail is Tail.HOT
    lines = catalogue.history("one")
    assert [(x.number, x.generation, x.published_at_s) for x in lines] == [
        (2, GENERATIONS[1], 2), (1, GENERATIONS[0], 1)
    ]  # fmt: skip
    assert lines[0].master_sha256 == "c" * 64
    assert catalogue.generations_kept("one") == (GENERATIONS[1], GENERATIONS[0])


def test_the_same_generation_again_only_changes_the_terms(catalogue):
    catalogue.publish(ENTRY, published_at_s=1)
    catalogue.set_tail("one", Tail.COLD, generation=GENERATIONS[0])
    narrower = replace(ENTRY, regions=("eu-1",))

    assert catalogue.publish(narrower, published_at_s=2) == GENERATIONS[0]
    track = catalogue.get("one")
    assert (track.entry.regions, track.tail, track.published_at_s) == (("eu-1",), Tail.COLD, 1)
    assert len(catalogue.history("one")) == 1


def test_a_dropped_generation_is_kept_no_more_until_it_comes_back(catalogue):
    for n in (0, 1, 2):
        catalogue.publish(replace(ENTRY, generation=GENERATIONS[n]), published_at_s=n)
    catalogue.drop_generation("one", GENERATIONS[0])

    assert catalogue.generations_kept("one") == (GENERATIONS[2], GENERATIONS[1])
    with pytest.raises(ConflictError):
        catalogue.drop_generation("one", GENERATIONS[2])
    catalogue.publish(replace(ENTRY, generation=GENERATIONS[0]), published_at_s=9)
    assert catalogue.generations_kept("one") == tuple(GENERATIONS[n] for n in (0, 2, 1))


def test_a_withdrawal_is_not_undone_by_a_release(catalogue):
    catalogue.publish(ENTRY, published_at_s=1)
    assert catalogue.withdraw("one").status is Status.WITHDRAWN
    assert catalogue.withdraw("one").status is Status.WITHDRAWN

    with pytest.raises(ConflictError, match="withdrawn"):
        catalogue.publish(replace(ENTRY, generation=GENERATIONS[1]), published_at_s=2)
    assert len(catalogue.history("one")) == 1
    assert catalogue.restore("one").status is Status.PUBLISHED
    assert catalogue.get("one").entry == ENTRY


def test_a_removed_track_is_gone_but_its_history_is_not(catalogue):
    catalogue.publish(ENTRY, published_at_s=1)

    assert catalogue.remove("one") == (GENERATIONS[0],)
    assert catalogue.get("one") is None
    assert catalogue.list() == ()
    assert len(catalogue.history("one")) == 1
    catalogue.drop_generation("one", GENERATIONS[0])
    assert catalogue.generations_kept("one") == ()
    assert catalogue.publish(ENTRY, published_at_s=5) is None
    assert [line.number for line in catalogue.history("one")] == [2, 1]


def test_the_tail_of_a_generation_that_is_not_current_is_left_alone(catalogue):
    catalogue.publish(ENTRY, published_at_s=1)

    assert not catalogue.set_tail("one", Tail.COLD, generation=GENERATIONS[5])
    assert catalogue.get("one").tail is Tail.HOT


def test_a_track_that_is_not_there_is_one_clear_error(catalogue):
    for call in (
        catalogue.withdraw,
        catalogue.restore,
        catalogue.remove,
        lambda track: catalogue.set_tail(track, Tail.HOT, generation=GENERATIONS[0]),
    ):
        with pytest.raises(NotFoundError, match="there is no track none"):
            call("none")
    assert catalogue.history("none") == ()


def test_a_list_comes_in_bounded_pages_by_id(catalogue):
    names = [f"track-{n}" for n in range(25)]
    for name in reversed(names):
        catalogue.publish(replace(ENTRY, track_id=name), published_at_s=1)

    seen, after = [], ""
    while page := catalogue.list(after, limit=10):
        assert len(page) <= 10
        seen += [track.entry.track_id for track in page]
        after = seen[-1]
    assert seen == sorted(names)


def test_an_album_comes_in_its_order(catalogue):
    for name, position in (("a", None), ("b", 3), ("c", 1), ("d", 2)):
        track = replace(ENTRY, track_id=name, album_position=position)
        catalogue.publish(track, published_at_s=1)
    catalogue.publish(replace(ENTRY, track_id="e", album_id="other"), published_at_s=1)

    assert [track.entry.track_id for track in catalogue.album("album")] == ["c", "d", "b", "a"]
    assert catalogue.album("none") == ()


@pytest.mark.parametrize(
    "change",
    [
        {"track_id": "../x"},
        {"track_id": "-x"},
        {"track_id": "x" * 65},
        {"generation": "g" * 16},
        {"title": "x" * 501},
        {"regions": ()},
        {"regions": ("EU",)},
        {"master_sha256": "a"},
        {"duration_ticks": 0},
        {"album_id": None},
        {"album_position": 0},
    ],
)
def test_an_entry_out_of_bounds_is_refused(catalogue, change):
    with pytest.raises(InvalidInputError):
        catalogue.publish(replace(ENTRY, **change), published_at_s=1)
    assert catalogue.list() == ()


def test_it_is_all_there_after_a_restart(tmp_path):
    url = f"sqlite:///{tmp_path}/c.sqlite"
    first = Catalogue.open(url)
    first.publish(ENTRY, published_at_s=1)
    first.close()
    second = Catalogue.open(url)

    assert second.get("one").entry == ENTRY
    second.close()


RACE = """
import sys
sys.path[:0] = [sys.argv[3]]
from dataclasses import replace
from core.catalogue import Catalogue
from test_catalogue import ENTRY
catalogue = Catalogue.open(sys.argv[1])
for n in range(40):
    generation = f"{int(sys.argv[2]) * 1000 + n:016x}"
    print(catalogue.publish(replace(ENTRY, generation=generation), published_at_s=n), generation)
catalogue.close()
"""


def test_two_processes_publishing_one_track_form_one_chain(tmp_path, request):
    url = f"sqlite:///{tmp_path}/c.sqlite"
    folder = str(request.path.parent)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, url, str(n), folder], stdout=subprocess.PIPE, text=True
        )
        for n in (1, 2)
    ]
    links = [line.split() for racer in racers for line in racer.communicate()[0].splitlines()]

    assert [racer.returncode for racer in racers] == [0, 0]
    catalogue = Catalogue.open(url)
    history = [line.generation for line in reversed(catalogue.history("one"))]
    catalogue.close()
    assert len(history) == 80
    # what each publish was told it follows is what the history says it follows
    assert {new: old for old, new in links} == dict(zip(history, ["None", *history], strict=False))


def test_threads_share_a_catalogue(catalogue):
    def publish(name):
        for n in range(10):
            entry = replace(ENTRY, track_id=name, generation=GENERATIONS[n])
            catalogue.publish(entry, published_at_s=n)

    threads = [threading.Thread(target=publish, args=[f"t{n}"]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [len(catalogue.history(f"t{n}")) for n in range(6)] == [10] * 6


def test_a_reader_does_not_wait_for_a_writer(tmp_path):
    url = f"sqlite:///{tmp_path}/c.sqlite"
    catalogue = Catalogue.open(url)
    catalogue.publish(ENTRY, published_at_s=1)
    program = (
        "import sqlite3, sys, time\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN IMMEDIATE'); db.execute(\"UPDATE tracks SET title = 'new'\")\n"
        "print('busy', flush=True); sys.stdin.read()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "c.sqlite")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdout.readline() == b"busy\n"

    assert catalogue.get("one").entry == ENTRY
    writer.communicate()
    catalogue.close()


def test_a_file_of_a_later_version_or_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "c.sqlite"
    Catalogue.open(f"sqlite:///{path}").close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InvalidInputError, match="schema 99"):
        Catalogue.open(f"sqlite:///{path}")
    (tmp_path / "junk").write_bytes(b"junk" * 1000)
    with pytest.raises(UnavailableError, match="junk"):
        Catalogue.open(f"sqlite:///{tmp_path}/junk")


@pytest.mark.parametrize("url", ["", "sqlite://", "postgresql://x/y", "nonsense"])
def test_an_unknown_url_is_refused(url):
    with pytest.raises(InvalidInputError) as caught:
        Catalogue.open(url)
    assert caught.value.hint == "use sqlite:///path"
