"""Evaluate: the newest candidate plays its gauntlet, one match after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from ringrift.errors import DataError
from ringrift.evaluation import (
    GateSettings,
    Hurdle,
    MatchResult,
    MatchSettings,
    Plan,
    Tally,
    Verdict,
    decide,
    gauntlet,
    match,
    planned_games,
)
from ringrift.evaluation.kept import GameResult, MatchFile, match_file, read_matches
from ringrift.evaluation.match import playing, summary
from ringrift.fabric import Job, JobState, Parcel
from ringrift.kernel.kind import Kind, Order, Payload, Show, quiet
from ringrift.kernel.service import Service, Step
from ringrift.pipeline.cards import write_card
from ringrift.pipeline.events import MatchFinished, TrainingFinished
from ringrift.pipeline.kind import Work
from ringrift.pipeline.models import Playable, choose_player, chosen, player_over
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import Standing, cause, putting, standing
from ringrift.players import PlayerChoice
from ringrift.selfplay import PlaySettings, derive_seed
from ringrift.store import ModelInfo, ModelStore, RunDirectory

PATIENCE = 30.0  #: seconds that games wait to be kept while another process keeps some of the same match


def plan(ctx: Context) -> Iterator[Step]:
    """A job for the match that comes next for each newest candidate without a verdict."""
    for now in (standing(ctx, config) for config in ctx.configs):
        model = now.newest
        if model is None or now.judged or ModelStore(ctx.run).promoted(now.config) == model.id:
            continue
        if (verdict := so_far(ctx, model)) is None:
            what = f"state the gauntlet of {model.id} for {now.config}"
            yield Step(what, "nothing is played before it", partial(_state, ctx, now, model))
        elif verdict.next and ctx.run.fabric.jobs.get(job_id(ctx, model, verdict.next)) is None:
            yield Step(
                f"let {model.id} play at most {verdict.next.games} games of {now.config} against"
                f" {verdict.next.opponent}",
                f"it is candidate {now.trained}, and passed {len(verdict.matches)} matches of {len(verdict.gauntlet)}",
                putting(ctx, _job(ctx, model, verdict.next)),
            )


def so_far(ctx: Context, model: ModelInfo) -> Verdict | None:
    """The verdict on a candidate by what was played; None where its gauntlet is not stated yet."""
    if (stated := stated_gauntlet(ctx.run, model)) is None:
        return None
    results: dict[str, MatchResult | None] = {**noted_matches(model, "match/")}
    for hurdle in stated:
        job = ctx.run.fabric.jobs.get(job_id(ctx, model, hurdle))
        if job is not None and job.state in (JobState.DEAD, JobState.CANCELLED):
            results.setdefault(hurdle.name, None)
    return decide(stated, results, ctx.recipes[model.config].gate.voids)


def job_id(ctx: Context, model: ModelInfo, hurdle: Hurdle) -> str:
    """Of the job of a match; another one whenever what is promoted has changed, and with it the gauntlet."""
    revision = ModelStore(ctx.run).revision(model.config)
    return f"{KIND.name}/{model.config}/{model.id}/{hurdle.name}/{hurdle.opponent}/{revision}"


def _job(ctx: Context, model: ModelInfo, hurdle: Hurdle) -> Job:
    pair = MatchPair(
        a=model.id, b=hurdle.opponent, name=f"match/{hurdle.name}", games=hurdle.games, sprt=(hurdle.lo, hurdle.hi),
        alpha=hurdle.alpha, beta=hurdle.beta, seed=hurdle.seed, openings_sha256=hurdle.openings_sha256,
        match=hurdle.match,
    )  # fmt: skip
    name = job_id(ctx, model, hurdle).removeprefix(f"{KIND.name}/{model.config}/")
    return KIND.job(name, pair, model.config, cause(ctx, TrainingFinished, model.config))


def _state(ctx: Context, now: Standing, model: ModelInfo) -> None:
    if ctx.lease:
        ctx.lease.check()
    recipe = ctx.recipes[now.config]
    state_gauntlet(ctx.run, model, recipe.gate, recipe.match, now.loop.seed)
    ctx.wake("evaluate")


class MatchPair(Payload):
    """Let a model play somebody, as it was stated beforehand."""

    a: str
    b: str
    """A player as `players` names it, `initial`, or the id of a model."""
    name: str
    """What keeps the result among the figures of A: `match/heuristic`."""
    games: int
    """At most."""
    sprt: tuple[float, float] | None = None
    """Hypotheses of the sequential test; none: all games are played."""
    alpha: float = 0.05
    beta: float = 0.05
    seed: int
    openings_sha256: str
    """SHA-256 of the openings; a match with others is not played."""
    match: MatchSettings | None = None
    """Settings under which it was stated; none: those in force."""
    claim: float | None = None
    """Share of the games that A should win at least, in a check of the promoted model."""


class MatchOrder(Order):
    """Let two players meet."""

    a: str
    """A player's name; a model by its id."""
    b: str
    pair: MatchPair
    settings: MatchSettings
    models: tuple[Playable, ...]
    kept: dict[str, dict[str, Any]]
    """Games of the match that the store has, by work id."""
    file: str
    """Where it keeps them: a name in `matches/`."""


