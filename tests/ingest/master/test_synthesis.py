"""Synthesised masters: repeatable, varied, and clean enough to be published without a warning."""

import wave

import numpy as np

from ingest.master.probe import probe
from ingest.master.synthesis import LONG_WAY, compose, make_masters


def test_the_same_seed_gives_the_same_bytes_and_five_kinds_of_master(tmp_path):
    paths = make_masters(tmp_path / "one", 3)
    again = make_masters(tmp_path / "two", 3)

    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]
    kinds = [(m.sample_rate, m.channels, m.bit_depth) for m in map(probe, paths)]
    cd = (44_100, 2, 16)
    assert kinds == [cd, (96_000, 2, 24), (44_100, 1, 16), cd, cd]


def test_the_gapless_pair_is_one_signal_cut_off_the_grid(tmp_path):
    *_, first, second = make_masters(tmp_path, 3)
    halves = []
    for path in (first, second):
        with wave.open(str(path)) as file:
            halves.append(np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2))

    whole = np.rint(compose(LONG_WAY, 6) * 32767)

    assert np.array_equal(np.concatenate(halves), whole)
    assert all(len(halves[0]) % frame for frame in (960, 1024, 4096))


async def test_the_masters_are_published_without_a_warning(ingest, tmp_path):
    outcomes = await ingest(make_masters(tmp_path, 3))

    assert [outcome.status for outcome in outcomes] == ["published"] * 5
    assert [outcome.warnings for outcome in outcomes] == [()] * 5
