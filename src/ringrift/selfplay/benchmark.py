"""How many games at a time, in how many processes, a network plays fastest on this machine: measured once and kept.

What is measured is self-play itself, search and rules included, for a stretch of each combination.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ringrift import __version__
from ringrift.errors import CorruptBlob, JobError
from ringrift.evaluators import Evaluator, ModelMetadata, make_evaluator
from ringrift.fabric import write_atomically
from ringrift.observe.machine import cpu_model, usable_cores
from ringrift.players import PlayerChoice
from ringrift.search import GumbelSettings, SelfplayPool
from ringrift.search.positions import middle_positions
from ringrift.selfplay.settings import CONCURRENT, PlaySettings
from ringrift.texts import read_json

BATCHES = (8, 16, 32, 64, 128, 256)
NEAR = 0.97  #: of the best rate: among these, the fewest processes and games are recommended


@dataclass(frozen=True)
class Stretch:
    """Self-play for a while with one combination."""

    processes: int
    concurrent: int
    """games at a time in each process"""
    evaluations_per_s: float
    """by the clock, of all processes together"""
    network_share: float
    """of the time, spent in the network; the rest is search and rules"""
    mean_batch: float
    """positions in a call of the network"""


@dataclass(frozen=True)
class Measured:
    """What is kept of a benchmark, and what it holds for."""

    config: str
    network: str
    """architecture, arithmetic and kind of file"""
    processor: str
    cores: int
    release: str
    stretches: tuple[Stretch, ...] = ()

    @property
    def best(self) -> Stretch:
        """The recommended combination."""
        enough = NEAR * max(stretch.evaluations_per_s for stretch in self.stretches)
        good = [stretch for stretch in self.stretches if stretch.evaluations_per_s >= enough]
        return min(good, key=lambda stretch: (stretch.processes, stretch.concurrent))

    def path(self) -> Path:
        """The file that it is kept in."""
        known = json.dumps(asdict(replace(self, stretches=())), sort_keys=True)
        return cache_directory() / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.json"

    def keep(self) -> Path:
        """Writes the file."""
        self.path().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(), json.dumps(asdict(self), indent=1).encode())
        return self.path()


def cache_directory() -> Path:
    """Where benchmarks are kept: `$XDG_CACHE_HOME/ringrift/benchmark`, by default below `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ringrift" / "benchmark"


def this_machine(config: str, network: Path) -> Measured:
    """What a benchmark of this network on this machine would be kept under."""
    metadata: ModelMetadata = make_evaluator(config, network).metadata  # type: ignore[attr-defined]
    name = f"{metadata.architecture} {metadata.precision} {network.suffix}"
    return Measured(config, name, cpu_model(), usable_cores(), __version__)


def measured(config: str, network: Path) -> Measured | None:
    """The benchmark that was kept for networks like this one on machines like this one. Raises: CorruptBlob."""
    if not cache_directory().is_dir():
        return None
    wanted = this_machine(config, network)
    path = wanted.path()
    if not path.exists():
        return None
    try:
        found = read_json(path.read_bytes())
        return replace(wanted, stretches=tuple(Stretch(**stretch) for stretch in found["stretches"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptBlob(f"{path} is no benchmark ({error!r}): delete it, then run `ringrift benchmark`") from error


def settings_here(settings: PlaySettings, players: Sequence[PlayerChoice]) -> PlaySettings:
    """The settings with what they leave open (0) as measured for the players' network, or at its default."""
    if settings.processes and settings.concurrent:
        return settings
    networks = [(player.config, player.network) for player in players if player.network]
    known = measured(*networks[0]) if networks else None
    return replace(
        settings,
        processes=settings.processes or (known.best.processes if known else 0),
        concurrent=settings.concurrent or (known.best.concurrent if known else CONCURRENT),
    )


def benchmark(
    config: str,
    network: Path,
    *,
    batches: Sequence[int] = BATCHES,
    cores: int = 0,
    seconds: float = 12.0,
    simulations: int = 16,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> Measured:
    """Measures about so many seconds in all; `progress` gets the stretches done and their number.

    Batches that take longer than a stretch are left out. `cores`: most processes, 0 for every usable core.
    """
    subject = this_machine(config, network)
    most = cores or subject.cores
    numbers = sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)})
    each = seconds / (len(numbers) * len(batches))
    stretches: list[Stretch] = []
    with _workers(config, network, simulations, most) as workers:
        for step, processes in enumerate(numbers):
            for number, concurrent in enumerate(batches):
                for worker in workers[:processes]:
                    worker.send((concurrent, each))
                answers = np.array([worker.recv() for worker in workers[:processes]])
                positions, calls, spent, inside = answers.sum(0)
                rate, share, mean = (answers[:, 0] / answers[:, 2]).sum(), inside / spent, positions / calls
                stretches.append(
                    Stretch(processes, concurrent, round(rate), round(float(share), 3), round(float(mean), 1))
                )
                progress(step * len(batches) + number + 1, len(numbers) * len(batches))
                if spent > 2 * each * processes:
                    break
    return replace(subject, stretches=tuple(stretches))


@contextmanager
def _workers(config: str, network: Path, simulations: int, number: int) -> Iterator[list[Connection]]:
    """Processes that wait for (games, seconds) and answer as `stretch`."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(number)]
    started = [
        context.Process(target=_serve, args=(theirs, config, network, simulations), daemon=True) for _, theirs in pairs
    ]
    for worker, (_, theirs) in zip(started, pairs, strict=True):
        worker.start()
        theirs.close()  # so that a worker's death is an EOFError here
    try:
        yield [ours for ours, _ in pairs]
    except EOFError as error:
        raise JobError("a process that measured ended: see above, and start again") from error
    finally:
        for worker in started:
            worker.terminate()
            worker.join()


def _serve(connection: Connection, config: str, network: Path, simulations: int) -> None:
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            concurrent, seconds = connection.recv()
            connection.send(stretch(make_evaluator(config, network), concurrent, seconds, simulations))


class _TimeIsUp(Exception):
    """Ends a stretch, between two calls of the network."""


class _Stopwatch:
    """An evaluator that counts what passes through another one, until its time is up."""

    def __init__(self, evaluator: Evaluator, seconds: float) -> None:
        self.config, self.num_seats = evaluator.config, evaluator.num_seats
        self._evaluator, self._seconds = evaluator, seconds
        self.positions = self.calls = 0
        self.began = self.inside = 0.0

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if not self.began:  # the first call makes the runtime's buffers
            self._evaluator.evaluate(planes, globals_)
            self.began = time.perf_counter()
        elif time.perf_counter() - self.began > self._seconds:
            raise _TimeIsUp
        start = time.perf_counter()
        answer = self._evaluator.evaluate(planes, globals_)
        self.inside += time.perf_counter() - start
        self.positions, self.calls = self.positions + len(planes), self.calls + 1
        return answer


def stretch(evaluator: Evaluator, concurrent: int, seconds: float, simulations: int) -> tuple[int, int, float, float]:
    """Self-play of `concurrent` games at a time from mid-game positions: positions evaluated, calls of the network,
    seconds, and seconds inside the network."""
    watch = _Stopwatch(evaluator, seconds)
    pool = SelfplayPool(watch, GumbelSettings(simulations=simulations), concurrent, keep_search=False)
    starts, seeds = middle_positions(evaluator.config, 16), count()

    def add() -> None:
        seed = next(seeds)
        pool.add(starts[seed % len(starts)], seed)

    for _ in range(concurrent):
        add()
    with suppress(_TimeIsUp):
        for _ in pool.play():
            add()
    return watch.positions, watch.calls, time.perf_counter() - watch.began, watch.inside
