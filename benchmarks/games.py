"""The store of games: added and judged games per second, and what a store of many games costs to open and ask.

    python benchmarks/games.py [--batch 500] [--add 20000] [--many 1000000] [--directory DIR] [--json]

*Added*: records of real random games on square8 are added in batches by one process, parsing included, each batch one
durable transaction, while another process reads all the time; *read*: how many games that one read meanwhile. *Many*:
so many games, made in SQL from one record (not sound, and content made up), half of them in shards; then the database
is opened afresh, and asked. Times are of the clock, of one process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from random_play import random_game

from ringrift.fabric import Database
from ringrift.rules import Record
from ringrift.store import GameStore, RunDirectory
from ringrift.store.games import GameRow
from ringrift.store.provenance import Provenance
from ringrift.store.schema import FUNCTIONS, SCHEMA

CONFIG = "square8_2p"
READER = """
import sys
import time
from ringrift.store import GameStore, RunDirectory
store, read = GameStore(RunDirectory.open(sys.argv[1])), 0
print(flush=True)
while True:
    for game in store.iter_waiting():
        read += 1
        if read % 1000 == 0:
            print(read, flush=True)
    time.sleep(0.05)
"""


def records(number: int) -> list[bytes]:
    """Different games: 200 random ones, with numbers after their moves."""
    played = [Record.from_game(random_game(CONFIG, seed=seed), seed=seed, players=("a", "b")) for seed in range(200)]
    found = []
    for i in range(number):
        one = played[i % len(played)]
        moves = np.append(one.moves, np.array([i], np.uint32))
        found.append(Record(**{**vars(one), "moves": moves}).to_bytes())
    return found


def timed(what: Callable[[], object], times: int = 5) -> float:
    """Milliseconds of the median call."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        spent.append(time.perf_counter() - began)
    return round(1e3 * sorted(spent)[times // 2], 2)


def added(directory: Path, number: int, batch: int) -> dict[str, float]:
    games = [(content, f"work/{i:08}") for i, content in enumerate(records(number))]
    with RunDirectory.create(directory) as run:
        store = GameStore(run)
        command = [sys.executable, "-c", READER, str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()
            began, before = time.perf_counter(), time.process_time()
            for start in range(0, number, batch):
                store.add_many(games[start : start + batch])
            seconds, cpu = time.perf_counter() - began, time.process_time() - before
            reader.terminate()
            read = [int(line) for line in reader.stdout.read().split()]
        began = time.perf_counter()
        for start in range(0, number, batch):
            store.judge([(id_, "bad") for id_ in range(start + 1, min(number, start + batch) + 1)])
        judged = time.perf_counter() - began
    return {
        "added_per_s": round(number / seconds),
        "added_per_cpu_second": round(number / cpu),
        "read_meanwhile": max(read, default=0),
        "quarantined_per_s": round(number / judged),
    }


def many(directory: Path, number: int) -> dict[str, float]:
    RunDirectory.create(directory).close()
    row = GameRow.of(Record.from_bytes(content := records(1)[0]), content, "", Provenance("host:1:a")).judged(None)
    columns = ", ".join(GameRow._fields)
    values = ", ".join("?" for _ in GameRow._fields)
    began = time.perf_counter()
    database = Database(directory / "games.db", SCHEMA, FUNCTIONS)
    for start in range(0, number, 50_000):
        with database.transaction() as connection:
            if not start:
                connection.execute("INSERT INTO shards VALUES (1, ?, 'a', 1, 1, 'x', 0)", [CONFIG])
            connection.executemany(
                f"INSERT INTO games ({columns}) VALUES ({values})",
                (
                    row._replace(work_id=f"w/{i:08}", content=f"{i:032x}", worker=f"host:{i // 1000}:a")
                    for i in range(start, min(number, start + 50_000))
                ),
            )
            connection.execute("UPDATE games SET shard = 1 WHERE id > ? AND id % 2", [start])
    database.close()
    found: dict[str, float] = {"made_seconds": round(time.perf_counter() - began, 1)}
    found["bytes_per_game"] = round((directory / "games.db").stat().st_size / number)
    found["open_ms"] = timed(lambda: RunDirectory.open(directory).close())
    with RunDirectory.open(directory) as run:
        store = GameStore(run)
        asked: dict[str, Callable[[], object]] = {
            "counts_ms": store.counts,
            "flow_ms": lambda: store.flow(CONFIG),
            "first_waiting_ms": lambda: next(store.iter_waiting(), None),
            "unexported_page_ms": lambda: next(store.iter_valid(CONFIG, number // 2, unexported=True)),
            "valid_page_ms": lambda: next(store.iter_valid(CONFIG, number // 2)),
            "find_ms": lambda: store.find(f"w/{number // 2:08}"),
            "quarantined_ms": store.quarantined,
        }
        return found | {name: timed(what) for name, what in asked.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--add", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        found = added(Path(directory) / "added", given.add, given.batch)
        if given.many:
            found |= many(Path(directory) / "many", given.many)
    print(json.dumps(found) if given.json else "\n".join(f"{name:20} {value:,}" for name, value in found.items()))


if __name__ == "__main__":
    main()
