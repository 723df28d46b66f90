"""What lies before a config: what its loop is going to do, about how long that takes, how far the next candidate is."""

from __future__ import annotations

from collections import defaultdict

from ringrift.fabric import Job, JobState
from ringrift.pipeline import evaluate, selfplay, train
from ringrift.pipeline.settings import Recipe, recipe_of
from ringrift.pipeline.standing import Standing, standing_of
from ringrift.rules import config_info
from ringrift.store import RunDirectory

#: Core-seconds of a game of the engine that plays before the first candidate, measured on a Xeon core with AVX-512.
GAME_SECONDS = {"square8": 0.03, "hex8": 0.12, "square19": 0.5, "hexagonal": 1.5}
MEASURED_ENGINE = "paranoid"
#: Processor time until the first candidate is judged, in that of its games: 354 of 125 s on square8_2p, 26 of 8 minutes
#: on hex8_4p.
WHOLE = 3.0


def opening(run: RunDirectory, config: str, recipe: Recipe, cores: int) -> str:
    """What the loop is going to do for a config, at its start."""
    now = standing_of(run, recipe.loop, config)
    if now.trained or recipe.loop.skip_selfplay:
        return f"{config}: {now.trained} candidates so far; {ahead(run, config, recipe)}"
    engine = recipe.loop.first_engine or recipe.selfplay.engine
    against = ", ".join([*recipe.gate.gates, "the model promoted before"])
    text = (
        f"{config}: {engine} plays {now.wanted:,} games, the first candidate learns from them, and is judged by matches"
    )
    text += f" against {against}"
    if engine == MEASURED_ENGINE and recipe.selfplay == type(recipe.selfplay)():
        missing = max(0, now.wanted - now.fresh - now.flow.valid - now.flow.waiting)
        seconds = WHOLE * missing * GAME_SECONDS[config_info(config).board] / cores
        text += f"; on {cores} idle {'core' if cores == 1 else 'cores'} this takes about {duration(seconds)}"
    return text


def ahead(run: RunDirectory, config: str, recipe: Recipe | None = None) -> str:
    """How far the next candidate of a config is; empty where the run has all that it is to have."""
    recipe = recipe or recipe_of(run.fabric.registry, config)[0]
    now = standing_of(run, recipe.loop, config)
    running = defaultdict[str, list[Job]](list)
    for job in run.fabric.jobs.ls(states=(JobState.LEASED,), config=config):
        running[job.kind].append(job)
    number = now.trained + now.judged
    name = "first candidate" if number == 1 else f"candidate {number}"
    if training := running[train.KIND.name]:
        return f"{name} is trained: {_far(training, 'steps')}"
    if not now.judged:
        return f"{name} is judged: {_far(running[evaluate.KIND.name], 'games of its match')}"
    return "" if now.finished else f"{name}: {_gathered(now, running[selfplay.KIND.name])}"


def _gathered(now: Standing, playing: list[Job]) -> str:
    """`1,240 of 4,000 games (31 %), about 2 min until it is trained`."""
    have = now.fresh + now.flow.valid + now.flow.waiting + sum(int(_number(job, "done")) for job in playing)
    rate, missing = sum(_number(job, "rate") for job in playing), now.wanted - have
    if missing <= 0:
        return f"{have:,} of {now.wanted:,} games are there, their samples are made"
    left = f", about {duration(missing / rate)} until it is trained" if rate else ""
    return f"{have:,} of {now.wanted:,} games ({have / now.wanted:.0%}){left}"


def _far(running: list[Job], what: str) -> str:
    """`540 of 1,000 steps, about 2 min`, of the job that has most left."""
    known = [(_number(job, "done"), _number(job, "total"), _number(job, "rate")) for job in running]
    known = [one for one in known if one[1]]
    if not known:
        return "its job waits or starts"
    done, total, rate = max(known, key=lambda one: (one[1] - one[0]) / (one[2] or 1))
    left = f", at most {duration((total - done) / rate)}" if rate else ""
    return f"{done:,.0f} of {total:,.0f} {what}{left}"


def _number(job: Job, name: str) -> float:
    return float(str(job.progress.get(name) or 0))


def duration(seconds: float) -> str:
    """`40 s`, `5 min` or `3 h 10 min`, rounded up."""
    if seconds < 55:
        return f"{max(10, 10 * round(seconds / 10 + 0.5))} s"
    minutes = int(seconds / 60 + 0.999)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
