"""Who made a game, and with what: kept with each one, so that games of a bad maker can be taken back."""

from __future__ import annotations

import hashlib
import json
import math
import socket
import sqlite3
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Self

import ringrift
from ringrift.errors import DataError
from ringrift.fabric.database import Patience
from ringrift.fabric.workers import process_name
from ringrift.store.models import ModelStore, ranges
from ringrift.store.run import RunDirectory
from ringrift.store.schema import forget_shard


@dataclass(frozen=True)
class Provenance:
    """What a game says of its making."""

    worker: str
    """Who had the job: `machine:process:token`, or another name of the maker."""
    machine: str = ""
    code_version: str = ""
    """Release that played it."""
    model: str = ""
    """Id of the model whose games these are; empty for the one among the players of the record, if any."""
    engines: tuple[str, ...] = ()
    """Engine or model per seat; empty for the players of the record."""
    seed: int | None = None
    """None for the record's."""
    settings: str = ""
    """Hash of the settings that it was played under."""
    generation: int = 0
    """How many candidates its config had when it was played."""
    process: str = ""
    """That played it, and may not judge it; empty where the worker is one."""

    @classmethod
    def here(cls, worker: str = "", settings: object = "", generation: int = 0) -> Self:
        """Of games that this process plays; `settings` is their hash, or a dataclass to be hashed."""
        if is_dataclass(settings) and not isinstance(settings, type):
            settings = settings_hash(asdict(settings))
        return cls(
            worker or process_name(), socket.gethostname(), ringrift.__version__, settings=str(settings),
            generation=generation, process=process_name(),
        )  # fmt: skip

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """What `vars` gave, perhaps by way of JSON."""
        return cls(**{**said, "engines": tuple(said["engines"])})


def settings_hash(values: Any) -> str:
    """16 hex digits of settings that JSON can say."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Retraction:
    """Games that were taken back: they stay, and no window has them until it is undone."""

    id: int
    """0 where it was only asked what it would be."""
    at: float
    by: str
    what: dict[str, object]
    """What they were chosen by."""
    reason: str
    undone: float | None
    """Unix time at which they were put back."""
    games: int
    """How many it took back; an undone one: none any more."""
    models: tuple[str, ...]
    """Ids of the models that learned from them, and of those that were trained from these, oldest first."""


def retract(
    run: RunDirectory,
    *,
    worker: str = "",
    model: str = "",
    since: float = 0.0,
    until: float = math.inf,
    games: Iterable[int] = (),
    reason: str,
    by: str = "",
    dry_run: bool = False,
) -> Retraction:
    """Takes games out of every window: those of a worker or machine, of a model, with these ids; all that is given has
    to hold. The shards that have them are forgotten, and made again without them by the next export.

    `since` and `until` are Unix times at which they were played. Raises `DataError` where nothing chooses
    them, or for an id of no game.
    """
    ids = sorted(set(games))
    if not (worker or model or ids):
        raise DataError("which games are taken back? name a worker or machine, a model, or games")
    if missing := sorted(set(ids) - {row["id"] for row in _of(run, "id", ids)}):
        raise DataError(f"{run.path} has no game {', '.join(map(str, missing))}")
    chosen = _chosen(run, worker, model, since, until, ids)
    what = {"worker": worker, "model": model, "since": since, "until": until, "games": ranges(ids)}
    told = {name: value for name, value in what.items() if value not in ("", 0, math.inf, [])}
    models, now, id_ = learned_from(run, chosen), time.time(), 0
    if not dry_run:
        with run.database.transaction(Patience.LONG) as connection:
            row = (now, by or process_name(), json.dumps(told), reason)
            made = connection.execute("INSERT INTO retractions (at, by, what, reason) VALUES (?, ?, ?, ?)", row)
            id_ = int(made.lastrowid or 0)
            for shard in {row[0] for row in _of(run, "DISTINCT shard", chosen) if row[0]}:
                forget_shard(connection, shard)
            connection.executemany(
                "UPDATE games SET retraction = ? WHERE id = ? AND retraction IS NULL", [(id_, game) for game in chosen]
            )
    return Retraction(id_, now, by or process_name(), told, reason, None, len(chosen), models)


def undo_retraction(run: RunDirectory, id_: int, *, dry_run: bool = False) -> Retraction:
    """Puts the games of a retraction back, except those that another one in force, chosen by something else, means too:
    they are that one's from then on; undone already, it stays as it is. Raises `DataError` for an unknown one."""
    with ExitStack() as stack:
        connection = None if dry_run else stack.enter_context(run.database.transaction(Patience.LONG))
        known = {one.id: one for one in retractions(run)}
        if id_ not in known:
            raise DataError(f"{run.path} has no retraction {id_}: `ringrift data retractions` lists them")
        if connection is None or known[id_].undone is not None:
            return known[id_]
        held = {row["id"] for row in run.database.rows("SELECT id FROM games WHERE retraction = ?", [id_])}
        connection.execute("UPDATE retractions SET undone = ? WHERE id = ?", (time.time(), id_))
        connection.execute("UPDATE games SET retraction = NULL WHERE retraction = ?", (id_,))
        for other in known.values():
            if other.undone is None and other.what != known[id_].what:
                also = held.intersection(_meant(run, other.what))
                connection.executemany(
                    "UPDATE games SET retraction = ? WHERE id = ?", [(other.id, one) for one in also]
                )
        return next(one for one in retractions(run) if one.id == id_)


