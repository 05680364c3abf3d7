"""The vault: same keys when asked again, sealed at rest, shared by processes."""

import contextlib
import multiprocessing
import pickle
import sqlite3
import stat
import threading
from dataclasses import replace

import pytest

from core.errors import ConflictError, IntegrityError, InvalidInputError, UnavailableError
from core.keysource import KeyRequest
from core.model import Scheme, Tier
from keyserver.vault import Vault, make_kid

ROOT, KID = b"r" * 32, b"k" * 32
ALL = KeyRequest("song", tuple(Tier), tuple(Scheme), 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.sqlite"


@pytest.fixture
def vault(path):
    with contextlib.closing(Vault.open(path, ROOT, KID)) as vault:
        yield vault


def edit(path, statement, *values):
    with contextlib.closing(sqlite3.connect(path)) as database:
        changed = database.execute(statement, values).rowcount
        database.commit()
    return changed


def test_asked_again_the_same_keys_are_given_also_by_another_process_of_the_vault(vault, path):
    first = vault.keys(ALL)

    assert vault.keys(ALL) == first
    with contextlib.closing(Vault.open(path, ROOT, KID)) as again:
        assert again.keys(ALL) == first


def test_each_tier_and_scheme_and_period_has_a_key_iv_and_kid_of_its_own(vault):
    keys = vault.keys(ALL) + vault.keys(replace(ALL, period=1))

    assert [(k.description.tier, k.description.scheme) for k in keys[:8]] == [
        (tier, scheme) for tier in Tier for scheme in Scheme
    ]
    assert len({k.key for k in keys}) == len({k.iv for k in keys}) == 16
    assert len({k.description.kid for k in keys}) == 16
    assert [k.description.period for k in keys] == [0] * 8 + [1] * 8


def test_an_iv_has_the_size_of_its_scheme_and_is_never_the_key(vault):
    keys = vault.keys(ALL)
    assert {key.description.scheme for key in keys} == set(Scheme)
    for key in keys:
        assert len(key.key) == 16
        assert len(key.iv) == (16 if key.description.scheme is Scheme.CBCS else 8)
        assert not key.key.startswith(key.iv)


def test_a_random_source_that_repeats_itself_makes_no_key(path):
    with (
        contextlib.closing(Vault.open(path, ROOT, KID, random=lambda size: b"x" * size)) as vault,
        pytest.raises(AssertionError, match="repeats"),
    ):
        vault.keys(ALL)
    with contextlib.closing(Vault.open(path, ROOT, KID)) as vault:
        assert list(vault.stored()) == []


def test_a_kid_is_a_version_8_uuid_that_needs_the_secret():
    kid = make_kid(KID, "song", Tier.LOW, Scheme.CBCS, 0)

    assert (kid.version, kid.variant) == (8, "specified in RFC 4122")
    assert kid == make_kid(KID, "song", Tier.LOW, Scheme.CBCS, 0)
    assert kid != make_kid(ROOT, "song", Tier.LOW, Scheme.CBCS, 0)
    assert kid != make_kid(KID, "song", Tier.LOW, Scheme.CBCS, 1)


def test_a_changed_kid_secret_does_not_change_the_keys_of_a_track(vault, path):
    with contextlib.closing(Vault.open(path, ROOT, b"another kid secret")) as other:
        assert vault.keys(ALL) == other.keys(ALL)


@pytest.mark.parametrize(
    "request_",
    [
        replace(ALL, track_id="../etc"),
        replace(ALL, track_id=""),
        replace(ALL, track_id="x" * 65),
        replace(ALL, tiers=()),
        replace(ALL, schemes=()),
        replace(ALL, tiers=(Tier.LOW, Tier.LOW)),
        replace(ALL, period=-1),
        replace(ALL, period=2**31),
    ],
)
def test_a_request_for_nothing_or_for_no_track_makes_no_key(vault, request_):
    with pytest.raises(InvalidInputError):
        vault.keys(request_)
    assert list(vault.stored()) == []


def test_a_licence_has_only_the_keys_that_the_tier_includes(vault):
    low, normal, high, lossless = vault.keys(replace(ALL, schemes=(Scheme.CBCS,)))
    kids = [k.description.kid for k in (low, normal, high, lossless)]

    given = vault.licence(kids, track_id="song", tier=Tier.NORMAL)

    assert {k.kid: k.key for k in given} == {
        low.description.kid: low.key,
        normal.description.kid: normal.key,
    }
    assert vault.licence(kids, track_id="other", tier=Tier.LOSSLESS) == ()


def test_with_a_key_come_those_of_later_periods_of_its_use_and_no_others(vault):
    periods = [vault.keys(replace(ALL, period=period)) for period in (0, 1, 2, 2000)]
    vault.keys(replace(ALL, track_id="other", period=2))
    uses = [(k.description.tier, k.description.scheme) for k in periods[0]]
    place = uses.index((Tier.NORMAL, Scheme.CBCS))
    of_use = [keys[place] for keys in periods]

    given = vault.licence([of_use[1].description.kid], track_id="song", tier=Tier.LOSSLESS)

    # the one that was asked for first; neither what came before nor what is far ahead
    assert [k.kid for k in given] == [k.description.kid for k in of_use[1:3]]
    assert [k.key for k in given] == [k.key for k in of_use[1:3]]
    all_kids = [k.description.kid for k in of_use]
    assert len(vault.licence(all_kids, track_id="song", tier=Tier.NORMAL)) == 4
    assert vault.licence(all_kids, track_id="song", tier=Tier.LOW) == ()


def test_no_repr_holds_a_key_a_secret_or_an_iv(vault):
    [key, *_] = keys = vault.keys(ALL)
    licence = vault.licence([key.description.kid], track_id="song", tier=Tier.LOW)

    told = f"{vault!r} {keys!r} {licence!r} {list(vault.stored())!r} {vars(vault)!r}"

    for secret in (ROOT, *(k.key for k in keys)):
        for form in (repr(secret)[2:-1], secret.hex()):
            assert form not in told.replace(repr(KID), "")


def test_an_open_vault_cannot_be_pickled(vault):
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(vault)


def test_the_file_is_for_its_owner_and_holds_no_key(vault, path):
    keys = vault.keys(ALL)
    files = [p for p in path.parent.iterdir() if p.name.startswith("keys.sqlite")]

    assert len(files) == 3  # the log and its index hold rows too
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        data = file.read_bytes()
        assert not any(k.key in data or k.key.hex().encode() in data for k in keys)


@pytest.mark.parametrize(
    "edit_",
    [
        "UPDATE content_key SET tier = 'normal' WHERE tier = 'high'",
        "UPDATE content_key SET track_id = 'mine' WHERE tier = 'high'",
        "UPDATE content_key SET scheme = 'cenc' WHERE tier = 'high'",
        "UPDATE content_key SET period = 7 WHERE tier = 'high'",
        "UPDATE content_key SET iv = zeroblob(16) WHERE tier = 'high'",
        "UPDATE content_key SET sealed = zeroblob(44) WHERE tier = 'high'",
        "UPDATE content_key SET sealed = x'' WHERE tier = 'high'",
        "UPDATE content_key SET tier = 'golden' WHERE tier = 'high'",
        (
            "UPDATE content_key SET sealed ="
            " (SELECT o.sealed FROM content_key o WHERE o.tier = 'low') WHERE tier = 'high'"
        ),
    ],
)
def test_an_edited_or_swapped_row_opens_nothing(vault, path, edit_):
    vault.keys(KeyRequest("song", (Tier.LOW, Tier.HIGH), (Scheme.CBCS,), 0))

    assert edit(path, edit_) == 1

    with pytest.raises(IntegrityError):
        [vault.unseal(row) for row in vault.stored()]


def test_a_premium_row_renamed_to_low_is_not_licensed_to_a_low_plan(vault, path):
    [high] = vault.keys(KeyRequest("song", (Tier.HIGH,), (Scheme.CBCS,), 0))
    edit(path, "UPDATE content_key SET tier = 'low'")

    with pytest.raises(IntegrityError):
        vault.licence([high.description.kid], track_id="song", tier=Tier.LOW)


def test_a_vault_opens_with_its_own_root_secret_only(vault, path):
    vault.keys(ALL)

    with pytest.raises(IntegrityError, match="does not open"):
        Vault.open(path, b"another root secret", KID)


def test_what_is_no_vault_is_refused(tmp_path):
    text = tmp_path / "text"
    text.write_text("hello" * 1000)
    other = tmp_path / "other.sqlite"
    edit(other, "CREATE TABLE t (x)")

    with pytest.raises(IntegrityError):
        Vault.open(text, ROOT, KID)
    with pytest.raises(IntegrityError, match="not a vault"):
        Vault.open(other, ROOT, KID)
    with pytest.raises(UnavailableError):
        Vault.open(tmp_path, ROOT, KID)


def test_keys_are_signalled_for_the_systems_that_are_enabled(path):
    query = KeyRequest("song", (Tier.LOW,), (Scheme.CBCS,), 0)
    with contextlib.closing(Vault.open(path, ROOT, KID)) as vault:
        [before] = vault.keys(query)
        with contextlib.closing(Vault.open(path, ROOT, KID)) as another:
            another.choose_systems(["widevine"])
        [after] = vault.keys(query)  # of a process that was running then
        with pytest.raises(InvalidInputError, match="unknown DRM system marlin"):
            vault.choose_systems(["clearkey", "marlin"])

        assert vault.systems() == ("widevine",)
    assert [s.dash_value for s in before.description.signals] == [None, "ClearKey1.0"]
    assert [s.dash_value for s in after.description.signals] == ["Widevine"]
    assert after.description.kid == before.description.kid


def test_a_vault_from_before_systems_could_be_chosen_opens(path):
    Vault.open(path, ROOT, KID).close()
    edit(path, "DROP TABLE drm_system")

    with contextlib.closing(Vault.open(path, ROOT, KID)) as vault:
        assert vault.systems() == ("clearkey",)


def test_a_system_that_this_version_does_not_know_is_not_left_out_in_silence(path):
    with contextlib.closing(Vault.open(path, ROOT, KID)) as vault:
        edit(path, "INSERT INTO drm_system VALUES (1, 'marlin')")

        with pytest.raises(IntegrityError, match="marlin"):
            vault.keys(KeyRequest("song", (Tier.LOW,), (Scheme.CBCS,), 0))


def test_a_vault_is_not_made_over_another(vault, path):
    keys = vault.keys(ALL)

    with pytest.raises(ConflictError):
        Vault.create(path, ROOT)
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "keys.sqlite", "keys.sqlite-shm", "keys.sqlite-wal",
    ]  # fmt: skip
    assert vault.keys(ALL) == keys


