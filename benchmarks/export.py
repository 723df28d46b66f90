"""Samples a second and core of the exporter, stage by stage, beside plain Python (the tests' oracle) in the same run.

python benchmarks/export.py [--config CONFIG]… [--games N] [--json]

Games are random, with made-up policies over the playable moves of two of three decisions. Every figure is CPU time, the
least of several passes; `store` is the whole export of a run: database, records, samples, shard, hash, disk.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from sample_oracle import expected, finished

from ringrift.rules import CONFIGS, Record
from ringrift.store import GameStore, RunDirectory
from ringrift.store.games import StoredGame
from ringrift.store.samples import ExportSettings, export, make_samples, read_game
from ringrift.store.validate import validate


def seconds(work: Callable[[], object], passes: int = 5) -> float:
    """CPU seconds of the fastest pass."""
    took = []
    for _ in range(passes):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return min(took)


def measure(config: str, games: int) -> dict[str, float | str]:
    """The row of a config."""
    records = [finished(seed, config, None, "surprised") for seed in range(games)]
    stored = [StoredGame(n, str(n), record.to_bytes()) for n, record in enumerate(records, 1)]
    read = [read_game(game) for game in stored]
    samples, symmetric = make_samples(config, read, ExportSettings())
    count = len(samples)
    few = [(game.id, game.record) for game in read[: max(1, games // 20)]]
    slow = sum(game.count for game in read[: len(few)])
    with tempfile.TemporaryDirectory() as folder, RunDirectory.create(Path(folder, "run")) as run:
        GameStore(run).add_many([(game.record, game.work_id) for game in stored])
        validate(run)
        whole = seconds(lambda: export(run, config), 1)
    return {
        "config": config,
        "samples": count,
        "symmetric": round(symmetric / count, 4),
        "bytes": round(len(samples.to_bytes()) / count),
        "core": round(count / seconds(lambda: make_samples(config, read, ExportSettings()))),
        "unturned": round(count / seconds(lambda: make_samples(config, read, ExportSettings(symmetries=False)))),
        "read": round(count / seconds(lambda: [Record.from_bytes(game.record) for game in stored])),
        "file": round(count / seconds(samples.to_bytes)),
        "store": round(count / whole),
        "python": round(slow / seconds(lambda: expected(config, few, ExportSettings()), 1)),
    }


def main() -> None:
    """Prints a row for each config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", action="append", choices=CONFIGS)
    parser.add_argument("--games", type=int, default=200, help="of small boards; a tenth of large ones")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for config in given.config or CONFIGS:
        rows.append(measure(config, given.games if "8_" in config else max(2, given.games // 10)))
        if not given.json:
            row = rows[-1]
            if len(rows) == 1:
                print("  ".join(f"{name:>12}" for name in row))
            print("  ".join(f"{value:>12}" for value in row.values()), flush=True)
    if given.json:
        json.dump({"rows": rows}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
