"""Regression: the promoted model goes on playing matches, and is rolled back where they show that it is much worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ringrift.evaluation import Check, Finding, Grade, assess
from ringrift.evaluation.gauntlet import elo_of_share, openings_digest
from ringrift.evaluation.match import SEATINGS
from ringrift.evaluation.statistics import expected_score
from ringrift.fabric import OPEN, Job
from ringrift.kernel.events import JobDied
from ringrift.kernel.service import Service, Step
from ringrift.pipeline import evaluate
from ringrift.pipeline.cards import write_card
from ringrift.pipeline.events import MatchFinished, ModelPromoted, ModelRolledBack, RegressionDetected
from ringrift.pipeline.service import Context
from ringrift.pipeline.standing import cause, died_lately, putting
from ringrift.rules import config_info
from ringrift.selfplay import derive_seed
from ringrift.store import ModelInfo, ModelStore
from ringrift.store.models import Promotion
from ringrift.store.provenance import retract, retractions

DAY_SECONDS = 86400.0
PREFIX = "check/"
EVEN = 0.5  #: what is claimed of games against the model that was replaced


def plan(ctx: Context) -> Iterator[Step]:
    """For each promoted model what its checks call for: the news, a rollback, or the next check."""
    store = ModelStore(ctx.run)
    for config in ctx.configs:
        if not (history := store.history(config)):
            continue
        last, model = history[-1], store.show(history[-1].model)
        rollbacks = {one.evidence["rolled_back_from"]: one for one in history if one.action == "rollback"}
        if untold := [one for one in rollbacks.values() if not _noted(store, one)]:
            what = f"say that {untold[0].evidence['rolled_back_from']} was rolled back for {config}"
            yield Step(what, "it was, and nobody has been told", partial(note, ctx, untold[0]))
            continue
        for back in rollbacks.values():
            bad = str(back.evidence["rolled_back_from"])
            again = any(one.model == bad and one.revision > back.revision for one in history)
            if not again and (games := _late_games(ctx, bad, _why(back))):
                what = f"take back {len(games)} games of {bad}"
                why = "they were still being played when it was rolled back"
                yield Step(what, why, partial(retract, ctx.run, games=games, reason=_why(back), by="regression"))
        finding, settings = finding_of(ctx, model), ctx.recipes[config].regression
        if finding.grade and finding.to_dict() != model.metrics.get("regression"):
            what = f"tell of a {finding.grade.name.lower()} regression of {model.id}"
            yield Step(what, finding.reason, partial(_tell, ctx, model, finding))
        if finding.grade >= Grade.SEVERE and last.previous and settings.rollback and not _spared(ctx, history):
            what = f"go back from {model.id} to {last.previous} for {config}"
            yield Step(what, finding.reason, partial(_roll_back, ctx, config, finding))
        elif job := _next_check(ctx, model, last, finding):
            yield Step(
                f"let {model.id} play {job.payload['games']} games of {config} against {job.payload['b']}",
                f"it is promoted, and is watched over {settings.checks} checks",
                putting(ctx, job),
            )


def finding_of(ctx: Context, model: ModelInfo) -> Finding:
    """What the checks of a promoted model have shown."""
    found = sorted((int(number), match) for number, match in evaluate.noted_matches(model, PREFIX).items())
    noted: Mapping[str, Any] = model.metrics
    claims = {number: noted[f"{PREFIX}{number}"].get("claim") for number, _ in found}  # earlier versions noted none
    checks = [Check(match.b, claims[number], match) for number, match in found if claims[number]]
    return assess(checks, ctx.recipes[model.config].regression)


def _next_check(ctx: Context, model: ModelInfo, last: Promotion, finding: Finding) -> Job | None:
    """The next check, if it is time: every other one against the model that was replaced, the others against the gates
    in turn; other openings for each."""
    config, recipe = model.config, ctx.recipes[model.config]
    rows, number = SEATINGS[config_info(config).players], 0
    gates = [(name, expected_score(elo_of_share(share), rows)) for name, share in recipe.gate.gates.items()]
    before = [(last.previous, EVEN)] if last.previous else []
    while job := ctx.run.fabric.jobs.get(_id(model, number)):
        if job.state in OPEN:
            return None
        number += 1
    number = max([number, *(1 + int(name) for name in evaluate.noted_matches(model, PREFIX))])
    opponents = [one for gate in gates for one in (*before, gate)] or before
    noted = [float(str(kept["at"])) for name, kept in model.metrics.items() if name.startswith(PREFIX)]  # type: ignore[index]
    waited = ctx.clock.now() - max([last.at, *noted])
    early = not finding.grade and 0 <= waited < 60 * recipe.regression.minutes
    if number >= recipe.regression.checks or not opponents or early or died_lately(ctx, evaluate.KIND.name, config):
        return None
    seed, games = derive_seed(recipe.loop.seed, "check", model.id, number), recipe.regression.games
    opponent, claim = opponents[number % len(opponents)]
    pair = evaluate.MatchPair(
        a=model.id, b=opponent, name=f"{PREFIX}{number}", games=games, seed=seed, match=recipe.match, claim=claim,
        openings_sha256=openings_digest(config, seed, replace(recipe.match, games=games)),
    )  # fmt: skip
    name = _id(model, number).removeprefix(f"{evaluate.KIND.name}/{config}/")
    return evaluate.KIND.job(name, pair, config, cause(ctx, ModelPromoted, config))


def _id(model: ModelInfo, number: int) -> str:
    return f"{evaluate.KIND.name}/{model.config}/{model.id}/{PREFIX}{number}"


def _spared(ctx: Context, history: list[Promotion]) -> bool:
    """Whether there were as many rollbacks of late as are allowed."""
    settings, now = ctx.recipes[history[-1].config].regression, ctx.clock.now()
    ages = [now - entry.at for entry in history if entry.action == "rollback"]
    lately = any(0 <= age < 60 * settings.cooldown_minutes for age in ages)
    return lately or sum(0 <= age < DAY_SECONDS for age in ages) >= settings.rollbacks_a_day


def _tell(ctx: Context, model: ModelInfo, finding: Finding) -> None:
    known = model.metrics.get("regression")
    grade = finding.grade.name.lower()
    if not isinstance(known, dict) or known["grade"] != grade:
        told = RegressionDetected(
            config=model.config, model=model.id, grade=grade, opponent=finding.opponent, drop=finding.drop,
            games=finding.games, reason=finding.reason,
        )  # fmt: skip
        revision = ModelStore(ctx.run).history(model.config)[-1].revision
        id_ = f"regression/{model.id}/{revision}/{finding.games}"
        ctx.publish(told, parent=cause(ctx, MatchFinished, model.config), id_=id_)
    ModelStore(ctx.run).annotate(model.id, regression=finding.to_dict())


def _roll_back(ctx: Context, config: str, finding: Finding) -> None:
    store = ModelStore(ctx.run)
    store.rollback(config, evidence={"reason": finding.reason, "regression": finding.to_dict()}, lease=ctx.lease)
    note(ctx, store.history(config)[-1])


def note(ctx: Context, entry: Promotion) -> None:
    """What follows from a rollback: the games of the model are marked, where it was found wanting, and it is told."""
    model, reason = str(entry.evidence["rolled_back_from"]), str(entry.evidence.get("reason", "by hand"))
    automatic, games = "regression" in entry.evidence, 0
    if automatic:
        why = _why(entry)
        before = [one for one in retractions(ctx.run) if one.reason == why]  # by a loop that was killed here
        games = (before or [retract(ctx.run, model=model, reason=why, by="regression")])[0].games
    told = ModelRolledBack(
        config=entry.config, model=model, to=entry.model, reason=reason, automatic=automatic, retracted=games
    )
    parent = cause(ctx, RegressionDetected, entry.config) if automatic else None
    ctx.publish(told, parent=parent, id_=f"rollback/{entry.config}/{entry.revision}")
    ModelStore(ctx.run).annotate(model, rolled_back={"revision": entry.revision, "to": entry.model, "reason": reason})
    for one in (model, entry.model):
        write_card(ctx.run, one)


def _why(entry: Promotion) -> str:
    """The reason for which the games of a model that was rolled back are taken back."""
    revision, reason = entry.revision, entry.evidence.get("reason", "by hand")
    return f"{entry.evidence['rolled_back_from']} was rolled back (revision {revision}): {reason}"


def _late_games(ctx: Context, model: str, why: str) -> list[int]:
    """Games of a model that came after its others were taken back for that reason, which nobody has undone."""
    rows = ctx.run.database.rows(
        "SELECT id FROM games, (SELECT min(at) AS since, count(undone) AS undone FROM retractions WHERE reason = ?1)"
        " WHERE model = ?2 AND model <> '' AND retraction IS NULL AND state <> 'quarantined' AND added > since"
        " AND undone = 0",
        [why, model],
    )
    return [row["id"] for row in rows]


def _noted(store: ModelStore, entry: Promotion) -> bool:
    kept = store.show(str(entry.evidence["rolled_back_from"])).metrics.get("rolled_back")
    return isinstance(kept, dict) and kept["revision"] == entry.revision


STAGE = Service(
    "regression", plan, every=15.0, on=(MatchFinished, ModelPromoted, JobDied),
    emits=(RegressionDetected, ModelRolledBack), after=("gate",),
)  # fmt: skip