def test_a_vault_held_by_another_process_for_too_long_is_unavailable(vault, path, monkeypatch):
    vault.keys(ALL)
    monkeypatch.setattr("keyserver.database.LOCK_TIMEOUT_S", 0.05)
    with (
        contextlib.closing(Vault.open(path, ROOT, KID)) as impatient,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder,
    ):
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="SQLITE_BUSY"):
            impatient.keys(replace(ALL, track_id="new"))
        # what is there can be read all the same
        assert impatient.keys(ALL) == vault.keys(ALL)


def versions(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [v for [v] in database.execute("SELECT version FROM kek ORDER BY version")]


def test_rewrapping_moves_every_key_to_a_new_kek_and_changes_nothing_else(vault, path, monkeypatch):
    monkeypatch.setattr("keyserver.vault.REWRAP_BATCH", 3)
    keys, before = vault.keys(ALL), {row.kid: row for row in vault.stored()}

    with contextlib.closing(Vault.open(path, ROOT, KID)) as other:
        assert list(other.rewrap()) == [3, 3, 2]

    after = {row.kid: row for row in vault.stored()}
    assert vault.keys(ALL) == keys  # also by a process that knew the old KEK only
    assert {row.kek_version for row in after.values()} == {2}
    assert not {r.sealed for r in before.values()} & {r.sealed for r in after.values()}
    assert versions(path) == [2]


def test_a_rewrap_that_was_stopped_loses_nothing_and_the_next_one_ends_it(vault, path, monkeypatch):
    monkeypatch.setattr("keyserver.vault.REWRAP_BATCH", 3)
    keys = vault.keys(ALL)

    assert next(vault.rewrap()) == 3
    assert versions(path) == [1, 2]
    assert vault.keys(ALL) == keys
    vault.keys(replace(ALL, track_id="new"))
    assert sorted(row.kek_version for row in vault.stored()) == [1] * 5 + [2] * 11

    assert sum(vault.rewrap()) == 16
    assert versions(path) == [3]
    assert vault.keys(ALL) == keys


def ask(path, start, answers):
    start.wait()
    with contextlib.closing(Vault.open(path, ROOT, KID)) as vault:
        answers.put([(k.description.kid, k.key, k.iv) for k in vault.keys(ALL)])


def test_processes_that_race_for_a_vault_and_its_keys_get_the_same(path):
    spawn = multiprocessing.get_context("spawn")
    start, answers = spawn.Barrier(3), spawn.SimpleQueue()
    processes = [spawn.Process(target=ask, args=(path, start, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    given = [answers.get() for _ in processes]
    for process in processes:
        process.join()

    assert given[0] == given[1] == given[2]
    assert len(list(path.parent.iterdir())) == 1  # no draft, no log is left


def test_threads_that_race_get_the_same(vault):
    start, given = threading.Barrier(8), []

    def ask_once():
        start.wait()
        given.append(vault.keys(ALL))

    threads = [threading.Thread(target=ask_once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(keys == given[0] for keys in given)
