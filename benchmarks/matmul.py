"""Matrix products of every shape: rate, share of the machine's arithmetic peak, and ratios to NumPy and torch.

    python benchmarks/matmul.py [SETS OR SHAPES] [--dtype D] [--threads N] [--transposes nn,nt,tn,tt] [--target T]
                                [--tools numpy,torch] [--json FILE] [--compile-only]

A set is one of small, square, odd, skinny, batched; a shape is [BxK…x]MxKxN, such as 64x784x512. The product is called
through `bind`; NumPy and torch write into an array that is there. A ratio is how many times faster adjoint is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

SETS = {
    "small": [(n, n, n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32)],
    "square": [(n, n, n) for n in (48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)],
    "odd": [(17, 33, 65), (31, 31, 31), (33, 33, 33), (63, 65, 67), (100, 100, 100), (127, 129, 131), (255, 257, 259),
            (300, 700, 500), (511, 513, 509), (1000, 10, 1000)],
    "skinny": [(1, 512, 512), (1, 4096, 4096), (512, 512, 1), (4096, 4096, 1), (1, 100000, 1), (2, 784, 512),
               (4, 784, 512), (8, 784, 512), (16, 784, 512), (32, 784, 512), (512, 784, 2), (512, 784, 8),
               (512, 784, 10), (128, 512, 10), (512, 128, 10), (784, 1, 512), (784, 2, 512), (784, 8, 512),
               (784, 16, 512), (16, 100000, 16), (8, 20000, 64), (64, 50000, 8), (20000, 64, 16), (20000, 16, 64),
               (64, 64, 4096), (4096, 64, 64), (4096, 3, 4)],
    "batched": [(64, 8, 8, 8), (64, 16, 16, 16), (256, 4, 4, 4), (48, 64, 32, 64), (48, 64, 64, 32), (8, 128, 128, 128),
                (1000, 3, 3, 3), (512, 1, 64, 64), (512, 64, 64, 1), (12, 12, 64, 65, 64)],
}
SAMPLE = 2e-4  # seconds that one sample lasts at least
PAUSE = 0.1  # seconds in which the threads of the tool before go to sleep


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=list(SETS), help="sets and shapes; all sets if none is given")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--transposes", default="nn", help="of nn, nt, tn, tt: which operands are given transposed")
    parser.add_argument("--target", help="a named target in place of this machine, such as x86-64-v3")
    parser.add_argument("--tools", default="numpy,torch", help="adjoint always takes part")
    parser.add_argument("--seconds", type=float, default=0.03, help="that each contender gets for a shape")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--compile-only", action="store_true", help="fill the cache, time nothing")
    return parser.parse_args()


def chosen(words: Sequence[str]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    for word in words:
        found += SETS[word] if word in SETS else [tuple(int(n) for n in word.split("x"))]
    if any(len(shape) < 3 for shape in found):
        raise SystemExit("a shape is MxKxN, with batches in front")
    return found


def operands(shape: tuple[int, ...], transposes: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of both operands as they lie in memory."""
    *batch, m, k, n = shape
    a = (m, k) if transposes[0] == "n" else (k, m)
    b = (k, n) if transposes[1] == "n" else (n, k)
    return (*batch, *a), (*batch, *b)


def compiled(shape: tuple[int, ...], transposes: str, args: argparse.Namespace) -> Any:
    import adjoint as ad

    def across(x: Any, flag: str) -> Any:
        return x if flag == "n" else ad.matrix_transpose(x)

    a, b = (ad.input(name, s, args.dtype) for name, s in zip("ab", operands(shape, transposes), strict=True))
    product = across(a, transposes[0]) @ across(b, transposes[1])
    return ad.compile([a, b], product, name="product", threads=args.threads, target=args.target)


def contenders(shape: tuple[int, ...], transposes: str, args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(args.dtype) for s in operands(shape, transposes))
    x = a if transposes[0] == "n" else a.swapaxes(-1, -2)
    y = b if transposes[1] == "n" else b.swapaxes(-1, -2)
    out = np.empty((*shape[:-3], shape[-3], shape[-1]), args.dtype)
    function = compiled(shape, transposes, args)
    step = function.bind(a, b)
    wanted, got = x.astype(np.float64) @ y.astype(np.float64), np.array(step())
    size = np.abs(x.astype(np.float64)) @ np.abs(y.astype(np.float64))
    if not (np.abs(got - wanted) <= 8 * np.finfo(args.dtype).eps * size).all():
        raise SystemExit(f"wrong result for {shape} {transposes}")
    found: dict[str, Callable[[], Any]] = {"adjoint": step}
    tools = args.tools.split(",")
    if "numpy" in tools:
        found["numpy"] = lambda: np.matmul(x, y, out=out)
    if "torch" in tools:
        try:
            import torch
        except ImportError:
            return found
        torch.set_num_threads(args.threads)
        tx, ty, place = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(out)
        found["torch"] = lambda: torch.matmul(tx, ty, out=place)
    return found


def best(step: Callable[[], Any], seconds: float) -> float:
    """Seconds of one call: the lower quartile of samples that each last long enough for the clock."""
    time.sleep(PAUSE)
    for _ in range(3):
        step()
    begin = time.perf_counter()
    step()
    repeat = max(1, round(SAMPLE / max(time.perf_counter() - begin, 1e-9)))
    samples = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(samples) < 5:
        begin = time.perf_counter()
        for _ in range(repeat):
            step()
        samples.append((time.perf_counter() - begin) / repeat)
    return sorted(samples)[len(samples) // 4]


def main() -> None:
    args = arguments()
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[: max(1, args.threads)])
    for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[pool] = str(args.threads)
    shapes = chosen(args.shapes)
    if args.compile_only:
        for shape in shapes:
            for transposes in args.transposes.split(","):
                compiled(shape, transposes, args)
        return
    from adjoint.runtime.peak import peak_flops

    peak = peak_flops(args.dtype, args.threads, args.target)
    print(f"{args.dtype}, {args.threads} thread(s), {args.target or 'this machine'}: peak {peak / 1e9:.0f} GFLOP/s")
    print(f"{'shape':>18} {'form':>4} {'µs':>10} {'GFLOP/s':>8} {'peak':>5}  faster than")
    rows = []
    for shape in shapes:
        for transposes in args.transposes.split(","):
            times = {name: best(step, args.seconds) for name, step in contenders(shape, transposes, args).items()}
            mine = times["adjoint"]
            flops = 2.0
            for n in shape:
                flops *= n
            ratios = {name: t / mine for name, t in times.items() if name != "adjoint"}
            rows.append({"shape": shape, "transposes": transposes, "dtype": args.dtype, "threads": args.threads,
                         "target": args.target, "seconds": times, "flops": flops / mine, "peak": flops / mine / peak,
                         "faster": ratios})
            told = "  ".join(f"{name} {ratio:6.2f}" for name, ratio in ratios.items())
            print(f"{'x'.join(map(str, shape)):>18} {transposes:>4} {mine * 1e6:10.2f} {flops / mine / 1e9:8.1f} "
                  f"{flops / mine / peak:5.2f}  {told}", flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"peak": peak, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
