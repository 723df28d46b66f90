"""What the loop's services want, step by step: plans over a run in memory, jobs done by hand, no child processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from random_play import numbered, random_game

from ringrift.clock import VirtualClock
from ringrift.errors import LeaseLost
from ringrift.evaluation import GateSettings, MatchResult, RegressionSettings
from ringrift.fabric import OPEN, Job, JobState
from ringrift.kernel.bus import Bus
from ringrift.kernel.events import Event
from ringrift.kernel.service import Level, Step
from ringrift.kernel.supervisor import tick
from ringrift.pipeline import Recipe, evaluate, selfplay, smoke
from ringrift.pipeline.events import (
    GamesValidated,
    LoopStarted,
    MatchFinished,
    ModelPromoted,
    ModelRejected,
    SamplesExported,
    SelfplayFinished,
    TrainingFinished,
)
from ringrift.pipeline.loop import Until, rounds
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import MANY, PAUSE_SECONDS, standing
from ringrift.pipeline.table import STAGES
from ringrift.rules import Record
from ringrift.store import GameStore, ModelInfo, ModelStore, RunDirectory
from ringrift.store.provenance import Provenance, retract

A, B = "square8_2p", "hex8_2p"
DECIDING = [service for service in STAGES if service.name not in ("worker", "report")]
GATE = GateSettings(gates={"random": 0.85})
WATCHED = RegressionSettings(checks=0)
RECIPE = Recipe(gate=GATE, regression=WATCHED, loop=replace(smoke(Recipe()).loop, games=20, rounds=0, promote=True))


@pytest.fixture
def ctx() -> Iterator[Context]:
    clock = VirtualClock(1000.0)
    with RunDirectory.in_memory(clock) as run:
        lease = run.fabric.leases.acquire("loop", ttl=1e6)
        made = Context(run, Bus(run.fabric.log, "test"), lease=lease, clock=clock, recipes={A: RECIPE, B: RECIPE})
        made.publish(LoopStarted(profile="laptop", configs=[A, B], release="test"))
        yield made


def put(ctx: Context) -> list[Job]:
    """What the services put, all of them having looked until none has anything to do."""
    before = {job.id for job in ctx.run.fabric.jobs.ls()}
    while sum(tick(service, ctx) for service in DECIDING):
        pass
    return [job for job in reversed(ctx.run.fabric.jobs.ls()) if job.id not in before]


def steps(ctx: Context, name: str) -> list[Step]:
    return list(next(service for service in STAGES if service.name == name).plan(ctx))


def do(ctx: Context, kind: str, *, score: float = 1.0, seconds: float = 10.0) -> int:
    """Does the waiting jobs of a kind, as quickly as can be; how many."""
    done = 0
    while claimed := ctx.run.fabric.jobs.claim("test", {"cores": 9, "memory": 1e12}, kinds=[kind]):
        (job,) = claimed
        event = DO[kind](ctx, job, score, seconds)
        ctx.bus.publish(event, parent=job.parent, id_=f"{type(event).__name__}/{job.id}")
        ctx.run.fabric.jobs.finish(job, {})
        done += 1
    return done


def play(ctx: Context, job: Job, _: float, seconds: float) -> SelfplayFinished:
    batch = selfplay.SelfplayBatch.model_validate(job.payload)
    record = Record.from_game(random_game(job.config, seed=1), seed=1, players=("random", "random"))
    name = f"{job.config}/batch-{batch.number:06d}"
    games = ((numbered(record, batch.number, i), f"{name}/{i:06d}") for i in range(batch.games))
    GameStore(ctx.run).add_many(games, Provenance("elsewhere"))
    player = batch.model or batch.engine
    return SelfplayFinished(
        config=job.config, job=job.id, batch=name, player=player, games=batch.games, plies=9, seconds=seconds
    )


def replay(ctx: Context, job: Job, _: float, __: float) -> GamesValidated:
    store = GameStore(ctx.run)
    waiting = [(game.id, None) for game in store.iter_waiting()]
    store.judge(waiting)
    return GamesValidated(job=job.id, valid=len(waiting), quarantined=0)


def export(ctx: Context, job: Job, _: float, __: float) -> SamplesExported:
    games = [game.id for game in GameStore(ctx.run).iter_valid(job.config, unexported=True)]
    with ctx.run.database.transaction() as connection:
        shard = connection.execute(
            "INSERT INTO shards (config, blob, samples, games, encoding_hash, added) VALUES (?, ?, ?, ?, 'x', 0)"
            " RETURNING id",
            (job.config, job.id, 10 * len(games), len(games)),
        ).fetchone()[0]
        connection.executemany("UPDATE games SET shard = ? WHERE id = ?", [(shard, game) for game in games])
    return SamplesExported(config=job.config, job=job.id, games=len(games), samples=10 * len(games), shards=1)


def train(ctx: Context, job: Job, _: float, __: float) -> TrainingFinished:
    blobs, store = ctx.run.fabric.blobs, ModelStore(ctx.run)
    games = GameStore(ctx.run).flow(job.config).exported
    model = store.register(
        job.config,
        blobs.put(job.id.encode(), ".safetensors"),
        None,
        {},
        (),
        {"games_total": games, "samples_total": 10 * games},
    )
    return TrainingFinished(
        config=job.config, job=job.id, model=model, trained_from="x", steps=1, samples=9, loss_before=2, loss_after=1
    )


def compare(ctx: Context, job: Job, score: float, _: float) -> MatchFinished:
    pair = evaluate.MatchPair.model_validate(job.payload)
    note(ctx, pair, job.config, score)
    return MatchFinished(
        config=job.config, job=job.id, a=pair.a, b=pair.b, opponent=pair.name, games=pair.games, score=score,
        low=score - 0.1, high=score + 0.1,
    )  # fmt: skip


def note(ctx: Context, pair: evaluate.MatchPair, config: str, score: float) -> None:
    """A match in which A won each opening altogether, or lost it, with that share."""
    openings = pair.games // 2
    won = round(openings * score)
    result = MatchResult(
        config=config, a=pair.a, b=pair.b, wins=2 * won, losses=2 * (openings - won), draws=0, games=pair.games,
        score=score, interval=(score - 0.1, score + 0.1), elo=0, elo_interval=(0, 0), openings=openings, duplicates=0,
        plies=50, simulations={}, seed=0, confidence=0.95, pentanomial=(openings - won, 0, 0, 0, won),
        openings_sha256=pair.openings_sha256,
    )  # fmt: skip
    evaluate.note_match(ctx.run, pair.a, pair.name, result, ctx.clock.now())


DO: dict[str, Callable[[Context, Job, float, float], Event]] = {
    "selfplay": play,
    "ingest": replay,
    "export": export,
    "train": train,
    "match": compare,
}


def candidate(ctx: Context, config: str = A, score: float = 1.0) -> str:
    """Everything up to the judged candidate of a config; its id."""
    for _ in range(50):
        put(ctx)
        if standing(ctx, config).trained and (now := standing(ctx, config)).judged and now.newest:
            return now.newest.id
        for kind in DO:
            do(ctx, kind, score=score)
        ctx.clock.sleep(5)
    raise AssertionError("no candidate after 50 turns")


def test_from_the_first_game_to_promotion(ctx: Context) -> None:
    batches = put(ctx)
    assert {job.kind for job in batches} == {"selfplay"}
    assert [job.config for job in batches[:4]] == [B, A, B, A][: len(batches)]
    assert put(ctx) == []
    first = candidate(ctx)
    assert ModelStore(ctx.run).promoted(A) == first
    promoted = ctx.bus.last(ModelPromoted, A)
    assert promoted is not None and promoted.event.model == first and promoted.event.over == ""
    assert len(list(ctx.bus.read(ModelPromoted, A))) == 1
    (one,) = rounds(ctx.run, A)
    assert one.finished and one.promoted and set(one.matches) == {"random", "initial"} and one.games >= 20
    assert one.verdict.startswith("1.000 in")


def test_every_event_says_what_caused_it(ctx: Context) -> None:
    candidate(ctx)
    entry = ctx.bus.log.tail(1, types=["ModelPromoted"])[0]
    chain = [entry.type]
    while entry.parent:
        (entry,) = ctx.bus.log.read(entry.parent - 1, 1)
        chain.append(entry.type)
    wanted = ["MatchFinished", "TrainingFinished", "SamplesExported", "GamesValidated", "SelfplayFinished"]
    assert chain == ["ModelPromoted", *wanted, "LoopStarted"]


def test_a_rejected_candidate_is_told_once_and_the_next_one_starts_from_it(ctx: Context) -> None:
    first = candidate(ctx, score=0.2)
    assert ModelStore(ctx.run).promoted(A) is None
    assert [e.event.model for e in ctx.bus.read(ModelRejected, A)] == [first]
    put(ctx)
    assert [e.event.model for e in ctx.bus.read(ModelRejected, A)] == [first]
    assert {job.payload["model"] for job in ctx.run.fabric.jobs.ls(states=OPEN, kind="selfplay")}.issuperset({first})


def test_the_second_candidate_meets_the_promoted_one(ctx: Context) -> None:
    first = candidate(ctx)
    for _ in range(20):
        put(ctx)
        for kind in ("selfplay", "ingest", "export", "train"):
            do(ctx, kind)
        ctx.clock.sleep(5)
        if standing(ctx, A).trained == 2:
            break
    met = []
    while found := [job for job in put(ctx) if job.kind == "match" and job.config == A]:
        met += found
        do(ctx, "match", score=0.96)
        changed = replace(RECIPE.match, opening_plies_max=30)  # by whoever starts the loop again: what is stated holds
        ctx.recipes.update({config: replace(ctx.recipes[config], match=changed) for config in (A, B)})
    assert [job.payload["b"] for job in met] == ["random", first]
    stated = [job.payload["match"] for job in met]
    assert [match["opening_plies_max"] for match in stated if isinstance(match, dict)] == [
        RECIPE.match.opening_plies_max
    ] * 2
    assert [job.payload["games"] for job in met] == [GATE.gate_games, GATE.games]
    assert ModelStore(ctx.run).history(A)[0].model == first
    assert len(ModelStore(ctx.run).history(A)) == 2


def test_a_loop_killed_between_promotion_and_verdict_says_it_later(ctx: Context) -> None:
    put(ctx)
    while not standing(ctx, A).trained:
        for kind in ("selfplay", "ingest", "export", "train"):
            do(ctx, kind)
            put(ctx)
    model = standing(ctx, A).newest
    assert model is not None
    ModelStore(ctx.run).promote(model.id, over=None, evidence={"reason": "won all"})
    (step,) = [step for step in steps(ctx, "gate") if model.id in step.what]
    step.do()
    step.do()
    assert [e.event.reason for e in ctx.bus.read(ModelPromoted, A)] == ["won all"]
    assert standing(ctx, A).judged


def test_shards_of_games_that_were_taken_back_are_made_again_without_a_new_game(ctx: Context) -> None:
    loop = replace(RECIPE.loop, skip_selfplay=True)
    ctx.recipes.update({config: replace(RECIPE, loop=loop) for config in (A, B)})
    record = Record.from_game(random_game(A, seed=1), seed=1, players=("random", "random"))
    games = ((numbered(record, 99, i), f"imported/{i}") for i in range(MANY + 1))
    GameStore(ctx.run).add_many(games, Provenance("elsewhere"))
    for kind in ("ingest", "export"):
        put(ctx)
        do(ctx, kind)
    last = GameStore(ctx.run).flow(A)
    assert last.valid == last.waiting == 0
    retract(ctx.run, games=[last.newest], reason="bad")
    assert [job.kind for job in put(ctx) if job.kind == "export" and job.config == A] == ["export"]


def unjudged(ctx: Context) -> ModelInfo:
    """The newest candidate, which has just been trained."""
    judged, newest = standing(ctx, A).trained, None
    while newest is None or standing(ctx, A).trained == judged:
        put(ctx)
        for kind in ("selfplay", "ingest", "export", "train"):
            do(ctx, kind)
        newest = standing(ctx, A).newest
        ctx.clock.sleep(5)
    return newest


def test_what_was_rolled_back_before_its_verdict_was_noted_is_not_promoted_again(ctx: Context) -> None:
    first, second = candidate(ctx), unjudged(ctx)
    store = ModelStore(ctx.run)
    for _ in range(2):
        put(ctx)
        do(ctx, "match")
    assert f"promote {second.id} for {A}" in [step.what for step in steps(ctx, "gate")]
    assert store.promote(second.id, over=first, evidence={"reason": "won all"})  # and here the loop was killed
    assert store.rollback(A) == first
    put(ctx)
    assert store.promoted(A) == first and standing(ctx, A).judged
    assert [e.event.reason for e in ctx.bus.read(ModelPromoted, A)][1:] == ["won all"]


def test_a_candidate_is_measured_again_with_who_was_promoted_before(ctx: Context) -> None:
    first, second, store = candidate(ctx), unjudged(ctx), ModelStore(ctx.run)
    other = store.register(A, ctx.run.fabric.blobs.put(b"other", ".safetensors"), None, {}, role="imported")
    met: list[object] = []

    def matches(many: int) -> None:
        for _ in range(many):
            met.extend(job.payload["b"] for job in put(ctx) if (job.kind, job.config) == ("match", A))
            do(ctx, "match", score=0.96)

    matches(2)
    assert store.promote(other, over=first)
    matches(1)
    assert store.rollback(A) == first
    matches(1)
    put(ctx)
    assert met == ["random", first, other, first]
    assert store.promoted(A) == second.id


def test_a_candidate_whose_deciding_match_died_is_rejected(ctx: Context) -> None:
    put(ctx)
    while not standing(ctx, A).trained:
        for kind in ("selfplay", "ingest", "export", "train"):
            do(ctx, kind)
            put(ctx)
    for job in ctx.run.fabric.jobs.claim("test", {"cores": 9, "memory": 1e12}, kinds=["match"], limit=9):
        ctx.run.fabric.jobs.fail(job, "its process ended by SIGSEGV", retry=False)
    put(ctx)
    rejected = ctx.bus.last(ModelRejected, A)
    assert rejected is not None and "could not be played" in rejected.event.reason


def test_the_config_with_the_least_self_play_goes_first(ctx: Context) -> None:
    spent = SelfplayFinished(config=B, job="x", batch="b", player="m-1", games=100, plies=1, seconds=500)
    ctx.publish(spent)
    wanted = steps(ctx, "selfplay")
    assert wanted and all(A in step.what for step in wanted)
    assert "500 core-seconds" not in wanted[0].why
    ctx.clock.sleep(2 * selfplay.RECENT_SECONDS)
    assert any(B in step.what for step in steps(ctx, "selfplay"))


def test_batches_are_as_long_as_is_wished(ctx: Context) -> None:
    recipe = replace(RECIPE, loop=replace(RECIPE.loop, games=10_000, batch_seconds=30))
    slow = replace(ctx, recipes={A: recipe})
    assert "play 8 games" in steps(slow, "selfplay")[0].what
    ctx.publish(SelfplayFinished(config=A, job="x", batch="b", player="heuristic", games=100, plies=1, seconds=1))
    assert "play 8 games" in steps(slow, "selfplay")[0].what  # another player's rate
    ctx.publish(SelfplayFinished(config=A, job="y", batch="c", player="m-01", games=100, plies=1, seconds=10))
    assert "play 300 games" in steps(slow, "selfplay")[0].what


def test_pressure_slows_self_play(ctx: Context) -> None:
    many = [len(steps(replace(ctx, level=lambda level=level: level), "selfplay")) for level in Level]  # type: ignore[misc]
    assert many[0] > many[1] >= many[2] == 1 > many[3] == 0


def test_the_last_round_gets_the_games_it_needs_and_no_more(ctx: Context) -> None:
    recipe = replace(RECIPE, loop=replace(RECIPE.loop, rounds=1))
    ctx.recipes.update({A: recipe, B: recipe})
    candidate(ctx)
    for _ in range(5):
        put(ctx)
        for kind in DO:
            do(ctx, kind)
    assert [GameStore(ctx.run).flow(config).exported for config in (A, B)] == [20, 20]
    assert put(ctx) == [] and not ctx.run.fabric.jobs.ls(states=OPEN)
    assert Until().reached(ctx.run, ctx.recipes, 0) == "every config has its 1 judged candidates"


def test_the_first_engine_plays_until_there_is_a_candidate(ctx: Context) -> None:
    recipe = replace(RECIPE, loop=replace(RECIPE.loop, first_engine="heuristic", first_games=30))
    one = replace(ctx, recipes={A: recipe})
    batches = put(one)
    while do(one, "selfplay"):
        batches += [job for job in put(one) if job.kind == "selfplay"]
    assert {job.payload["engine"] for job in batches} == {"heuristic"}
    assert sum(int(str(job.payload["games"])) for job in batches) == 30
    model = candidate(one)
    last = [job for job in put(one) if job.kind == "selfplay"] or one.run.fabric.jobs.ls(states=OPEN, kind="selfplay")
    assert {(job.payload["engine"], job.payload["model"]) for job in last} == {("gumbel", model)}


def test_after_a_death_it_waits(ctx: Context) -> None:
    put(ctx)
    for job in ctx.run.fabric.jobs.claim("test", {"cores": 99, "memory": 1e12}, kinds=["selfplay"], limit=99):
        ctx.run.fabric.jobs.fail(job, "no network", retry=False)
    assert put(ctx) == []
    ctx.clock.sleep(PAUSE_SECONDS)
    assert {job.state for job in put(ctx)} == {JobState.WAITING}


def test_a_loop_that_lost_its_lease_puts_nothing(ctx: Context) -> None:
    step = steps(ctx, "selfplay")[0]
    assert ctx.lease is not None
    ctx.lease.release()
    with pytest.raises(LeaseLost):
        step.do()
    assert ctx.run.fabric.jobs.ls() == []


def test_limits(ctx: Context) -> None:
    assert Until.parse("elo=1500,hours=2") == Until(elo=1500, hours=2)
    recipes = {A: replace(RECIPE, loop=replace(RECIPE.loop, minutes=10))}
    assert Until().reached(ctx.run, recipes, 601) == ""  # no candidate yet
    model = candidate(ctx)
    assert Until().reached(ctx.run, recipes, 599) == ""
    assert Until().reached(ctx.run, recipes, 601) == "10 minutes are over"
    assert "1 judged" in Until(models=1).reached(ctx.run, recipes, 0)
    assert "1 promoted" in Until(promoted=1).reached(ctx.run, recipes, 0)
    store = ModelStore(ctx.run)
    other = store.register(A, ctx.run.fabric.blobs.put(b"other", ".safetensors"), None, {})
    store.promote(other, over=model)
    store.rollback(A)
    assert Until(promoted=3).reached(ctx.run, recipes, 0) == ""  # a rollback is no promotion
    assert Until(elo=1).reached(ctx.run, recipes, 0) == ""
    assert Until(hours=0.5).reached(ctx.run, ctx.recipes, 1801) == "0.5 hours are over"
    assert model in {one.candidate for one in rounds(ctx.run, A)}


@pytest.mark.parametrize("how", ["died", "was cancelled"])
def test_what_the_store_lacks_is_wanted_again(ctx: Context, how: str) -> None:
    found: list[Job] = []
    while not found:
        do(ctx, "selfplay")
        found = [job for job in put(ctx) if job.kind == "ingest"]
    (job,) = found
    (claimed,) = ctx.run.fabric.jobs.claim("w", {"cores": 1, "memory": 1e12}, kinds=["ingest"])
    if how == "died":
        ctx.run.fabric.jobs.fail(claimed, "no", retry=False)
    else:
        ctx.run.fabric.jobs.stop(job.id)
        ctx.run.fabric.jobs.release(claimed)
    put(ctx)
    assert job.id not in {one.id for one in ctx.run.fabric.jobs.ls(states=OPEN)}  # another would fare no better yet
    ctx.clock.sleep(PAUSE_SECONDS)
    put(ctx)
    assert job.id in {one.id for one in ctx.run.fabric.jobs.ls(states=OPEN)}


def test_a_match_that_has_just_ended_rejects_nobody(ctx: Context) -> None:
    for _ in range(20):
        put(ctx)
        for kind in ("selfplay", "ingest", "export", "train"):
            do(ctx, kind)
        ctx.clock.sleep(5)
    while claimed := ctx.run.fabric.jobs.claim("w", {"cores": 9, "memory": 1e12}, kinds=["match"]):
        ctx.run.fabric.jobs.finish(claimed[0], {})  # the plan has read the model before its result was noted
    assert steps(ctx, "gate") == []


def test_batches_of_a_config_that_is_not_played_now_are_left_alone(ctx: Context) -> None:
    put(ctx)
    alone = replace(ctx, recipes={A: RECIPE})
    assert all(B not in step.what for step in steps(alone, "selfplay"))
