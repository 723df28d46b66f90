"""`data check`: is everything that a run stores sound?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import cast

from ringrift.errors import CorruptBlob, DataError, EncodingMismatch, RingRiftError
from ringrift.evaluators import read_metadata
from ringrift.fabric import Database, Entry, LocalFabric
from ringrift.fabric.database import Patience, numbered
from ringrift.fabric.local import SUMMED
from ringrift.fabric.parcel import LENT
from ringrift.fabric.sums import MASTER, Summed, unsound
from ringrift.rules import CONFIGS
from ringrift.store import schema
from ringrift.store.games import PAGE, GameStore, StoredGame
from ringrift.store.models import ModelInfo, ModelStore
from ringrift.store.run import RunDirectory
from ringrift.store.samples import ShardInfo, drop_shard, read_shard, shards
from ringrift.store.validate import game_problem

Looked = tuple[str, str | None, Callable[[], object]]
"""What was looked at, why it is unsound (none: it is sound), and what puts it right as far as that can be done."""


@dataclass(frozen=True)
class Problem:
    """One unsound thing."""

    what: str
    """`games.db`, `game 12 …`, `shard 3 …`, `retraction 4`, `counts of …`, `model m-… …`, `blob …`."""
    reason: str


def check(
    run: RunDirectory, *, repair: bool = False, progress: Callable[[str], object] = lambda _: None
) -> list[Problem]:
    """Everything unsound: databases, rows that were changed, games that do not replay, damaged shards and models, blobs
    unlike their names.

    With `repair`, such games are quarantined, such shards forgotten, so that the next export makes them again, and
    games counted again; the list is the same. `progress` gets the name of each thing that was looked at.
    """
    found = []
    for source in (_databases, _games, _orphans, _counts, _shards, _models, _promoted, _blobs):
        try:
            for what, reason, put_right in source(run):
                progress(what)
                if reason is not None:
                    found.append(Problem(what, reason + (_put_right(put_right) if repair else "")))
        except DataError as error:  # of a whole table: the others are looked at all the same
            found.append(Problem(source.__name__.strip("_"), str(error)))
    return found


def _put_right(put_right: Callable[[], object]) -> str:
    """What is said where that failed."""
    try:
        put_right()
    except (DataError, sqlite3.IntegrityError) as error:
        return f"; it cannot be put right: {error}"
    return ""


def things(run: RunDirectory) -> int:
    """About how many things `check` will look at, apart from blobs that nothing names."""
    counted = "SELECT sum(games) FROM game_counts WHERE place <> 'quarantined'"
    rest = "SELECT count(*) FROM models WHERE pruned IS NULL", "SELECT count(*) FROM shards"
    try:
        return 4 + len(CONFIGS) + sum(run.database.rows(query)[0][0] or 0 for query in (counted, *rest))
    except DataError:
        return 4 + len(CONFIGS)


def databases(run: RunDirectory) -> list[tuple[str, Database, tuple[Summed, ...]]]:
    """The databases of a run, with the tables that have checksums."""
    found: list[tuple[str, Database, tuple[Summed, ...]]] = [("games.db", run.database, schema.SUMMED)]
    if isinstance(run.fabric, LocalFabric):
        found.append(("fabric.db", run.fabric.database, SUMMED))
    return found


def _databases(run: RunDirectory) -> Iterator[Looked]:
    for name, database, tables in databases(run):
        yield name, _error(database.check), _leave
        try:
            for row, why in unsound(database, (*(one for one in tables if one is not schema.GAMES), MASTER)):
                yield f"{name}, {row}", why, _leave
        except DataError as error:
            yield f"rows of {name}", str(error), _leave


def _games(run: RunDirectory) -> Iterator[Looked]:
    store, last = GameStore(run), 0
    changed = {row.removeprefix("games "): why for row, why in unsound(run.database, (schema.GAMES,))}
    query = f"SELECT id FROM games WHERE state <> 'quarantined' AND id > ? ORDER BY id LIMIT {PAGE}"
    while ids := [row[0] for row in run.database.rows(query, [last])]:
        for id_ in ids:
            what, reason = f"game {id_}", None
            try:
                (row,) = run.database.rows("SELECT id, work_id, record FROM games WHERE id = ?", [id_])
                what += f" (work {row['work_id']})"
                reason = game_problem(run, StoredGame(*row))
            except DataError as error:
                reason = str(error)
            reason = reason or changed.get(str(id_))
            changed.pop(str(id_), None)
            yield what, reason, partial(_set_apart, store, id_, reason)
        last = ids[-1]
    for game, why in changed.items():  # quarantined, or lost
        yield f"game {game}", why, partial(_set_apart, store, game, why)


def _set_apart(store: GameStore, game: int | str, reason: str | None) -> None:
    """Quarantines a game, and lets its row count as written."""
    with store.run.database.transaction() as connection:
        store.judge([(int(game), reason)])
        there = f"(SELECT {schema.GAMES.sum()} FROM games WHERE id = ?1)"
        connection.execute(
            f"UPDATE sums SET sum = {there} WHERE of = 'games' AND key = ?1 AND {there} IS NOT NULL",
            numbered([int(game)]),
        )


def _orphans(run: RunDirectory) -> Iterator[Looked]:
    for name, put_right in ("shard", partial(drop_shard, run)), ("retraction", _leave):
        lost = f"{name} IS NOT NULL AND {name} NOT IN (SELECT id FROM {name}s)"
        query = f"SELECT {name} AS id, count(*) AS games FROM games WHERE {lost} GROUP BY 1"
        for row in run.database.rows(query, patience=Patience.LONG):
            said = f"{row['games']} games name it, and there is none"
            yield f"{name} {row['id']}", said, partial(put_right, row["id"])


def _counts(run: RunDirectory) -> Iterator[Looked]:
    there, kept = "SELECT config, place, count(*), sum(plies) FROM games GROUP BY 1, 2", "SELECT * FROM game_counts"

    def count() -> None:
        with run.database.transaction(Patience.LONG) as connection:
            connection.execute("DELETE FROM game_counts")
            connection.execute(f"INSERT INTO game_counts {there}")

    differing = run.database.rows(
        f"SELECT DISTINCT config FROM (SELECT * FROM ({there} EXCEPT {kept}) UNION ALL"
        f" SELECT * FROM ({kept} WHERE games > 0 EXCEPT {there}))", patience=Patience.LONG,
    )  # fmt: skip
    for row in differing:
        yield f"counts of {row['config']}", "they differ from the games that are there", count


def _shards(run: RunDirectory) -> Iterator[Looked]:
    for shard in shards(run):
        yield f"shard {shard.id} of {shard.config}", _error(partial(_read, run, shard)), partial(_forget, run, shard)


def _read(run: RunDirectory, shard: ShardInfo) -> None:
    run.fabric.blobs.check(shard.blob)
    samples = read_shard(run.fabric.blobs.path(shard.blob))
    games = [row[0] for row in run.database.rows("SELECT id FROM games WHERE shard = ? ORDER BY id", [shard.id])]
    if (samples.config, len(samples), samples.games.tolist()) != (shard.config, shard.samples, games):
        raise CorruptBlob(f"its {len(samples)} samples of {len(samples.games)} games are not those that the run counts")


def _forget(run: RunDirectory, shard: ShardInfo) -> None:
    drop_shard(run, shard.id)
    run.fabric.blobs.delete(shard.blob)


def _models(run: RunDirectory) -> Iterator[Looked]:
    models, unreadable = ModelStore(run).look()
    for reason in unreadable:
        yield "a model", reason, _leave
    for model in models:
        if not model.pruned:
            yield f"model {model.id} of {model.config}", _error(partial(_look_at_files, run, model)), _leave


def _promoted(run: RunDirectory) -> Iterator[Looked]:
    models = ModelStore(run)
    known = models.last_known()
    for config in CONFIGS:
        reason = _error(partial(_look_at_promoted, models, config, known.get(config)))
        yield f"promoted model of {config}", reason, _leave


def _look_at_files(run: RunDirectory, model: ModelInfo) -> None:
    for blob in filter(None, (model.checkpoint, model.onnx)):
        run.fabric.blobs.check(blob)
    read_metadata(run.fabric.blobs.path(model.checkpoint))


def _look_at_promoted(models: ModelStore, config: str, known: Entry | None) -> None:
    promoted, revision = models.promoted(config), models.revision(config)
    if known is not None and known.revision > revision:
        raise DataError(
            f"games.db knows of the promotion of {known.value['model']}, and fabric.db does not:"
            f" `ringrift data repair {models.run.path}`"
        )
    if promoted is None:
        return
    model = models.show(promoted)
    if model.pruned or model.config != config:
        raise DataError(f"{promoted} {'was pruned' if model.pruned else f'is a model of {model.config}'}")


def needed_blobs(run: RunDirectory) -> set[str]:
    """The blobs that shards and models name, and what is lent to jobs that are being done."""
    lent = {str(blob) for entry in run.fabric.registry.ls(LENT) for blob in cast(list[str], entry.value["blobs"])}
    return {shard.blob for shard in shards(run)} | ModelStore(run).blobs() | lent


def _blobs(run: RunDirectory) -> Iterator[Looked]:
    known = needed_blobs(run)
    for info in run.fabric.blobs.ls():
        if info.blob not in known:
            yield f"blob {info.blob}", _error(partial(run.fabric.blobs.check, info.blob)), _leave


def _leave(_: object = None) -> None:
    """Nothing can be done here."""


def _error(look: Callable[[], object]) -> str | None:
    try:
        look()
    except EncodingMismatch:
        return None  # of another release, not damaged: shards are made again by the next export
    except RingRiftError as error:
        return str(error)
    return None
