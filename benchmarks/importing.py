"""The import of the earlier service's games: games per second, reading, parsing, playing again and storing included.

    python benchmarks/importing.py --games 2000 --processes 1 --processes 2 [--example FILE.db.gz]

The games are random ones to their end (about 130 plies on square8), written as the earlier service wrote them, every
move about 640 bytes of JSON. With an example database its games are repeated under other ids instead; they are the same
games, so that one of each is stored. Times are of the clock, and in brackets CPU seconds of all processes together.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from earlier_games import random_game, write_database

from ringrift.earlier.importing import import_files
from ringrift.store import GameStore, RunDirectory

NAMED = ("games", "game_moves", "game_players", "game_initial_state")


def repeated(example: Path, path: Path, games: int) -> None:
    """The games of the example again and again, under other ids, without the histories of states."""
    with gzip.open(example) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript("DELETE FROM game_history_entries; DELETE FROM game_state_snapshots; BEGIN")
    (there,) = connection.execute("SELECT count(*) FROM games").fetchone()
    tables = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in NAMED}
    for copy in range(1, games // there):
        for table in ("game_moves", "game_players", "game_initial_state", "games"):  # as a trigger wants it
            columns = ", ".join("game_id || '-' || ?1" if name == "game_id" else name for name in tables[table])
            connection.execute(f"INSERT INTO {table} SELECT {columns} FROM {table} WHERE length(game_id) = 36", [copy])
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="square8_2p")
    parser.add_argument("--games", type=int, default=2000)
    parser.add_argument("--processes", type=int, action="append")
    parser.add_argument("--example", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "games.db"
        if given.example:
            repeated(given.example, path, given.games)
        else:
            write_database(path, (random_game(given.config, seed) for seed in range(given.games)))
        for processes in given.processes or [1, 2]:
            with RunDirectory.create(Path(directory) / f"run-{processes}") as run:
                began, before = time.perf_counter(), os.times()
                (report,) = import_files([path], GameStore(run), processes=processes)
                seconds, after = time.perf_counter() - began, os.times()
            cpu = sum(after[:4]) - sum(before[:4])
            of_each = f"{report.plies / report.games:.0f} plies in {seconds:.2f} s ({cpu:.2f} s)"
            rates = f"{report.games / seconds:,.0f} games/s, {report.games / cpu:,.0f} per CPU second"
            print(f"{given.config}, {processes} processes: {report.games} games of {of_each}: {rates}")
            print(f"    {report.imported} new, {report.known} known, {report.quarantined} quarantined")


if __name__ == "__main__":
    main()
