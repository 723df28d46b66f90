"""The log of the local fabric: rows of one table."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from ringrift.fabric.database import read_json
from ringrift.fabric.protocol import LogEntry
from ringrift.fabric.shared import Shared
from ringrift.fabric.sums import Summed

PURGE_ROWS = 500  #: deleted in one transaction
LOOKUP_IDS = 500  #: looked for in one query
SCHEMA = """
CREATE TABLE log (sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    key TEXT NOT NULL, parent INTEGER, version INTEGER NOT NULL, source TEXT NOT NULL, at REAL NOT NULL,
    payload TEXT NOT NULL);
CREATE INDEX log_by_type ON log (type, sequence);
CREATE INDEX log_by_key ON log (key, sequence);
"""
SUMMED = Summed(
    "log", "{sequence}", "sequence id type key parent version source payload", "at", json="payload", counts=True
)


class LocalLog:
    """See `Log`."""

    def __init__(self, shared: Shared) -> None:
        self._shared, self._database = shared, shared.database

    def append(self, entries: Sequence[LogEntry]) -> list[int]:
        payloads = [json.dumps(entry.payload) for entry in entries]
        with self._database.transaction() as connection:
            numbers, last, at = self._numbers(entries), self.last(), self._shared.clock.now()
            new = []
            for entry, payload in zip(entries, payloads, strict=True):
                if entry.id not in numbers:
                    last += 1
                    numbers[entry.id] = last
                    new.append(
                        (last, entry.id, entry.type, entry.key, entry.parent, entry.version, entry.source, at, payload)
                    )
            connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", new)
        return [numbers[entry.id] for entry in entries]

    def _numbers(self, entries: Sequence[LogEntry]) -> dict[str, int]:
        """The sequence numbers of those that are there, by id."""
        numbers: dict[str, int] = {}
        for start in range(0, len(entries), LOOKUP_IDS):
            ids = [entry.id for entry in entries[start : start + LOOKUP_IDS]]
            rows = self._database.rows(f"SELECT id, sequence FROM log WHERE id IN ({_places(ids)})", ids)
            numbers.update((row["id"], row["sequence"]) for row in rows)
        return numbers

    def read(
        self, after: int = 0, limit: int = 1000, *, types: Collection[str] = (), key: str | None = None
    ) -> list[LogEntry]:
        found = [self._some(after, limit, type_, key, "ASC") for type_ in set(types) or (None,)]
        return list(islice(heapq.merge(*found, key=_sequence), limit))

    def tail(self, limit: int = 20, *, types: Collection[str] = (), key: str | None = None) -> list[LogEntry]:
        found = [self._some(0, limit, type_, key, "DESC") for type_ in set(types) or (None,)]
        return list(islice(heapq.merge(*found, key=_sequence, reverse=True), limit))[::-1]

    def _some(self, after: int, limit: int, type_: str | None, key: str | None, order: str) -> list[LogEntry]:
        where = "sequence > ?"
        parameters: list[object] = [after]
        for column, value in (("type", type_), ("key", key)):
            if value is not None:
                where += f" AND {column} = ?"
                parameters.append(value)
        query = f"SELECT * FROM log WHERE {where} ORDER BY sequence {order} LIMIT ?"
        return [self._entry(row) for row in self._database.rows(query, [*parameters, limit])]

    def _entry(self, row: sqlite3.Row) -> LogEntry:
        payload = read_json(row["payload"], dict, self._database, f"event {row['sequence']}")
        return LogEntry(**{**dict(row), "payload": payload})

    def last(self) -> int:
        rows = self._database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'log'")
        return int(rows[0]["seq"]) if rows else 0

    def purge(self, up_to: int) -> int:
        return sum(self._purged(up_to))

    def _purged(self, up_to: int) -> Iterator[int]:
        gone = 1
        while gone:
            with self._database.transaction(durable=False) as connection:
                gone = connection.execute(
                    "DELETE FROM log WHERE sequence IN (SELECT sequence FROM log WHERE sequence <= ? LIMIT ?)",
                    (up_to, PURGE_ROWS),
                ).rowcount
            yield gone

    def wait(self, after: int, timeout: float) -> bool:
        return self._shared.wait(lambda: self.last() > after, timeout)


def _places(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _sequence(entry: LogEntry) -> int:
    return entry.sequence
