"""Events a second on the local fabric, on one core: published one by one, appended in batches, delivered to effects.

    python benchmarks/events.py [--events 20000] [--batch 250] [--directory DIR] [--json]

Durable: each append and each cursor is on the disk before the next. Delivered events are read, checked against their
type, handed to an effect and acknowledged, in order for each of four keys; `log` writes each as a line of JSON.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ringrift.fabric import LocalFabric, LogEntry
from ringrift.kernel.bus import Bus
from ringrift.kernel.effects import Delivery, Effect, deliver
from ringrift.observe.logs import writing
from ringrift.pipeline.effects import EFFECTS
from ringrift.pipeline.events import GamesValidated
from ringrift.pipeline.service import Context

SINGLES = 500


def rate(number: int, do: Callable[[], object]) -> dict[str, float]:
    """Events a second, by wall clock and by CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    do()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"events": number, "per_second": number / wall, "per_cpu_second": number / cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: a temporary directory")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        found = measure(Path(directory), given.events, given.batch)
    if given.json:
        print(json.dumps(found, indent=1))
        return
    print("| what | events | per second | per CPU second |\n|---|---|---|---|")
    for what, row in found.items():
        print(f"| {what} | {row['events']:.0f} | {row['per_second']:,.0f} | {row['per_cpu_second']:,.0f} |")


def measure(directory: Path, events: int, batch: int) -> dict[str, dict[str, float]]:
    """Each figure by what was done."""
    fabric = LocalFabric(directory)
    run: Any = SimpleNamespace(fabric=fabric)
    ctx = Context(run, Bus(fabric.log, "bench"))
    seen = [0]

    def count(_: Delivery, __: Context) -> None:
        seen[0] += 1

    def publish() -> None:
        for number in range(SINGLES):
            ctx.publish(GamesValidated(job=f"single-{number}", valid=number, quarantined=0))

    entries = [
        LogEntry(
            "GamesValidated",
            {"config": f"c{n % 4}", "job": f"j{n}", "valid": n, "quarantined": 0},
            f"e{n}",
            f"c{n % 4}",
        )
        for n in range(events)
    ]

    def append() -> None:
        for at in range(0, events, batch):
            fabric.log.append(entries[at : at + batch])

    def drain(effect: Effect) -> Callable[[], None]:
        def do() -> None:
            while deliver(effect, ctx):
                pass

        return do

    try:
        found = {"published one by one": rate(SINGLES, publish), f"appended, {batch} at a time": rate(events, append)}
        total = fabric.log.last()
        found["delivered to an effect"] = rate(total, drain(Effect("count", count, (GamesValidated,))))
        assert seen[0] == total
        with writing(directory / "log.jsonl", 1 << 30):
            found["delivered to `log`"] = rate(total, drain(EFFECTS[0]))
    finally:
        fabric.close()
    return found


if __name__ == "__main__":
    main()
