"""Decoding speed on one core: payload to the first-level cache, and masks.

    python benchmarks/decode.py [--before CHECKOUT] [--out FOLDER] [--repeats N]

Eight planes of 8 KB are decoded again and again into the same buffer (GB of decoded bytes per
second), by every lowering of `f2f.decoder.gates` that the processor has; random masks of 4 M
places, coded as cascades, are decoded to a bit a place (ns per place). Checked first: payload
against the matrix product, masks against what was coded. Times are processor time, of this version
and the one before by turns; medians are printed, and every sample goes to decode.csv, with the
processor. With AVX2 only, on a processor that has more:
NUMBA_CPU_NAME=znver3 NUMBA_CPU_FEATURES=+avx2,+avx,+bmi,+bmi2,+fma,+f16c,+popcnt,+lzcnt,+sse4.2,\
+ssse3,+pclmul,+movbe and a NUMBA_CACHE_DIR of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from _versions import Request, answer, arguments, versions

PAYLOADS = [  # n_out, n_s, matrix
    (64, 7, "random"), (80, 7, "random"), (80, 7, "folded"), (26, 7, "random"), (80, 2, "random"),
]  # fmt: skip
SHARES = [0.02, 0.1, 0.3]  # of unpruned places
BYTES, PLACES = 8192, 1 << 22
SAMPLE_S = 0.004
KEYS = ["what", "case", "lowering"]


def aligned(size: int) -> np.ndarray:
    """uint8 (size,) that starts a page."""
    space = np.zeros(size + 4095, dtype=np.uint8)
    return space[-space.ctypes.data % 4096 :][:size]


@cache
def decoding() -> Any:
    """The kernel that decodes again and again."""
    from numba import njit

    from f2f.decoder.gates import IDENTITY, decode_blocks

    @njit
    def decode(inputs, blocks, gates, out, work, times):
        for _ in range(times):
            decode_blocks(inputs, 0, blocks, gates, IDENTITY, out, 0, work)

    return decode


def payload(n_out: int, n_s: int, matrix: str, lowering: str) -> tuple[Callable[[int], Any], int]:
    """What decodes about BYTES words so many times, and how many they are."""
    from f2f.decoder import Decoder
    from f2f.decoder.gates import work_bytes

    decoder, blocks = Decoder(8, n_out, n_s, 0, matrix), BYTES // n_out
    inputs = np.random.default_rng(0).integers(0, 256, (blocks + n_s, 8), dtype=np.uint8)
    # Output and work lie side by side, as in the package.
    buffer = aligned(2 * BYTES + work_bytes(n_s))
    gates = decoder.gates_for(lowering)
    run = partial(decoding(), inputs, blocks, gates, buffer, buffer[2 * BYTES :])
    run(1)
    if not np.array_equal(buffer[: blocks * n_out], decoder.decode_plain(inputs, blocks * n_out)):
        raise RuntimeError(f"{lowering} decodes n_out = {n_out}, n_s = {n_s}, {matrix} wrongly")
    return run, blocks * n_out


def mask(share: float) -> tuple[Callable[[int], Any], int]:
    """What decodes a mask so many times, and its places."""
    from f2f.format.mask import encode_mask

    places = np.random.default_rng(0).random(PLACES) < share
    code = encode_mask(places, "cascade", beam=1)
    if not np.array_equal(code.packed(), np.packbits(places, bitorder="little")):
        raise RuntimeError(f"a mask of {share:g} is decoded wrongly")

    def run(times: int) -> None:
        for _ in range(times):
            code.packed()

    return run, PLACES


@cache
def prepared(what: str, *case: Any) -> tuple[Callable[[int], Any], int, int]:
    """What is timed, how many times for a sample, and the bytes or places of each."""
    run, size = payload(*case) if what == "payload" else mask(*case)
    times = 1
    while (took := timed(run, times)) < SAMPLE_S / 4:
        times *= 4
    return run, max(1, int(times * SAMPLE_S / took)), size


def timed(run: Callable[[int], Any], times: int) -> float:
    """Processor seconds of a run."""
    start = time.thread_time()
    run(times)
    return time.thread_time() - start


def measure(request: Request) -> Any:
    """A worker's answer: its lowerings, or a sample, in ns of a byte or place."""
    from f2f.decoder.gates import LOWERINGS

    if "case" not in request:
        return LOWERINGS
    run, times, size = prepared(request["what"], *request["case"])
    return timed(run, times) / times / size * 1e9


def main() -> int:
    """Check, measure, print, write."""
    given = arguments(__file__, __doc__, repeats=9).parse_args()
    if given.worker:
        return answer(measure)
    from f2f_study import provenance, results

    workers = versions(given.before, __file__)
    lowerings = workers[0]({"what": "lowerings"})
    cases = [("payload", (*case, lowering)) for lowering in lowerings for case in PAYLOADS]
    cases += [("mask", (share,)) for share in SHARES]
    rows = []
    for what, case in cases:
        lowering = case[-1] if what == "payload" else lowerings[0]
        name = "n_out={}, n_s={}, {}".format(*case) if what == "payload" else f"p={case[0]:g}"
        for repeat in range(given.repeats):
            for worker in workers:
                each = worker({"what": what, "case": case})
                rows.append((what, name, lowering, worker.name, repeat, each))
    samples = pd.DataFrame(rows, columns=[*KEYS, "version", "repeat", "ns"])
    samples = samples.assign(hardware=provenance.hardware())
    results.write_csv(given.out / "decode.csv", samples)
    table = samples.groupby([*KEYS, "version"], sort=False)["ns"].median().unstack()
    payloads = table.loc["payload"]
    print(
        f"one core; {provenance.hardware()}\npayload, GB/s\n{(1 / payloads).round(2).to_string()}"
    )
    print(f"\nmasks, ns of a place\n{table.loc['mask'].round(4).to_string()}")
    if given.before:
        ratios = table["before"] / table["now"]
        print(f"\ntimes of the version before over now's\n{ratios.round(2).to_string()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
