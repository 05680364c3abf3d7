"""How tables are sampled for `make test`, CI and `make soak`."""

import itertools
import math

import pytest

from tests.levels import all_pairs, crossed, one_of_each

FACTORS = [
    [("a", "b"), ("a",)],
    ["abcd", "xy"],
    ["abcd", "xy", "pq"],
    ["abcd", "xyz", "pq", "lmn"],
    ["abcdefgh", "12345678"],
]


def pairs(rows):
    return {
        (one, other) for row in rows for one, other in itertools.combinations(enumerate(row), 2)
    }


def rows_of(level, table):
    lower = {"test": {"ci", "soak"}, "ci": {"soak"}, "soak": set()}[level]
    return [p.values for p in table if not {mark.name for mark in p.marks} & lower]


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_every_pair_of_values_is_in_some_chosen_row_and_no_row_is_chosen_twice(factors):
    rows = list(itertools.product(*factors))

    chosen = all_pairs(rows)

    assert pairs(chosen) == pairs(rows)
    assert len(set(chosen)) == len(chosen)


def test_far_fewer_rows_than_the_product_hold_all_pairs():
    rows = list(itertools.product(*["abcd"] * 6))

    assert len(all_pairs(rows)) < 3 * 16 < math.prod([4] * 6)


def test_pairs_that_no_possible_row_has_are_not_waited_for():
    rows = [row for row in itertools.product("ab", "xy", "pq") if row[:2] != ("a", "y")]

    chosen = all_pairs(rows)

    assert pairs(chosen) == pairs(rows)
    assert set(chosen) <= set(rows)


def test_each_value_of_the_first_column_has_one_row_and_the_others_take_turns():
    chosen = one_of_each(list(itertools.product("abcd", "xy", "pq")))

    assert [row[0] for row in chosen] == list("abcd")
    assert {row[1:] for row in chosen} == set(itertools.product("xy", "pq"))


def test_a_level_runs_what_the_lower_one_runs_and_more_and_the_last_one_all():
    table = crossed("abcd", "xyz", "pqr", possible=lambda first, *_: first != "d")

    test, ci, soak = (rows_of(level, table) for level in ("test", "ci", "soak"))

    assert [row[0] for row in test] == list("abc")
    assert pairs(ci) == pairs(soak)
    assert set(test) < set(ci) < set(soak)
    assert soak == list(itertools.product("abc", "xyz", "pqr"))


def test_a_value_that_is_a_tuple_gives_several_parameters():
    table = crossed([("a", 1), ("b", 2)], "x")

    assert [p.values for p in table] == [("a", 1, "x"), ("b", 2, "x")]


def test_the_same_table_gives_the_same_rows():
    assert crossed("abc", "xyz", "pqr") == crossed("abc", "xyz", "pqr")
