"""What comes out of each kind of job, without the computing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ringrift.evaluation import MatchResult, score_interval
from ringrift.fabric import Job
from ringrift.kernel.events import Event
from ringrift.pipeline import audit, evaluate, export, ingest, selfplay, train
from ringrift.pipeline.events import (
    GamesAudited,
    GamesValidated,
    MatchFinished,
    SamplesExported,
    SelfplayFinished,
    TrainingFinished,
)
from ringrift.players.player import RandomPlayer
from ringrift.rules import Game, Record
from ringrift.store.audit import reach
from ringrift.store.provenance import Provenance

if TYPE_CHECKING:
    from ringrift.simulation.days import Simulation

GAME_SECONDS = 75.0
NUMBERS = 2  #: what games of the simulation have after their moves, so that no two are the same


def record(config: str, sound: bool) -> Record:
    """A random game; an unsound one says that it is over after a few plies."""
    game, player, rng = Game(config), RandomPlayer(), np.random.default_rng(1)
    while not game.is_over and (sound or game.ply < 20):
        game.push(player.decide([game], rng)[0].move)
    return Record.from_game(game, seed=1, players=("random",) * int(config[-2]))


def _selfplay(at: Simulation, job: Job, batch: selfplay.SelfplayBatch, spoilt: bool) -> Event:
    played = at.records[job.config][spoilt]
    name = f"{job.config}/batch-{batch.number:06d}"
    moves = (np.append(played.moves, np.array([batch.number, i], np.uint32)) for i in range(batch.games))
    contents = (replace(played, moves=one).to_bytes() for one in moves)
    at.store.add_many(((one, f"{name}/{i:06d}") for i, one in enumerate(contents)), Provenance("a node"))
    return SelfplayFinished(
        config=job.config, job=job.id, batch=name, player=batch.model or batch.engine, games=batch.games,
        plies=50 * batch.games, seconds=batch.games * GAME_SECONDS,
    )  # fmt: skip


def _ingest(at: Simulation, job: Job, _: ingest.WaitingGames, _spoilt: bool) -> Event:
    judged = [(game.id, at.problem(game)) for game in at.store.iter_waiting()]
    at.store.judge(judged)
    bad = sum(reason is not None for _, reason in judged)
    return GamesValidated(job=job.id, valid=len(judged) - bad, quarantined=bad)


def _export(at: Simulation, job: Job, _: export.ValidGames, _spoilt: bool) -> Event:
    games = [game.id for game in at.store.iter_valid(job.config, unexported=True)]
    if games:
        with at.run_directory.database.transaction() as connection:
            row = (job.config, f"{job.id}/{games[0]}", 10 * len(games), len(games))
            shard = connection.execute(
                "INSERT INTO shards (config, blob, samples, games, encoding_hash, added)"
                " VALUES (?, ?, ?, ?, 'simulated', 0) RETURNING id", row,
            ).fetchone()[0]  # fmt: skip
            connection.executemany("UPDATE games SET shard = ? WHERE id = ?", [(shard, game) for game in games])
    return SamplesExported(
        config=job.config, job=job.id, games=len(games), samples=10 * len(games), shards=int(bool(games))
    )


def _train(at: Simulation, job: Job, wanted: train.Training, spoilt: bool) -> Event:
    parent = wanted.parent or "initial"
    blob = at.fabric.blobs.put(job.id.encode(), ".safetensors")
    games = at.store.flow(job.config).exported
    metrics = {"games_total": games, "samples_total": 10 * games}
    model = at.models.register(job.config, blob, None, {}, filter(None, [wanted.parent]), metrics)  # type: ignore[arg-type]
    if model not in at.strength:
        at.strength[model] = at.strength[parent] + (-250.0 if spoilt else at.rng.gauss(60.0, 30.0))
        if spoilt:
            at.spoilt.add(model)
    return TrainingFinished(
        config=job.config, job=job.id, model=model, trained_from=parent, steps=400, samples=10 * games,
        loss_before=2.0, loss_after=1.0,
    )  # fmt: skip


def _match(at: Simulation, job: Job, pair: evaluate.MatchPair, _spoilt: bool) -> Event:
    expected = 1 / (1 + 10 ** ((at.strength[pair.b] - at.strength[pair.a]) / 400))
    openings = pair.games // 2
    points = [sum(at.rng.random() < expected for _ in range(2)) for _ in range(openings)]
    wins, games = sum(points), 2 * openings
    low, high = score_interval([[1.0] * won + [0.0] * (2 - won) for won in points])
    result = MatchResult(
        config=job.config, a=pair.a, b=pair.b, wins=wins, losses=games - wins, draws=0, games=games,
        score=wins / games, interval=(low, high), elo=0.0, elo_interval=(0.0, 0.0), openings=openings, duplicates=0,
        plies=50.0, simulations={}, seed=0, confidence=0.95,
        pentanomial=(points.count(0), 0, points.count(1), 0, points.count(2)), openings_sha256=pair.openings_sha256,
    )  # fmt: skip
    evaluate.note_match(at.run_directory, pair.a, pair.name, result, at.clock.now())
    return MatchFinished(
        config=job.config, job=job.id, a=pair.a, b=pair.b, opponent=pair.name, games=games, score=result.score,
        low=low, high=high,
    )  # fmt: skip


def _audit(at: Simulation, job: Job, _: audit.SomeGames, _spoilt: bool) -> Event:
    mark: dict[str, object] = {"up_to": reach(at.run_directory, job.config), "at": at.clock.now()}
    at.fabric.registry.set(f"audit/{job.config}", mark)
    return GamesAudited(config=job.config, job=job.id, searched=0, replayed=0, skipped=0, quarantined=[])


RESULTS: dict[str, Callable[[Simulation, Job, Any, bool], Event]] = {
    selfplay.KIND.name: _selfplay,
    ingest.KIND.name: _ingest,
    export.KIND.name: _export,
    train.KIND.name: _train,
    evaluate.KIND.name: _match,
    audit.KIND.name: _audit,
}