def prepare(run: RunDirectory, at: Work, pair: MatchPair) -> MatchOrder:
    """Under the settings that were stated."""
    config, settings = at.config, pair.match or at.recipe.match
    settings = replace(
        settings, games=pair.games, sprt=pair.sprt, alpha=pair.alpha, beta=pair.beta,
        play=replace(at.recipe.match.play, processes=1),
    )  # fmt: skip
    (a, ours), (b, theirs) = (chosen(run, config, name, settings.search) for name in (pair.a, pair.b))
    save = _file(run, config, a, b, settings, pair.seed)
    games = [games for _, games in read_matches([save])] if save.is_file() else []
    return MatchOrder(
        a=a.name, b=b.name, pair=pair, settings=settings, file=save.name,
        models=(*ours, *theirs),
        kept={work: asdict(game) for work, game in games[0].items()} if games else {},
    )  # fmt: skip


def compute(at: Work, order: MatchOrder) -> Iterator[Parcel]:
    """The games of the match as they end, about a second's at a time; with the last of them what came of it."""
    pair, settings = order.pair, order.settings
    for model in order.models:
        model.check(at.blobs, at.config)
    a, b = (player_over(at.config, name, settings.search, order.models, at.blobs) for name in (order.a, order.b))
    plan = Plan(a, b, settings, pair.seed, None)
    if plan.openings_sha256 != pair.openings_sha256:
        raise DataError(
            f"the openings of {at.job.id} have SHA-256 {plan.openings_sha256}, and {pair.openings_sha256} was stated:"
            " another release makes others; the next candidate states its own"
        )
    kept = MatchFile({work: GameResult.from_dict(game) for work, game in order.kept.items()})
    tally, total, sent, new = Tally(plan), planned_games(at.config, settings), time.monotonic(), list[str]()
    header = plan.header()  # hashes the networks
    tally.advance(kept.games)

    def parcel(result: MatchResult | None = None) -> Parcel:
        games = {work: asdict(kept.games[work]) for work in new}
        noted = {"a": pair.a, "b": pair.b, "name": pair.name, "claim": pair.claim, "at": time.time()}
        told = {"result": result.to_dict(), **noted} if result else None
        return Parcel({"file": order.file, "header": header, "games": games, "told": told})

    with at.show(f"{a.name} against {b.name}", total) as advance:
        advance(min(len(kept.games), total), tally.remark())
        for work in playing(plan, tally, kept):
            new.append(work)
            if time.monotonic() - sent >= at.parcel_seconds:
                yield parcel()
                new, sent = [], time.monotonic()
            advance(min(len(kept.games), total), tally.remark())
    yield parcel(summary(plan, tally))


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> MatchFinished | None:
    """Keeps games, each once; and what came of the match with the model that was A in it."""
    about = parcel.about
    if about["games"]:
        with match_file(run.path / "matches" / about["file"], about["header"], PATIENCE) as kept:
            for work, game in about["games"].items():
                if work not in kept.games:
                    kept.add(work, GameResult.from_dict(game))
    if (told := about["told"]) is None:
        return None
    result = MatchResult.from_dict(told["result"])
    note_match(run, told["a"], told["name"], result, told["at"], told["claim"])
    return MatchFinished(
        config=at.config, job=at.job.id, a=told["a"], b=told["b"], opponent=told["name"], games=result.games,
        score=result.score, low=result.interval[0], high=result.interval[1],
    )  # fmt: skip


