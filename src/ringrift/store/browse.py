"""Stored games as somebody looks at them: found by what they are, newest first."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

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
        ["state <> 'quarantined'", "config IN (SELECT value FROM json_each(?))"],
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
    chosen = f"FROM games WHERE {' AND '.join(where)}"
    rows = run.database.rows(f"{_COLUMNS} {chosen} ORDER BY id DESC LIMIT ? OFFSET ?", [*parameters, limit, offset])
    counted = run.database.rows(f"SELECT count(*) FROM (SELECT 1 {chosen} LIMIT {COUNTED})", parameters)
    return [_seen(row) for row in rows], int(counted[0][0])


def look(run: RunDirectory, name: str | int) -> Seen | None:
    """The game with that work id, or of that number."""
    column = "id" if isinstance(name, int) else "work_id"
    rows = run.database.rows(f"{_COLUMNS} FROM games WHERE {column} = ?", [name])
    return _seen(rows[0]) if rows else None


def totals(run: RunDirectory) -> list[tuple[str, str, int, int]]:
    """Config, reason of the end, games and their plies."""
    rows = run.database.rows(
        "SELECT config, reason, count(*), sum(plies) FROM games WHERE state <> 'quarantined' GROUP BY config, reason"
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


_COLUMNS = (
    f"SELECT id, work_id, config, plies, winner, reason, created, {SOURCE} AS source, model, generation, quality,"
    " engines, record"
)


def _seen(row: sqlite3.Row) -> Seen:
    return Seen(**dict(row) | {"engines": tuple(json.loads(row["engines"]))})
