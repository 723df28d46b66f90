"""What a machine without ringrift is asked to run: `python3 - PLACE < far_ls.py` prints what is stored there, as JSON.

It needs Python 3.8 with its own library alone, changes nothing, copies nothing, and leaves nothing beside what it
reads.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

#: A table is read in 10 to 50 steps a row, of 10 bytes or more, a few times over; SQLite takes 100 million in a second.
STEPS, LEAST_STEPS, STEPS_A_BYTE = 10_000, 200_000_000, 100
LONGEST, HEAP = 1 << 25, 1 << 28  #: bytes of one value, and of all that SQLite holds
BOARDS = {"sq8": "square8", "sq19": "square19", "hex": "hexagonal"}
RUN = """
SELECT config, sum(state <> 'quarantined') AS games,
    sum(CASE WHEN state <> 'quarantined' THEN plies ELSE 0 END) AS plies,
    sum(state = 'received') AS waiting, sum(state = 'quarantined') AS quarantined, max(added) AS newest, {quality},
    (SELECT coalesce(sum(samples), 0) FROM shards WHERE shards.config = games.config) AS samples,
    group_concat(DISTINCT substr(played_by, 1, instr(played_by || ':', ':') - 1)) AS source FROM games GROUP BY config
"""
EARLIER = """
SELECT board_type, num_players, count(*) AS games, coalesce(sum(total_moves), 0) AS plies, {quality}, {newest}, {source}
FROM games GROUP BY board_type, num_players
"""


@contextmanager
def opened(path: Path, *tables: str) -> Iterator[sqlite3.Connection]:
    """To read these tables, in work that a file of its size can need. Raises sqlite3.Error, also where they are no
    tables that store their rows, and where it could be read only by writing."""
    beside = (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))
    left = [side.name for side in beside if side.is_file() and side.stat().st_size]
    with path.open("rb") as file:
        logged = file.read(20)[18:] == b"\2\2"
    if logged and left and not path.with_name(path.name + "-shm").exists():
        raise sqlite3.OperationalError(f"{left[0]} has changes that were not taken in: let its own program open it")
    # A database with a log is as it is while nothing is beside it; to look for a log would make one.
    uri = path.resolve().as_uri() + ("?mode=ro&immutable=1" if logged and not left else "?mode=ro")
    budget = [LEAST_STEPS + STEPS_A_BYTE * path.stat().st_size]

    def step() -> int:
        budget[0] -= STEPS
        return budget[0] < 0

    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda text: text.decode(errors="replace")
        connection.execute("PRAGMA trusted_schema = OFF")
        if hasattr(connection, "setlimit"):  # from Python 3.11 on
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        connection.set_progress_handler(step, STEPS)
        try:
            stored = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
            missing = set(tables) - {row[0] for row in connection.execute(stored)}
            if missing:
                raise sqlite3.DatabaseError(f"it has no table {sorted(missing)[0]}; views are not read")
            yield connection
        except sqlite3.OperationalError as error:
            if budget[0] < 0:
                raise sqlite3.OperationalError("it takes more work than a file of its size can need") from error
            if left:
                raise sqlite3.OperationalError(f"{error}; {left[0]} has changes that were not taken in") from error
            raise


def columns(connection: sqlite3.Connection) -> set[str]:
    """Names of the columns of the table of games."""
    return {row[1] for row in connection.execute("PRAGMA table_info(games)")}


def hours(newest: Any, path: Path) -> float:
    """Since a time in seconds or ISO form; else since the file was written."""
    if isinstance(newest, str):
        try:
            newest = time.mktime(time.strptime(newest[:19].replace("T", " "), "%Y-%m-%d %H:%M:%S")) - time.timezone
        except ValueError:
            newest = None
    if not isinstance(newest, (int, float)):
        newest = None
    if newest and newest > 1e11:  # milliseconds
        newest /= 1000
    return max(0.0, (time.time() - (newest or path.stat().st_mtime)) / 3600)


def run_rows(path: Path) -> Iterator[dict[str, Any]]:
    """A row for each config of a run directory."""
    database = path / "games.db"
    with opened(database, "games", "shards") as connection:
        quality = "avg(quality) AS quality" if "quality" in columns(connection) else "NULL AS quality"
        for row in connection.execute(RUN.format(quality=quality)):
            about = dict(row)
            about["age_hours"] = hours(about.pop("newest"), database)
            yield dict(about, place=str(path), kind="run")


def database_rows(path: Path) -> Iterator[dict[str, Any]]:
    """A row for each config of a database of the earlier service."""
    with opened(path, "games") as connection:
        there = columns(connection)
        if not {"board_type", "num_players", "total_moves"} <= there:
            raise sqlite3.DatabaseError("it has no table of games with board_type, num_players and total_moves")
        parts = {
            "quality": "avg(quality_score) AS quality" if "quality_score" in there else "NULL AS quality",
            "newest": "max(created_at) AS newest" if "created_at" in there else "NULL AS newest",
            "source": "group_concat(DISTINCT source) AS source" if "source" in there else "'' AS source",
        }
        for row in connection.execute(EARLIER.format(**parts)):
            about = dict(row)
            board = str(about.pop("board_type")).lower().rpartition(".")[2]
            board = BOARDS.get(board, board)
            about.update(config=f"{board}_{about.pop('num_players')}p", source=about["source"] or "")
            about["age_hours"] = hours(about.pop("newest"), path)
            yield dict(about, place=str(path), kind="database")


def is_database(path: Path) -> bool:
    """Whether it is an SQLite database, by its name and first bytes."""
    if path.suffix not in (".db", ".sqlite", ".sqlite3") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def walk(
    place: Path, wrong: Callable[[OSError], object] = lambda error: None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`, in order, and into what links lead to, each directory once; `wrong` gets what cannot be listed."""
    seen = set()
    for name, inner, files in os.walk(str(place), onerror=wrong, followlinks=True):
        found = Path(name).stat()
        if (found.st_dev, found.st_ino) in seen:
            del inner[:]
            continue
        seen.add((found.st_dev, found.st_ino))
        inner.sort()
        yield Path(name), inner, sorted(files)


def stores(place: Path) -> Iterator[tuple[Path, Callable[[Path], Iterator[dict[str, Any]]]]]:
    """(path, rows) of everything; run directories are not looked into."""
    if is_database(place):
        yield place, database_rows
    for here, inner, files in walk(place):
        if "run.json" in files:
            del inner[:]
            yield here, run_rows
            continue
        for path in (here / name for name in files):
            if is_database(path):
                yield path, database_rows


def main(place: Path) -> None:
    """Prints it."""
    found: dict[str, Any] = {"there": place.exists(), "rows": [], "unreadable": []}
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA hard_heap_limit = {HEAP}")  # of this process
    for path, rows in stores(place):
        try:
            found["rows"].extend(rows(path))
        except (sqlite3.Error, OSError, MemoryError) as error:
            found["unreadable"].append([str(path), str(error) or "it needs more memory than tables of games can"])
    print(json.dumps(found, default=repr))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
