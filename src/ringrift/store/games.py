"""Finished games: added once, validated by another process, never lost and never changed."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from ringrift.errors import CorruptBlob, DataError
from ringrift.fabric.database import Patience, numbered
from ringrift.fabric.workers import process_name
from ringrift.rules import Record
from ringrift.store.provenance import Provenance
from ringrift.store.run import RunDirectory
from ringrift.store.schema import content_id, evidence, forget_shard, seated, seed_kept

PAGE = 256


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


class GameRow(NamedTuple):
    """A row of the table of games, as it is inserted; docs/formats.md says what its columns mean."""

    work_id: str
    config: str
    plies: int
    winner: int
    reason: str
    content: str
    played_by: str
    worker: str
    machine: str
    code_version: str
    model: str
    engines: str
    seed: int
    settings: str
    generation: int
    created: float
    origin: str
    added: float
    state: str
    validated_by: str | None
    evidence: str | None
    quality: float | None
    problem: str | None
    quarantined_at: float | None
    quarantined_by: str | None
    record: bytes

    @classmethod
    def of(
        cls,
        record: Record,
        content: bytes,
        work_id: str,
        made: Provenance,
        *,
        created: float = 0.0,
        origin: Mapping[str, str] | None = None,
    ) -> Self:
        """A game that is still to be judged; `content` is the record's binary form."""
        now, (model, engines) = time.time(), seated(made.engines or record.players)
        seed = seed_kept(record.seed if made.seed is None else made.seed)
        return cls(
            work_id, record.config, len(record.moves), record.winner, record.reason, content_id(record),
            made.process or made.worker, made.worker, made.machine, made.code_version, made.model or model,
            engines, seed, made.settings, made.generation, created or now,
            json.dumps(dict(origin)) if origin else "{}", now, "received", None, None, None, None, None, None, content,
        )  # fmt: skip

    def judged(self, problem: str | None, quality: float | None = None) -> Self:
        """This row as judged by this process: sound (no problem) or not."""
        judge = process_name()
        if problem is not None:
            return self._replace(
                state="quarantined", validated_by=judge, problem=problem, quarantined_at=time.time(),
                quarantined_by=judge,
            )  # fmt: skip
        proof = evidence(self.record, judge, self.plies, self.winner, self.reason)
        return self._replace(state="valid", validated_by=judge, evidence=proof, quality=quality)


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
    """Games that are not sound."""
    retracted: int
    """Sound games that were taken back."""


@dataclass(frozen=True)
class Flow:
    """The games of one config on their way to training."""

    waiting: int
    """Not validated yet."""
    valid: int
    """Validated, and in no shard yet."""
    exported: int
    """Games in shards."""
    newest: int
    """Highest id of a game in the run; 0 where there is none."""
    last_shard: int
    """Highest id of a shard of the config; 0 where there is none."""


@dataclass(frozen=True)
class Quarantined:
    """A game that is not sound."""

    id: int
    work_id: str
    config: str
    plies: int
    worker: str
    """Where it came from."""
    reason: str
    at: float
    """Unix time."""
    by: str
    """The process that found it."""


