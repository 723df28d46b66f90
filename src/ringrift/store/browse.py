"""Stored games as somebody looks at them: found by what they are, newest first."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from ringrift.rules.record import EARLY
from ringrift.store.run import RunDirectory

#: Where a game is from: as it says itself, else as its worker's name begins.
SOURCE = "coalesce(json_extract(origin, '$.source'), iif(worker LIKE 'import:%', 'import', 'selfplay'))"
COUNTED = 100_000  #: games that a total counts at most


@dataclass(frozen=True)
class Wanted:
    """What the games are to be; None: anything."""

    configs: Sequence[str]
    winner: int | None = None
    reason: str | None = None
    source: str | None = None
    min_plies: int | None = None
    max_plies: int | None = None
    player: str | None = None
    """A part of the name of one of its engines or models."""


@dataclass(frozen=True)
class Seen:
    """A game, without what happened in it."""

    id: int
    work_id: str
    config: str
    plies: int
    winner: int
    reason: str
    created: float
    """Unix time."""
    source: str
    model: str
    generation: int
    quality: float | None
    engines: tuple[str, ...]
    record: bytes


def browse(run: RunDirectory, wanted: Wanted, limit: int, offset: int = 0) -> tuple[list[Seen], int]:
    """The games, newest first, and how many there are, counted up to `COUNTED`; quarantined ones are no games."""
    where, given = (
        ["place <> 'quarantined'", "+config IN (SELECT value FROM json_each(?))"],
        [json.dumps(wanted.configs)],
    )
    parameters: list[object] = list(given)
    for test, value in (
        ("winner = ?", wanted.winner),
        (f"reason IN (?, '{EARLY}' || ?)", wanted.reason),
        (f"{SOURCE} = ?", wanted.source),
        ("plies >= ?", wanted.min_plies),
        ("plies <= ?", wanted.max_plies),
        ("instr(engines, ?)", wanted.player),
    ):
        if value is not None:
            where.append(test)
            parameters += [value] * test.count("?")
    chosen = f"WHERE {' AND '.join(where)}"  # without an index of the config, from the newest on: it needs no sorting
    rows = run.database.rows(
        f"{_COLUMNS} FROM games {chosen} ORDER BY id DESC LIMIT ? OFFSET ?", [*parameters, limit, offset]
    )
    counting = f"SELECT 1 FROM games INDEXED BY games_by_place {chosen.replace('+', '', 1)} LIMIT {COUNTED}"
    counted = run.database.rows(f"SELECT count(*) FROM ({counting})", parameters)
    return [_seen(row) for row in rows], int(counted[0][0])


def look(run: RunDirectory, name: str | int) -> Seen | None:
    """The game with that work id, or of that number."""
    column = "id" if isinstance(name, int) else "work_id"
    rows = run.database.rows(f"{_COLUMNS} FROM games WHERE {column} = ?", [name])
    return _seen(rows[0]) if rows else None


class Totals:
    """Of the games of a run. Those that came since the last question are looked at, and all where others went."""

    def __init__(self, run: RunDirectory) -> None:
        self._run, self._lock = run, Lock()
        self._last, self._gone, self._ends = 0, list[tuple[object, ...]](), Counter[str]()

    def counts(self) -> list[tuple[str, int, int]]:
        """Config, games and their plies; quarantined ones are no games."""
        counted = "SELECT config, sum(games), sum(plies) FROM game_counts WHERE place <> 'quarantined' GROUP BY config"
        return [(row[0], row[1], row[2]) for row in self._run.database.rows(counted)]

    def ends(self) -> Counter[str]:
        """Games by the reason of their end."""
        rows = self._run.database.rows
        with self._lock:
            gone = [tuple(row) for row in rows("SELECT * FROM game_counts WHERE place = 'quarantined'")]
            if gone != self._gone:
                self._last, self._gone, self._ends = 0, gone, Counter()
            found = rows("SELECT reason, count(*), max(id) FROM games WHERE id > ? AND place <> 'quarantined'"
                         " GROUP BY reason", [self._last])  # fmt: skip
            for reason, games, last in found:
                self._ends[reason.removeprefix(EARLY)] += games
                self._last = max(self._last, last)
            return self._ends.copy()


_COLUMNS = (
    f"SELECT id, work_id, config, plies, winner, reason, created, {SOURCE} AS source, model, generation, quality,"
    " engines, record"
)


def _seen(row: sqlite3.Row) -> Seen:
    return Seen(**dict(row) | {"engines": tuple(json.loads(row["engines"]))})
