"""What a machine without ringrift is asked to run: `python3 - PLACE < far_ls.py` prints what is stored there, as JSON.

It needs Python 3.8 with its own library alone, reads only, and copies nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

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


def opened(path: Path) -> closing[sqlite3.Connection]:
    """Read only; a run's database with its log, or as it is where there is none, and none can be made."""
    connection = sqlite3.connect(path.resolve().as_uri() + "?mode=ro", uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        log = path.with_name(path.name + "-wal")
        if not isinstance(error, sqlite3.OperationalError) or (log.exists() and log.stat().st_size):
            raise
        connection = sqlite3.connect(path.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)
    connection.row_factory = sqlite3.Row
    return closing(connection)


def columns(connection: sqlite3.Connection) -> set[str]:
    """Of the table of games."""
    return {row[1] for row in connection.execute("PRAGMA table_info(games)")}


def hours(newest: Any, path: Path) -> float:
    """Since a time in seconds or ISO form; else since the file was written."""
    if isinstance(newest, str):
        try:
            newest = time.mktime(time.strptime(newest[:19].replace("T", " "), "%Y-%m-%d %H:%M:%S")) - time.timezone
        except ValueError:
            newest = None
    if newest and newest > 1e11:  # milliseconds
        newest /= 1000
    return max(0.0, (time.time() - (newest or path.stat().st_mtime)) / 3600)


def run_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Of a run directory."""
    database = path / "games.db"
    with opened(database) as connection:
        quality = "avg(quality) AS quality" if "quality" in columns(connection) else "NULL AS quality"
        for row in connection.execute(RUN.format(quality=quality)):
            about = dict(row)
            about["age_hours"] = hours(about.pop("newest"), database)
            yield dict(about, place=str(path), kind="run")


def database_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Of a database of the earlier service."""
    with opened(path) as connection:
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
    """By its name and first bytes."""
    if path.suffix not in (".db", ".sqlite", ".sqlite3") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def stores(place: Path) -> Iterator[tuple[Path, Callable[[Path], Iterator[dict[str, Any]]]]]:
    """(path, rows) of everything; run directories are not looked into."""
    if is_database(place):
        yield place, database_rows
    for here, inner, files in os.walk(str(place)):
        if "run.json" in files:
            del inner[:]
            yield Path(here), run_rows
            continue
        inner.sort()
        for path in sorted(Path(here) / name for name in files):
            if is_database(path):
                yield path, database_rows


def main(place: Path) -> None:
    """Prints it."""
    found: dict[str, Any] = {"there": place.exists(), "rows": [], "unreadable": []}
    for path, rows in stores(place):
        try:
            found["rows"].extend(rows(path))
        except (sqlite3.Error, OSError) as error:
            found["unreadable"].append([str(path), str(error)])
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
