"""Finished games: added once, validated by another process, never lost and never changed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from ringrift.errors import CorruptBlob, DataError
from ringrift.fabric.database import Patience
from ringrift.rules import Record
from ringrift.store.run import RunDirectory

PAGE = 256
_ONE_OF_ITS_KIND = secrets.token_hex(4)


def process_name() -> str:
    """Names this process, now and for ever: process ids come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_ONE_OF_ITS_KIND}"


@dataclass(frozen=True)
class StoredGame:
    """One game as stored."""

    id: int
    work_id: str
    record: bytes

    def read(self) -> Record:
        """The record. Raises `CorruptBlob` naming the game."""
        try:
            return Record.from_bytes(self.record)
        except CorruptBlob as error:
            raise CorruptBlob(f"game {self.id} ({self.work_id}): {error}") from error


class JudgedGame(NamedTuple):
    """A row of the table of games, as it is inserted."""

    work_id: str
    config: str
    record: bytes
    plies: int
    winner: int
    reason: str
    added: float
    played_by: str
    validated_by: str | None
    """None: still to be judged"""
    problem: str | None
    """None: sound"""

    @classmethod
    def of(cls, record: Record, work_id: str, played_by: str, problem: str | None = None) -> Self:
        """A game that this process has judged."""
        header = (record.config, record.to_bytes(), len(record.moves), record.winner, record.reason)
        return cls(work_id, *header, time.time(), played_by, process_name(), problem)


def content_id(record: Record) -> str:
    """32 hex digits that two records share if they are the same game with the same end, whoever played or kept it."""
    about = json.dumps([record.config, record.options.to_dict(), record.start, record.winner, record.reason])
    return hashlib.sha256(about.encode() + record.moves.tobytes()).hexdigest()[:32]


@dataclass(frozen=True)
class ConfigCounts:
    """What a run holds of one config."""

    config: str
    games: int
    """Games stored and not quarantined."""
    plies: int
    """Their plies."""
    waiting: int
    """How many of them are not validated yet."""
    samples: int
    """Samples in shards."""
    quarantined: int
    """Games that did not replay."""


@dataclass(frozen=True)
class Flow:
    """The games of one config on their way to training."""

    waiting: int
    """Not validated yet."""
    valid: int
    """Validated, and in no shard yet."""
    exported: int
    """In shards."""
    newest: int
    """Highest id of a game in the run; 0 where there is none."""
    last_shard: int
    """Highest id of a shard of the config; 0 where there is none."""


