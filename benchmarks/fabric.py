"""The local fabric's speed: claims, events, wake-ups, and the longest transaction.

    python benchmarks/fabric.py [--seconds 5] [--processes 8] [--directory DIR] [--json]

*Claims*: as many processes as said claim jobs one by one, of five kinds with eight sets of needs, while more than
10,000 wait, first only that, then finishing each; the time of a claim includes waiting for the other processes.
*Events*: one process appends, durably, in batches of the given size. *Wakes*: from before another process appends an
event to after `log.wait` has returned. DIR decides which disk is measured; the default is the system's directory for
temporary files. A CPU second is one of all processes together.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np

from ringrift.fabric import Job, LocalFabric, LogEntry

WAITING = 10_000
BATCHES = (1, 100, 500)
WAKES = 200
CAPACITY = {"cores": 4.0, "memory": 2e9}


def jobs() -> Iterator[Job]:
    """Work of five kinds and eight sets of needs."""
    for n in count():
        needs = {"cores": 1 + n % 4, "memory": 1e9} | ({"gpus": 1.0} if n % 8 == 7 else {})
        yield Job(f"job {n}", f"kind {n % 5}", "hex8_2p", {"games": 100}, n % 7, needs)


def claim_for(directory: Path, seconds: float, finish: bool) -> dict[str, object]:
    """What one worker process measures."""
    fabric = LocalFabric(directory)
    claims, finishes = [], []
    fabric.jobs.claim("warm", {"cores": 4.0}, kinds=["none"])
    print("ready", flush=True)
    sys.stdin.readline()
    end, cpu = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        began = time.perf_counter()
        taken = fabric.jobs.claim("worker", CAPACITY)
        claims.append(time.perf_counter() - began)
        for job in taken if finish else ():
            began = time.perf_counter()
            fabric.jobs.finish(job, {"games": 100, "plies": 4000})
            finishes.append(time.perf_counter() - began)
    longest = fabric.database.longest
    fabric.close()
    return {"claims": claims, "finishes": finishes, "longest": longest, "cpu": time.process_time() - cpu}


def append_for(directory: Path) -> None:
    """Appends an event whenever a line is said, and answers when it began to."""
    fabric = LocalFabric(directory)
    print("ready", flush=True)
    for line in sys.stdin:
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        fabric.log.append([LogEntry("Woken", {}, line)])
        print(now, flush=True)


def start(part: str, directory: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, part, str(directory), *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def spread(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    p50, p99, most = np.percentile(seconds, [50, 99, 100]) * 1e3
    return {"p50_ms": float(p50), "p99_ms": float(p99), "max_ms": float(most)}


def measure_claims(directory: Path, processes: int, seconds: float, finish: bool) -> list[dict[str, object]]:
    fabric = LocalFabric(directory)
    source = jobs()
    workers = [start("claim", directory, seconds, int(finish)) for _ in range(processes)]
    for _ in range(max(WAITING, int(2500 * seconds) + WAITING) // 200):
        fabric.jobs.put(list(islice(source, 200)))
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    found = [json.loads(worker.communicate()[0]) for worker in workers]
    longest = max(fabric.database.longest, *(one["longest"] for one in found))
    fabric.close()
    rows: list[dict[str, object]] = []
    for what in ("claims", "finishes") if finish else ("claims",):
        times = [each for one in found for each in one[what]]
        row = {
            "what": f"{what}, {processes} processes{' that also finish' * finish}",
            "per_second": len(times) / seconds,
            "per_cpu_second": len(times) / sum(one["cpu"] for one in found),
        }
        rows.append({**row, **spread(times)})
    return [*rows, {"what": "  longest transaction, 200 jobs being put at a time", "max_ms": longest * 1e3}]


def measure_events(directory: Path, seconds: float) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for batch in BATCHES:
        fabric = LocalFabric(directory)
        times, cpu, number = [], time.process_time(), count()
        end = time.perf_counter() + seconds / len(BATCHES)
        while time.perf_counter() < end:
            payload = {
                "job": "selfplay/hex8_2p/12",
                "batch": "hex8_2p/12/",
                "games": 100,
                "plies": 4000,
                "seconds": 12.5,
            }
            entries = [
                LogEntry("SelfplayFinished", payload, f"{batch}/{next(number)}", "hex8_2p", 1) for _ in range(batch)
            ]
            began = time.perf_counter()
            fabric.log.append(entries)
            times.append(time.perf_counter() - began)
        done = len(times) * batch
        rate = {"per_second": done / sum(times), "per_cpu_second": done / (time.process_time() - cpu)}
        rows.append({"what": f"events appended, batches of {batch}", **rate, **spread(times)})
        rows.append({"what": "  longest transaction", "max_ms": fabric.database.longest * 1e3})
        fabric.close()
    return rows


def measure_wakes(directory: Path) -> list[dict[str, object]]:
    fabric = LocalFabric(directory)
    other = start("append", directory)
    assert other.stdin is not None
    assert other.stdout is not None
    times = []
    for number in range(WAKES):
        last = fabric.log.last()
        time.sleep(0.0137 * (number % 5))
        other.stdin.write(f"wake {number}\n")
        other.stdin.flush()
        assert fabric.log.wait(last, 10)
        woken = time.clock_gettime(time.CLOCK_MONOTONIC)
        times.append(woken - float(other.stdout.readline()))
    other.communicate()
    fabric.close()
    return [{"what": "wake of another process", **spread(times)}]


def main() -> None:
    if sys.argv[1:2] == ["claim"]:
        print(json.dumps(claim_for(Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4] == "1")))
        return
    if sys.argv[1:2] == ["append"]:
        append_for(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        rows = [
            *measure_claims(Path(directory) / "claims", given.processes, given.seconds, finish=False),
            *measure_claims(Path(directory) / "work", given.processes, given.seconds, finish=True),
            *measure_events(Path(directory) / "events", given.seconds),
            *measure_wakes(Path(directory) / "wakes"),
        ]
    if given.json:
        print(json.dumps(rows, indent=1))
        return
    names = ("per_second", "per_cpu_second", "p50_ms", "p99_ms", "max_ms")
    print("|", " | ".join(("what", *names)), "|\n|---|" + "---|" * len(names))
    for row in rows:
        cells = [f"{row[name]:,.1f}" if name in row else "" for name in names]
        print("|", " | ".join((str(row["what"]), *cells)), "|")


if __name__ == "__main__":
    main()
