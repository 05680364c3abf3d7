"""Feed one of our readers with mutations of good input, led by which lines they reach.

    python -m fuzz TARGET [--seconds 600] [FILE ...]

With files, they are replayed and nothing else happens. Without, runs until the time is over, an
exception escapes, one input takes longer than `INPUT_S`, or memory grows by more than `MEMORY_MIB`;
the input that did it is then in `fuzz/found`. What was learnt stays in `fuzz/corpus`.
"""

import argparse
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["cdn_router", "core", "keyserver", "origin", "packager"], enable_loader_override=False
):
    from fuzz import mutators
    from fuzz.targets import TARGETS

MUTATORS = {
    "boxes": mutators.boxes,
    "source": mutators.boxes,
    "verify": partial(mutators.boxes, skip=1),
    "inspect": mutators.boxes,
    "presentation": mutators.tree,
    "beacons": mutators.tree,
    "eme": mutators.tree,
    "key-request": mutators.tree,
    "key-answer": mutators.tree,
    "json": mutators.tree,
}
HERE = Path(__file__).parent
GOLDEN = HERE.parent / "tests" / "golden" / "fuzz"
INPUT_S = 10
"""Wall time that one input may take; many times what any needs on a quiet machine."""
MEMORY_MIB = 200
"""How much the process may grow."""
MAX_INPUT = 1 << 14
"""Bytes of an input: several times the largest seed."""


def main() -> None:
    """Replay, or run until something is found or the time is over."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seconds", type=int, default=600)
    options = parser.parse_args()
    run, seeds = TARGETS[options.target]
    if options.files:
        for path in options.files:
            run(path.read_bytes())
        return
    learnt, found = HERE / "corpus" / options.target, HERE / "found"
    learnt.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds()):
        (learnt / f"seed-{number}").write_bytes(seed)
    folders = [learnt, *filter(Path.is_dir, [GOLDEN / options.target])]
    now_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    limits = {
        "max_total_time": options.seconds,
        "timeout": INPUT_S,
        "rss_limit_mb": now_mib + MEMORY_MIB,
        "max_len": MAX_INPUT,
        "artifact_prefix": f"{found}/{options.target}-",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    flags = [f"-{name}={value}" for name, value in limits.items()]
    atheris.Setup(
        [sys.argv[0], *flags, *map(str, folders)], run, custom_mutator=_mutator(options.target)
    )
    atheris.Fuzz()


def _mutator(target: str) -> Callable[[bytes, int, int], bytes] | None:
    if target not in MUTATORS:
        return None
    return lambda data, limit, seed: MUTATORS[target](data, limit, seed, atheris.Mutate)


if __name__ == "__main__":
    main()