class GameStore:
    """The games of a run."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._database = run.database

    def add(self, record: bytes, work_id: str, played_by: str | None = None) -> bool:
        """Stores a finished game durably, to be validated; false, and nothing happens, where `work_id` is known.

        Raises `CorruptBlob` where `record` cannot be read, `DataError` on a full disk.
        """
        return self.add_many([(record, work_id)], played_by) == 1

    def add_many(self, games: Iterable[tuple[bytes, str]], played_by: str | None = None) -> int:
        """Stores (record, work id) pairs, all or none; how many were new. `played_by` defaults to this process."""
        rows = []
        for content, work_id in games:
            try:
                record = Record.from_bytes(content)
            except CorruptBlob as error:
                raise CorruptBlob(f"record of work {work_id}: {error}") from error
            header = (record.config, content, len(record.moves), record.winner, record.reason)
            rows.append((work_id, *header, time.time(), played_by or process_name()))
        with self._database.transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT INTO games (work_id, config, record, plies, winner, reason, added, played_by)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (work_id) DO NOTHING",
                rows,
            )
            return connection.total_changes - before

    def add_judged(self, games: Iterable[JudgedGame]) -> list[bool]:
        """Stores games that were judged already, all or none; which of them were new."""
        with self._database.transaction(Patience.LONG) as connection:
            return [
                connection.execute(
                    "INSERT INTO games (work_id, config, record, plies, winner, reason, added, played_by, validated_by,"
                    " state, problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?,"
                    " CASE WHEN ?9 IS NULL THEN 'received' WHEN ?10 IS NULL THEN 'valid' ELSE 'quarantined' END, ?10)"
                    " ON CONFLICT (work_id) DO NOTHING",
                    game,
                ).rowcount
                == 1
                for game in games
            ]

    def known(self, work_ids: Sequence[str]) -> set[str]:
        """Which of these work ids are stored."""
        rows = self._database.rows(
            "SELECT work_id FROM games WHERE work_id IN (SELECT value FROM json_each(?))", [json.dumps(work_ids)]
        )
        return {row["work_id"] for row in rows}

    def find(self, name: str) -> StoredGame:
        """The game with that id or work id. Raises `DataError` where there is none."""
        rows = self._database.rows(
            "SELECT id, work_id, record FROM games WHERE work_id = ?1 OR CAST(id AS TEXT) = ?1", [name]
        )
        if not rows:
            raise DataError(f"{self.run.path} has no game {name!r}: give an id, a number from 1, or a whole work id")
        return StoredGame(*rows[0])

    def iter_valid(self, config: str, since_id: int = 0, *, unexported: bool = False) -> Iterator[StoredGame]:
        """The valid games with ids above `since_id`, in order; with `unexported`, those that are in no shard."""
        return self._iterate("config = ? AND state = 'valid'" + " AND shard IS NULL" * unexported, [config], since_id)

    def iter_waiting(self) -> Iterator[StoredGame]:
        """The games that are not validated yet, in order."""
        return self._iterate("state = 'received'", [], 0)

    def iter_sound(self) -> Iterator[StoredGame]:
        """Every game that is not quarantined, in order."""
        return self._iterate("state <> 'quarantined'", [], 0)

    def work_ids(self, prefix: str) -> set[str]:
        """The work ids of all stored games, also of quarantined ones, that begin with `prefix`; reads no others."""
        rows = self._database.rows(
            "SELECT work_id FROM games WHERE work_id >= ?1 AND work_id < ?1 || char(1114111)", [prefix]
        )
        return {row["work_id"] for row in rows}

    def _iterate(self, where: str, parameters: list[object], since_id: int) -> Iterator[StoredGame]:
        query = f"SELECT id, work_id, record FROM games WHERE {where} AND id > ? ORDER BY id LIMIT {PAGE}"
        while rows := self._database.rows(query, [*parameters, since_id]):
            yield from (StoredGame(*row) for row in rows)
            since_id = rows[-1]["id"]

    def judge(self, judged: Iterable[tuple[int, str | None]]) -> None:
        """Makes games valid (no problem) or quarantines them (the problem); those already quarantined stay.

        The process that played a game may quarantine it, but not make it valid.
        """
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE games SET validated_by = ?, state = iif(?2 IS NULL, 'valid', 'quarantined'), problem = ?2,"
                " shard = iif(?2 IS NULL, shard, NULL) WHERE id = ?3 AND state <> 'quarantined'",
                [(process_name(), problem, game) for game, problem in judged],
            )

    def counts(self, config: str | None = None) -> list[ConfigCounts]:
        """A row per config of which anything is stored, in the order of their names."""
        rows = self._database.rows(
            "SELECT config, sum(state <> 'quarantined') AS games,"
            " sum(iif(state <> 'quarantined', plies, 0)) AS plies, sum(state = 'received') AS waiting,"
            " (SELECT coalesce(sum(samples), 0) FROM shards WHERE shards.config = games.config) AS samples,"
            " sum(state = 'quarantined') AS quarantined"
            " FROM games WHERE ?1 IS NULL OR config = ?1 GROUP BY config ORDER BY config",
            [config],
        )
        return [ConfigCounts(**dict(row)) for row in rows]

    def flow(self, config: str) -> Flow:
        """Where the games of a config are; quick, however many there are."""
        rows = self._database.rows(
            "SELECT (SELECT count(*) FROM games WHERE config = ?1 AND state = 'received') AS waiting,"
            " (SELECT count(*) FROM games WHERE config = ?1 AND state = 'valid' AND shard IS NULL) AS valid,"
            " coalesce(sum(games), 0) AS exported, (SELECT coalesce(max(id), 0) FROM games) AS newest,"
            " coalesce(max(id), 0) AS last_shard FROM shards WHERE config = ?1",
            [config],
        )
        return Flow(**dict(rows[0]))

    def quarantined(self) -> list[tuple[int, str, str]]:
        """(id, work id, reason) of every quarantined game."""
        rows = self._database.rows("SELECT id, work_id, problem FROM games WHERE state = 'quarantined' ORDER BY id")
        return [(row["id"], row["work_id"], row["problem"]) for row in rows]