def _file(run: RunDirectory, config: str, a: PlayerChoice, b: PlayerChoice, settings: MatchSettings, seed: int) -> Path:
    """Where a run keeps the games of a match."""
    key = derive_seed(seed, config, a.name, b.name, repr(replace(settings, play=PlaySettings())))
    return run.path / "matches" / f"{config}-{key:016x}.jsonl"


def play_match(
    run: RunDirectory | None,
    config: str,
    a: str,
    b: str,
    settings: MatchSettings,
    *,
    seed: int = 0,
    save: Path | None = None,
    planned: Callable[[Plan], None] = lambda plan: None,
    show: Show = quiet,
) -> MatchResult:
    """A against B, both by name; see `match`. Without `save`, a run keeps it in `matches/`: a match of the same players
    and settings that was killed goes on, and one that was finished is not played again."""
    first, second = (choose_player(run, config, name, settings.search) for name in (a, b))
    if run and save is None:
        save = _file(run, config, first, second, settings, seed)
    total = planned_games(config, settings)
    with show(f"{first.name} against {second.name}", total) as advance:

        def progress(played: int, tally: Tally) -> None:
            advance(min(played, total), tally.remark())

        return match(first, second, settings, seed=seed, save=save, planned=planned, progress=progress)


def state_gauntlet(
    run: RunDirectory, model: ModelInfo, settings: GateSettings, match: MatchSettings, seed: int = 0
) -> tuple[Hurdle, ...]:
    """The matches of a candidate, kept with it before the first of them; anew where another model is promoted by now.

    Raises `DataError` where it is promoted itself.
    """
    store = ModelStore(run)
    if (kept := stated_gauntlet(run, model)) is not None:
        return kept
    champions = store.champions(model.config)
    if model.id in champions[:1]:
        raise DataError(f"{model.id} is promoted for {model.config}: name a candidate, or see `ringrift models ls`")
    promotions = sum(entry.action == "promote" for entry in store.history(model.config))
    plan = gauntlet(
        model.config, settings, match, champions=champions, promotions=promotions, seed=derive_seed(seed, model.id)
    )
    store.annotate(model.id, gauntlet=[asdict(hurdle) for hurdle in plan])
    return plan


def stated_gauntlet(run: RunDirectory, model: ModelInfo) -> tuple[Hurdle, ...] | None:
    """What `state_gauntlet` kept with a candidate, if it was stated against what is promoted now."""
    plan = tuple(stated_hurdles(model).values())
    over = decide(plan, {}).over
    return plan if plan and over == ModelStore(run).promoted(model.config) else None


def stated_hurdles(model: ModelInfo) -> dict[str, Hurdle]:
    """The gauntlet of a candidate by name, as it was stated last; empty where none was."""
    kept = model.metrics.get("gauntlet", [])
    assert isinstance(kept, list)
    return {one["name"]: Hurdle.from_dict(one) for one in kept}


def note_match(
    run: RunDirectory, model: str, name: str, result: MatchResult, at: float, claim: float | None = None
) -> None:
    """Keeps a match with the model that was A in it, and what share of it was claimed."""
    ModelStore(run).annotate(model, **{name: {**result.to_dict(), "at": at, "claim": claim}})
    write_card(run, model)


def noted_matches(model: ModelInfo, prefix: str) -> dict[str, MatchResult]:
    """The matches kept with a model under names that begin so, by the rest of the name."""
    return {
        name.removeprefix(prefix): MatchResult.from_dict(
            {key: value for key, value in kept.items() if key not in ("at", "opponent", "claim")}
        )
        for name, kept in model.metrics.items()
        if name.startswith(prefix) and isinstance(kept, dict)
    }


KIND = Kind("match", MatchPair, MatchOrder, prepare, compute, apply, MatchFinished, priority=50)
STAGE = Service("evaluate", plan, every=10.0, on=(TrainingFinished, MatchFinished), job=KIND)
