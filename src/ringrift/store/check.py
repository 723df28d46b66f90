"""`data check`: is everything that a run stores sound?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ringrift.errors import CorruptBlob, DataError, EncodingMismatch, RingRiftError
from ringrift.evaluators import read_metadata
from ringrift.store.games import GameStore, StoredGame
from ringrift.store.models import ModelInfo, ModelStore
from ringrift.store.run import RunDirectory
from ringrift.store.samples import ShardInfo, drop_shard, read_shard, shards
from ringrift.store.schema import content_id, evidence
from ringrift.store.validate import problem

Looked = tuple[str, str | None, Callable[[], object]]
"""What was looked at, why it is unsound (none: it is sound), and what puts it right as far as that can be done."""


@dataclass(frozen=True)
class Problem:
    """One unsound thing."""

    what: str
    """`games.db`, `game 12 …`, `shard 3 …`, `model m-… …`, `blob …`."""
    reason: str


def check(
    run: RunDirectory, *, repair: bool = False, progress: Callable[[str], object] = lambda _: None
) -> list[Problem]:
    """Everything unsound: databases, games that do not replay, damaged shards and models, blobs unlike their names.

    With `repair`, such games are quarantined, and such shards forgotten, so that the next export makes them again; the
    list is the same. `progress` gets the name of each thing that was looked at.
    """
    found = []
    for source in (_databases, _games, _shards, _models, _blobs):
        for what, reason, put_right in source(run):
            progress(what)
            if reason is not None:
                found.append(Problem(what, reason))
                if repair:
                    put_right()
    return found


def things(run: RunDirectory) -> int:
    """How many things `check` will look at, apart from blobs that nothing names."""
    games = sum(row.games for row in GameStore(run).counts())
    models = sum(not model.pruned for model in ModelStore(run).ls())
    return 2 + games + len(shards(run)) + models + len(run.fabric.registry.ls("promoted/"))


def _databases(run: RunDirectory) -> Iterator[Looked]:
    yield "games.db", _error(run.database.check), _leave
    yield "fabric.db", _error(run.fabric.check), _leave


def _games(run: RunDirectory) -> Iterator[Looked]:
    store = GameStore(run)
    for game in store.iter_sound():
        reason = game_problem(run, game)
        yield f"game {game.id} (work {game.work_id})", reason, partial(store.judge, [(game.id, reason)])


def game_problem(run: RunDirectory, game: StoredGame) -> str | None:
    """Why a game that is not quarantined is not sound, its row included; none if it is."""
    return problem(game) or _error(partial(_compare_row, run, game))


def _compare_row(run: RunDirectory, game: StoredGame) -> None:
    record = game.read()
    columns = "config, plies, winner, reason, content, state, validated_by, evidence"
    *told, state, judge, proof = run.database.rows(f"SELECT {columns} FROM games WHERE id = ?", [game.id])[0]
    if told != [record.config, len(record.moves), record.winner, record.reason, content_id(record)]:
        raise CorruptBlob(f"its row {told} differs from its record")
    if state == "valid" and proof != evidence(game.record, str(judge), len(record.moves), record.winner, record.reason):
        raise CorruptBlob("it is valid without the evidence of a judge: its row was changed by hand")


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
    models = ModelStore(run)
    for model in models.ls():
        if not model.pruned:
            yield f"model {model.id} of {model.config}", _error(partial(_look_at_files, run, model)), _leave
    for entry in run.fabric.registry.ls("promoted/"):
        config = entry.key.removeprefix("promoted/")
        reason = _error(partial(_look_at_promoted, models, config, str(entry.value["model"])))
        yield f"promoted model of {config}", reason, _leave


def _look_at_files(run: RunDirectory, model: ModelInfo) -> None:
    for blob in filter(None, (model.checkpoint, model.onnx)):
        run.fabric.blobs.check(blob)
    read_metadata(run.fabric.blobs.path(model.checkpoint))


def _look_at_promoted(models: ModelStore, config: str, promoted: str) -> None:
    model = models.show(promoted)
    if model.pruned or model.config != config:
        raise DataError(f"{promoted} {'was pruned' if model.pruned else f'is a model of {model.config}'}")


def needed_blobs(run: RunDirectory) -> set[str]:
    """The blobs that shards and models name."""
    return {shard.blob for shard in shards(run)} | ModelStore(run).blobs()


def _blobs(run: RunDirectory) -> Iterator[Looked]:
    known = needed_blobs(run)
    for info in run.fabric.blobs.ls():
        if info.blob not in known:
            yield f"blob {info.blob}", _error(partial(run.fabric.blobs.check, info.blob)), _leave


def _leave() -> None:
    """Nothing can be done here."""


def _error(look: Callable[[], object]) -> str | None:
    try:
        look()
    except EncodingMismatch:
        return None  # of another release, not damaged: shards are made again by the next export
    except RingRiftError as error:
        return str(error)
    return None