def _meant(run: RunDirectory, what: Mapping[str, Any]) -> list[int]:
    """Ids of the games that a retraction in force would take back now."""
    ids = [one for first, last in what.get("games", ()) for one in range(first, last + 1)]
    worker, model = what.get("worker", ""), what.get("model", "")
    return _chosen(run, worker, model, what.get("since", 0.0), what.get("until", math.inf), ids)


def retractions(run: RunDirectory) -> list[Retraction]:
    """All of them, oldest first."""
    found = []
    for row in run.database.rows("SELECT * FROM retractions ORDER BY id"):
        games = [game["id"] for game in run.database.rows("SELECT id FROM games WHERE retraction = ?", [row["id"]])]
        about = dict(row) | {"what": json.loads(row["what"])}
        found.append(Retraction(**about, games=len(games), models=learned_from(run, games)))
    return found


def learned_from(run: RunDirectory, games: Sequence[int]) -> tuple[str, ...]:
    """Ids of the models, oldest first, that have any of these games in their windows, and of all that were trained from
    those."""
    tainted: list[str] = []
    ordered: dict[str, list[int]] = {}
    for row in _of(run, "config, id", games):
        ordered.setdefault(row["config"], []).append(row["id"])
    for model in ModelStore(run).ls():
        mine = ordered.get(model.config, [])
        own = any((at := bisect_left(mine, first)) < len(mine) and mine[at] <= last for first, last in model.window)
        if own or set(model.parents) & set(tainted):
            tainted.append(model.id)
    return tuple(tainted)


def _chosen(run: RunDirectory, worker: str, model: str, since: float, until: float, ids: list[int]) -> list[int]:
    """Ids of the sound games that are meant and not taken back yet."""
    where, given = ["retraction IS NULL", "state <> 'quarantined'", "created >= ?", "created <= ?"], [since, until]
    parameters: list[object] = list(given)
    if worker:  # a machine, a process of it, or a name of its own
        where.append("(machine = ? OR worker = ? OR worker >= ? AND worker < ?)")
        parameters += [worker, worker, f"{worker}:", f"{worker};"]
    if model:
        where.append("model = ?")
        parameters.append(model)
    if ids:
        where.append("id IN (SELECT value FROM json_each(?))")
        parameters.append(json.dumps(ids))
    rows = run.database.rows(f"SELECT id FROM games WHERE {' AND '.join(where)} ORDER BY id", parameters, Patience.LONG)
    return [row["id"] for row in rows]


def _of(run: RunDirectory, columns: str, games: Sequence[int]) -> list[sqlite3.Row]:
    query = f"SELECT {columns} FROM games WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
    return run.database.rows(query, [json.dumps(games)])
