"""A producer ten times too fast, held back by the gauge of backpressure: what of it grows?

    python benchmarks/overload.py [--seconds 120] [--directory DIR] [--json]

On the local fabric, under a supervisor: one service puts jobs and publishes an event for each, as fast as its level
lets it (LOW all, MEDIUM half, HIGH a tenth, CRITICAL none); another does a tenth of that; an effect takes the events; a
third forgets what is over, as the janitor does. Prints waiting jobs, events not delivered, memory and disk as they go.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import psutil

from ringrift.fabric import Job, JobState, LocalFabric
from ringrift.kernel.bus import Bus
from ringrift.kernel.effects import Effect, purge_events
from ringrift.kernel.service import Level, Profile, Service, Step
from ringrift.pipeline.events import GamesValidated
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import SupervisionSettings
from ringrift.pipeline.table import supervisor_of

EVERY = 0.1  #: seconds between two ticks of producer and consumer
FAST, SLOW = 100, 10  #: jobs each puts or does in one
SHARE = {Level.LOW: 1.0, Level.MEDIUM: 0.5, Level.HIGH: 0.1, Level.CRITICAL: 0.0}
FULL_JOBS = 5000
KEEP_SECONDS = 20.0
PAYLOAD = {"what": "x" * 500}
ROWS = 12


def produce(ctx: Context) -> Iterator[Step]:
    number = int(FAST * SHARE[ctx.level()])
    began = ctx.state.setdefault("made", 0)
    assert isinstance(began, int)

    def do() -> None:
        ctx.run.fabric.jobs.put([Job(f"job/{began + n}", "work", payload=PAYLOAD) for n in range(number)])
        for n in range(number // 10):
            ctx.publish(GamesValidated(job=f"batch/{began + n}", valid=1, quarantined=0))
        ctx.state["made"] = began + number

    if number:
        yield Step(f"put {number} jobs", ctx.level(), do)


def consume(ctx: Context) -> Iterator[Step]:
    def do() -> None:
        for job in ctx.run.fabric.jobs.claim("consumer", {}, limit=SLOW):
            ctx.run.fabric.jobs.finish(job, {})

    yield Step(f"do {SLOW} jobs", "they wait", do)


def forget(ctx: Context) -> Iterator[Step]:
    before = ctx.clock.now() - KEEP_SECONDS
    yield Step("forget done jobs", "they are over", lambda: ctx.run.fabric.jobs.purge(before))
    yield Step("forget events", "they were delivered", lambda: purge_events(ctx.run.fabric, EFFECTS, before))


EFFECTS = (Effect("count", lambda delivery, ctx: delivery, (GamesValidated,)),)
SERVICES = (
    Service("produce", produce, EVERY),
    Service("consume", consume, EVERY),
    Service("forget", forget, 5.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: a temporary directory")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        rows = measure(Path(directory), given.seconds)
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


def measure(directory: Path, seconds: float) -> list[dict[str, object]]:
    """A row at each of `ROWS` equal steps."""
    fabric = LocalFabric(directory)
    run: Any = SimpleNamespace(fabric=fabric, path=directory)
    settings = SupervisionSettings(full_jobs=FULL_JOBS, disk_clean=0.98, disk_stop=0.99)
    ctx = Context(run, Bus(fabric.log, "bench"), settings)
    supervisor = supervisor_of(SERVICES, ctx, Profile.LAPTOP, settings, EFFECTS)
    rows: list[dict[str, object]] = []

    def look() -> None:
        began = time.monotonic()
        for step in range(1, ROWS + 1):
            time.sleep(max(0.0, began + step * seconds / ROWS - time.monotonic()))
            counts, seen = fabric.jobs.counts(), supervisor.snapshot()
            memory = psutil.Process().memory_info().rss
            size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
            rows.append({
                "second": round(time.monotonic() - began), "level": seen.pressure.level.value,
                "put": ctx.state.get("made", 0), "waiting": counts.get(("work", "", JobState.WAITING), 0),
                "kept": sum(counts.values()), "events not delivered": seen.measured.depths.get("count", 0),
                "memory MB": round(memory / 1e6, 1), "disk MB": round(size / 1e6, 1),
            })  # fmt: skip
        supervisor.stop("the time is over")

    watcher = threading.Thread(target=look)
    watcher.start()
    anyio.run(supervisor.run)
    watcher.join()
    fabric.close()
    return rows


if __name__ == "__main__":
    main()
