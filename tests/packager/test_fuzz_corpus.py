"""What fuzzing has found stays found: each input once broke a reader, and is replayed."""

import re
import time
from pathlib import Path

import pytest

from fuzz import seeds
from fuzz.targets import TARGETS
from packager.encoded.fast_mp4 import read_mp4

CORPUS = Path(__file__).parent.parent / "golden" / "fuzz"
CPU_S = 2.0
"""For one input; many times what any needs."""
GUARDED = {
    "media-path/no-file": "five segments are too few: the name of the file was empty",
    "media-path/no-track": "fewer than four were a ValueError, a 500 behind another route",
    "presentation/a-number-too-large-for-a-float": "an OverflowError; numbers now end at 2^63",
    "presentation/an-integer-that-a-float-rounds-up": "what was read was refused when written back",
    "source/segments-of-more-ticks-than-an-index-holds": "a struct.error: 2^32 ticks and more",
    "verify/samples-that-last-nothing": "a ZeroDivisionError: `trex` with a duration of 0",
}
"""File by file, what was wrong before."""


def test_every_file_says_what_it_guards():
    files = {str(p.relative_to(CORPUS)) for p in CORPUS.rglob("*") if p.is_file()}

    assert files == GUARDED.keys()


@pytest.mark.parametrize("name", GUARDED)
def test_what_broke_a_reader_once_is_refused_in_time(name):
    run, _ = TARGETS[name.partition("/")[0]]
    start_s = time.process_time()

    run((CORPUS / name).read_bytes())

    assert time.process_time() - start_s < CPU_S


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_holds_for_good_input(target):
    run, good = TARGETS[target]
    for data in good():
        run(data)


def test_make_fuzz_runs_every_target():
    makefile = (CORPUS.parents[2] / "Makefile").read_text().replace("\\\n", " ")
    [line] = re.findall(r"^FUZZ := (.*)$", makefile, re.MULTILINE)

    assert line.split() == list(TARGETS)


def test_fuzzing_starts_from_sources_that_are_accepted(tmp_path):
    for data in seeds.sources():
        (tmp_path / "source.mp4").write_bytes(data)
        assert len(read_mp4(tmp_path / "source.mp4").payload)
