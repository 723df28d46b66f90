"""Self-play against the bare runtime: network evaluations per second, in turns, on every core at once.

    python benchmarks/selfplay.py --config square8_2p --arch tiny --arch reference

Each process takes turns: self-play for a while, then the runtime alone on the last batch that self-play asked about.
The ratio is what search, rules and encoding leave of the runtime's speed. Rates are per second of the clock and
process; a process has a core of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ringrift.evaluators import make_evaluator
from ringrift.observe.machine import usable_cores
from ringrift.search import GumbelSettings, SelfplayPool, TreeMemory
from ringrift.search.positions import middle_positions


class Watched:
    """An evaluator that counts, keeps its last batch, and ends self-play when its time is up."""

    def __init__(self, config: str, network: Path) -> None:
        self.inner = make_evaluator(config, network)
        self.config, self.num_seats = config, self.inner.num_seats
        self.positions, self.calls, self.until = 0, 0, 0.0
        self.last: tuple[Any, Any] | None = None

    def evaluate(self, planes: Any, globals_: Any) -> Any:
        if time.perf_counter() > self.until:
            raise TimeoutError
        self.positions, self.calls = self.positions + len(planes), self.calls + 1
        if self.last is None or len(planes) >= len(self.last[0]):
            self.last = planes.copy(), globals_.copy()
        return self.inner.evaluate(planes, globals_)


def measure(job: tuple[str, Path, int, int, float, int]) -> list[tuple[float, float, float]]:
    """Turns of one process: evaluations per second in self-play, of the runtime alone, and the mean batch."""
    config, network, games, simulations, seconds, turns = job
    rows, starts = [], middle_positions(config, 16)
    for turn in range(turns + 1):
        watched, seeds = Watched(config, network), count(turn * 1000)
        pool = SelfplayPool(watched, GumbelSettings(simulations), games, memory=TreeMemory(cache_mib=64))
        for seed in range(games):
            pool.add(starts[seed % len(starts)], next(seeds))
        began = time.perf_counter()
        watched.until = began + seconds
        try:
            for _ in pool.play():
                pool.add(starts[next(seeds) % len(starts)], next(seeds))
        except TimeoutError:
            played = watched.positions / (time.perf_counter() - began)
        assert watched.last is not None
        planes, globals_ = watched.last
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            watched.inner.evaluate(planes, globals_)
            done += len(planes)
        rows.append((played, done / (time.perf_counter() - began), watched.positions / watched.calls))
    return rows[1:]  # the first turn warms up


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="square8_2p")
    parser.add_argument("--arch", action="append", help="repeat for more; default: tiny and reference")
    parser.add_argument("--games", type=int, default=64, help="at a time in each process")
    parser.add_argument("--simulations", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--processes", type=int, default=usable_cores())
    args = parser.parse_args()
    from ringrift.nets import export_onnx, initial_checkpoint, random_positions

    print(f"{args.config}, {args.processes} processes of {args.games} games, {args.simulations} simulations")
    for arch in args.arch or ["tiny", "reference"]:
        onnx, report = export_onnx(initial_checkpoint(arch, args.config), random_positions(args.config, 128))
        with tempfile.TemporaryDirectory() as folder:
            network = Path(folder, "network.onnx")
            network.write_bytes(onnx)
            job = (args.config, network, args.games, args.simulations, args.seconds, args.turns)
            with multiprocessing.get_context("spawn").Pool(args.processes) as processes:
                rows = np.array(processes.map(measure, [job] * args.processes, chunksize=1))  # [processes, turns, 3]
        played, bare, batch = np.median(rows, axis=(0, 1))
        ratios = rows[..., 0] / rows[..., 1]
        print(
            f"{arch} {report.precision}: {played:,.0f} evaluations/s a core in self-play, {bare:,.0f} of the runtime"
            f" alone, ratio {np.median(ratios):.3f} ({ratios.min():.3f}–{ratios.max():.3f}), mean batch {batch:.0f}"
        )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
