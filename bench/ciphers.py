"""Milliseconds to encrypt all packets of a track, by method.

    python -m bench.ciphers [--packets 11250] [--rounds 11] [--json FILE]

What `packager.protect.cenc` and `packager.protect.cenc_across` do, beside other ways to the same
bytes. CPU is user + system; medians.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from array import array
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path

from Crypto.Cipher import AES

sys.path.insert(0, str(Path(__file__).parent.parent))

from packager.protect import cenc, cenc_across

KEY, IV = bytes(range(16)), bytes(range(16, 32))
PER_BATCH = 1536
"""Packets; about `cenc.BATCH_SIZE` bytes."""


def methods(data: bytes, sizes: "array[int]") -> dict[str, Callable[[], object]]:
    """By name."""
    ends = [0, *accumulate(sizes)]
    spans = list(pairwise(ends))
    starts = range(0, len(sizes), PER_BATCH)
    batches = [
        (i, data[ends[i] : ends[min(i + PER_BATCH, len(sizes))]], sizes[i : i + PER_BATCH])
        for i in starts
    ]

    def ctr_objects() -> None:
        for i, (a, b) in enumerate(spans):
            AES.new(KEY, AES.MODE_CTR, nonce=i.to_bytes(8), initial_value=0).encrypt(data[a:b])

    def cbc_objects() -> None:
        for a, b in spans:
            AES.new(KEY, AES.MODE_CBC, iv=IV).encrypt(data[a : b - (b - a) % 16])

    return {
        "CTR, pycryptodome, object per sample": ctr_objects,
        "CTR, cryptography, new nonces (cenc)": lambda: [
            cenc.cenc_crypt(KEY, first, batch, own) for first, batch, own in batches
        ],
        "CTR, pycryptodome, ECB over counters (cenc_across)": lambda: [
            cenc_across.cenc_crypt(KEY, first, batch, own) for first, batch, own in batches
        ],
        "CBC, pycryptodome, object per sample": cbc_objects,
        "CBC, cryptography, re-seeded (cenc)": lambda: [
            cenc.cbcs_encrypt(KEY, IV, batch, own) for _, batch, own in batches
        ],
        "CBC, pycryptodome, ECB across samples (cenc_across)": lambda: [
            cenc_across.cbcs_encrypt(KEY, IV, batch, own) for _, batch, own in batches
        ],
        "CBC, decryption (cenc)": lambda: [
            cenc.cbcs_decrypt(KEY, IV, batch, own) for _, batch, own in batches
        ],
    }


def median_ms(job: Callable[[], object], rounds: int) -> float:
    """CPU of *job*."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=11_250, help="4 minutes of AAC")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    draw = random.Random(7)
    sizes = array("I", (draw.randint(620, 760) for _ in range(options.packets)))
    data = os.urandom(sum(sizes))
    result = {name: median_ms(job, options.rounds) for name, job in methods(data, sizes).items()}
    print(f"{len(data):,} bytes in {len(sizes):,} packets")
    for name, ms in result.items():
        print(f"{name:54}{ms:8.1f} ms")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