class GameStore:
    """The games of a run."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._database = run.database

    def add(self, record: bytes, work_id: str, made: Provenance | None = None) -> bool:
        """Stores a finished game durably, to be validated; false, and nothing happens, where `work_id` is known.

        Without provenance it is a game that this process has played. Raises `CorruptBlob` where `record` cannot be
        read, `DataError` on a full disk.
        """
        return self.add_many([(record, work_id)], made) == 1

    def add_many(self, games: Iterable[tuple[bytes, str]], made: Provenance | None = None) -> int:
        """Stores (record, work id) pairs of one provenance, all or none; how many were new."""
        made, rows = made or Provenance.here(), []
        for content, work_id in games:
            try:
                record = Record.from_bytes(content)
            except CorruptBlob as error:
                raise CorruptBlob(f"record of work {work_id}: {error}") from error
            rows.append(GameRow.of(record, content, work_id, made))
        with self._database.transaction() as connection:
            return connection.executemany(_INSERT, rows).rowcount

    def add_judged(self, games: Iterable[GameRow]) -> list[bool]:
        """Stores games that were judged already, all or none; which of them were new, by work id and by content."""
        with self._database.transaction(Patience.LONG) as connection:
            return [connection.execute(_INSERT, game).rowcount == 1 for game in games]

    def known(self, work_ids: Sequence[str]) -> set[str]:
        """Which of these work ids are stored."""
        rows = self._database.rows(
            "SELECT work_id FROM games WHERE work_id IN (SELECT value FROM json_each(?))", [json.dumps(work_ids)]
        )
        return {row["work_id"] for row in rows}

    def find(self, name: str) -> StoredGame:
        """The game with that id or work id. Raises `DataError` where there is none."""
        known = int(name) if name.isdecimal() and len(name) < 19 else 0
        rows = self._database.rows(
            "SELECT id, work_id, record FROM games WHERE work_id = ?1 OR id = ?2 ORDER BY id = ?2 DESC",
            [name, known],
        )
        if not rows:
            raise DataError(f"{self.run.path} has no game {name!r}: give an id, a number from 1, or a whole work id")
        return StoredGame(*rows[0])

    def iter_valid(self, config: str, since_id: int = 0, *, unexported: bool = False) -> Iterator[StoredGame]:
        """The valid games with ids above `since_id`, in order; with `unexported`, those that are in no shard.

        Retracted games are left out.
        """
        where = "config = ? AND place = 'unexported'"  # in the order of its index; the other in the order of ids
        return self._iterate(
            where if unexported else "+config = ? AND +state = 'valid' AND retraction IS NULL", [config], since_id
        )

    def iter_waiting(self) -> Iterator[StoredGame]:
        """The games that are not validated yet, in order."""
        return self._iterate("state = 'received'", [], 0)

    def iter_sound(self) -> Iterator[StoredGame]:
        """Every game that is not quarantined, in order."""
        return self._iterate("state <> 'quarantined'", [], 0)

    def sound(self, ids: Sequence[int], config: str) -> list[StoredGame]:
        """Which of these games are of a config and not quarantined."""
        rows = self._database.rows(
            "SELECT id, work_id, record FROM games WHERE id IN (SELECT value FROM json_each(?)) AND +config = ?"
            " AND +state <> 'quarantined'",
            [json.dumps(list(ids)), config],
        )
        return [StoredGame(*row) for row in rows]

    def work_ids(self, prefix: str) -> set[str]:
        """The work ids of all stored games, also of quarantined ones, that begin with `prefix`; reads no others."""
        rows = self._database.rows(
            "SELECT work_id FROM games WHERE work_id >= ?1 AND work_id < ?1 || char(1114111)", [prefix]
        )
        return {row["work_id"] for row in rows}

    def last_work_id(self, prefix: str) -> str | None:
        """The last, in the order of texts, of the work ids that begin with `prefix`."""
        query = "SELECT max(work_id) FROM games WHERE work_id >= ?1 AND work_id < ?1 || char(1114111)"
        return self._database.rows(query, [prefix])[0][0]  # type: ignore[no-any-return]

    def _iterate(self, where: str, parameters: list[object], since_id: int) -> Iterator[StoredGame]:
        query = f"SELECT id, work_id, record FROM games WHERE {where} AND id > ? ORDER BY id LIMIT {PAGE}"
        while rows := self._database.rows(query, [*parameters, since_id]):
            yield from (StoredGame(*row) for row in rows)
            since_id = rows[-1]["id"]

    def judge(
        self, judged: Iterable[tuple[int, str | None]], quality: Mapping[int, float] | None = None, by: str = ""
    ) -> int:
        """Makes games valid (no problem) or quarantines them (the problem), as the process `by` (default: this one) has
        found; how many it quarantined.

        Those already quarantined stay. Of two games with the same content, the one judged first becomes valid. The
        process that played a game may quarantine it, but not make it valid. The shard of a game that is quarantined is
        forgotten, and made again without it by the next export.
        """
        judge, bad = by or process_name(), 0
        with self._database.transaction() as connection:
            for game, problem in judged:
                reason = problem or _twin(connection, game)
                bad += reason is not None
                if reason is not None and (shard := _shard_of(connection, game)) is not None:
                    forget_shard(connection, shard)
                connection.execute(
                    "UPDATE games SET state = iif(?2 IS NULL, 'valid', 'quarantined'), validated_by = ?3,"
                    " evidence = iif(?2 IS NULL, ringrift_evidence(record, ?3, plies, winner, reason), NULL),"
                    " quality = iif(?2 IS NULL, coalesce(?4, quality), quality), problem = ?2,"
                    " quarantined_at = iif(?2 IS NULL, NULL, ?5), quarantined_by = iif(?2 IS NULL, NULL, ?3)"
                    " WHERE id = ?1 AND state <> 'quarantined'",
                    numbered((game, reason, judge, (quality or {}).get(game), time.time())),
                )
        return bad

    def unscored(self) -> list[StoredGame]:
        """Some valid games that have no score yet: those of before scores were kept."""
        rows = self._database.rows(
            "SELECT id, work_id, record FROM games WHERE config IN (SELECT config FROM game_counts) AND quality IS NULL"
            f" AND state = 'valid' LIMIT {PAGE}"
        )
        return [StoredGame(*row) for row in rows]

    def mark_audited(self, game: int, at: float) -> None:
        """Notes when a game was searched again."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE games SET audited = ? WHERE id = ?", (at, game))

    def rate(self, quality: Mapping[int, float]) -> None:
        """Gives games their scores."""
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE games SET quality = ? WHERE id = ?", [(value, game) for game, value in quality.items()]
            )

    def counts(self, config: str | None = None) -> list[ConfigCounts]:
        """A row per config of which anything is stored, in the order of their names; quick, however many there are."""
        rows = self._database.rows(
            "SELECT config, sum(iif(place <> 'quarantined', games, 0)) AS games,"
            " sum(iif(place <> 'quarantined', plies, 0)) AS plies, sum(iif(place = 'waiting', games, 0)) AS waiting,"
            " (SELECT coalesce(sum(samples), 0) FROM shards WHERE shards.config = game_counts.config) AS samples,"
            " sum(iif(place = 'quarantined', games, 0)) AS quarantined,"
            " sum(iif(place = 'retracted', games, 0)) AS retracted"
            " FROM game_counts WHERE (?1 IS NULL OR config = ?1) AND games > 0 GROUP BY config ORDER BY config",
            [config],
        )
        return [ConfigCounts(**dict(row)) for row in rows]

    def flow(self, config: str) -> Flow:
        """Where the games of a config are; quick, however many there are."""
        rows = self._database.rows(
            "WITH there AS (SELECT place, games FROM game_counts WHERE config = ?1)"
            " SELECT (SELECT coalesce(sum(games), 0) FROM there WHERE place = 'waiting') AS waiting,"
            " (SELECT coalesce(sum(games), 0) FROM there WHERE place = 'unexported') AS valid,"
            " coalesce(sum(games), 0) AS exported, (SELECT coalesce(max(id), 0) FROM games) AS newest,"
            " coalesce(max(id), 0) AS last_shard FROM shards WHERE config = ?1",
            [config],
        )
        return Flow(**dict(rows[0]))

    def exported_after(self, config: str, game: int) -> int:
        """How many games of a config with ids above that one are in shards."""
        query = "SELECT count(*) FROM games WHERE config = ? AND place = 'exported' AND id > ?"
        return int(self._database.rows(query, [config, game])[0][0])

    def quarantine(self, ids: Sequence[int] | None = None) -> list[Quarantined]:
        """The quarantined games, or those of them with these ids, by id. Raises `DataError` for an id that is none."""
        rows = self._database.rows(
            "SELECT id, work_id, config, plies, worker, problem, quarantined_at, quarantined_by FROM games"
            " WHERE state = 'quarantined' AND (?1 IS NULL OR id IN (SELECT value FROM json_each(?1))) ORDER BY id",
            [None if ids is None else json.dumps(list(ids))],
        )
        if missing := sorted(set(ids or ()) - {row["id"] for row in rows}):
            raise DataError(f"{self.run.path}: of the quarantined games none is {', '.join(map(str, missing))}")
        return [Quarantined(*row) for row in rows]

    def restore(self, ids: Sequence[int]) -> None:
        """Lets quarantined games wait for a judge again. Raises `DataError` for an id that is none."""
        with self._database.transaction() as connection:
            self.quarantine(ids)
            connection.executemany(
                "UPDATE games SET state = 'received', validated_by = NULL, problem = NULL, quarantined_at = NULL,"
                " quarantined_by = NULL WHERE id = ?",
                [(game,) for game in ids],
            )

    def purge(self, ids: Sequence[int]) -> None:
        """Deletes quarantined games for good. Raises `DataError` for an id that is none."""
        with self._database.transaction() as connection:
            self.quarantine(ids)
            connection.executemany("DELETE FROM games WHERE id = ?", [(game,) for game in ids])

    def about(self, game: int) -> dict[str, object]:
        """All that is known of a game but its record."""
        (row,) = self._database.rows("SELECT * FROM games WHERE id = ?", [game])
        about = {name: row[name] for name in row.keys() if name != "record"}  # noqa: SIM118 - a Row is no mapping
        return about | {"engines": json.loads(row["engines"]), "origin": json.loads(row["origin"])}

    def quarantined(self) -> list[tuple[int, str, str]]:
        """(id, work id, reason) of every quarantined game."""
        rows = self._database.rows("SELECT id, work_id, problem FROM games WHERE state = 'quarantined' ORDER BY id")
        return [(row["id"], row["work_id"], row["problem"]) for row in rows]


_INSERT = (
    f"INSERT INTO games ({', '.join(GameRow._fields)}) VALUES ({', '.join('?' * len(GameRow._fields))})"
    " ON CONFLICT DO NOTHING"
)


def _shard_of(connection: sqlite3.Connection, game: int) -> int | None:
    row = connection.execute("SELECT shard FROM games WHERE id = ?", (game,)).fetchone()
    return row[0] if row else None


def _twin(connection: sqlite3.Connection, game: int) -> str | None:
    """What is said of a game with the content of a valid one; none where there is no such other game."""
    row = connection.execute(
        "SELECT other.id, other.work_id FROM games JOIN games AS other ON other.content = games.content"
        " AND other.state = 'valid' AND other.id <> games.id WHERE games.id = ? LIMIT 1",
        (game,),
    ).fetchone()
    return f"the same game as game {row[0]} (work {row[1]})" if row else None
