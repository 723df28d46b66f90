"""What has to be true: None for each thing that is, a sentence for each that is not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from ringrift.fabric import OPEN, JobState
from ringrift.kernel.events import JobDied
from ringrift.pipeline import selfplay
from ringrift.simulation.machines import FAILED
from ringrift.simulation.results import NUMBERS

if TYPE_CHECKING:
    from ringrift.simulation.days import Simulation

Looked = Iterator[str | None]


def results_are_taken_once(at: Simulation) -> Looked:
    """No job was finished under two claims."""
    for id_, fences in at.jobs.finished.items():
        yield f"{id_} was finished under claims {sorted(fences)}" if len(fences) > 1 else None


def only_the_last_claim_reports(at: Simulation) -> Looked:
    """Nobody whose claim was lost could extend or finish a job."""
    yield from at.jobs.stale or (None,)


def claims_never_meet(at: Simulation) -> Looked:
    """Each claim of a job has a fencing number of its own."""
    for (id_, fence), times in at.jobs.claims.items():
        yield f"{id_} was claimed {times} times under fence {fence}" if times > 1 else None


def no_job_is_forgotten(at: Simulation) -> Looked:
    """Every job that was ever put is there."""
    for id_ in sorted(at.jobs.known):
        yield None if at.fabric.jobs.get(id_) else f"{id_} was put and is gone"


def done_jobs_are_stored(at: Simulation) -> Looked:
    """What a finished job was to make is in the store."""
    for id_ in at.unseen:
        job = at.fabric.jobs.get(id_)
        if job is None or job.kind != selfplay.KIND.name:
            continue
        batch = selfplay.SelfplayBatch.model_validate(dict(job.payload))
        stored = len(at.store.work_ids(f"{job.config}/batch-{batch.number:06d}/"))
        yield None if stored == batch.games else f"{id_} is done, and {stored} of its {batch.games} games are stored"


def wrong_games_are_quarantined(at: Simulation) -> Looked:
    """Unsound games are never valid, and sound ones never quarantined."""
    rows = at.run_directory.database.rows("SELECT config, plies, state, count(*) AS n FROM games GROUP BY 1, 2, 3")
    for row in rows:
        unsound = row["plies"] == len(at.records[row["config"]][True].moves) + NUMBERS
        right = "quarantined" if unsound else "valid"
        yield None if row["state"] in (right, "received") else f"{row['n']} games are {row['state']}, not {right}"


def games_are_in_one_shard(at: Simulation) -> Looked:
    """Shards count the games that say that they are in them."""
    query = "SELECT id, games, (SELECT count(*) FROM games WHERE shard = shards.id) AS found FROM shards"
    for row in at.run_directory.database.rows(query):
        yield None if row["games"] == row["found"] else f"shard {row['id']} has {row['found']} of {row['games']} games"


def promotions_follow_each_other(at: Simulation) -> Looked:
    """Each promoted model took the place of the one before it, and none of them was spoilt."""
    for config in at.plan.configs:
        before = None
        for promotion in at.models.history(config):
            sound = promotion.previous == before and promotion.model not in at.spoilt
            yield (
                None if sound else f"{promotion.model} was promoted over {promotion.previous}, not {before}, or spoilt"
            )
            before = promotion.model


def events_are_in_order(at: Simulation) -> Looked:
    """Numbers without a gap, causes before what they caused, and one event for each job that ended."""
    for entry in at.fabric.log.read(at.read_up_to, at.fabric.log.last()):
        sound = entry.sequence == at.read_up_to + 1 and (entry.parent or 0) < entry.sequence
        yield None if sound else f"event {entry.sequence} follows {at.read_up_to}, caused by {entry.parent}"
        if "job" in entry.payload and entry.type != JobDied.__name__:
            told = entry.type, entry.payload["job"]
            yield f"{told} was told twice" if told in at.told else None
            at.told.add(told)
        at.read_up_to = entry.sequence


def one_loop_at_a_time(at: Simulation) -> Looked:
    """No process carried out a step after another had taken the loop's lease."""
    for before, after in pairwise(at.commands):
        yield None if before <= after else f"a loop with lease {after} acted after one with {before}"


def no_job_dies_of_a_broken_machine(at: Simulation) -> Looked:
    """What one machine fails, others finish."""
    for job in at.fabric.jobs.ls(states=[JobState.DEAD]):
        yield f"{job.id} died of it, and others could have done it" if job.error == FAILED else None
    yield None


def nothing_left_over(at: Simulation) -> Looked:
    """Once nothing fails any more, every open job ends."""
    left = at.fabric.jobs.ls(states=OPEN)
    yield from [f"{job.id} is {job.state} and never ends" for job in left] or (None,)


INVARIANTS = (
    results_are_taken_once,
    only_the_last_claim_reports,
    claims_never_meet,
    no_job_is_forgotten,
    done_jobs_are_stored,
    wrong_games_are_quarantined,
    games_are_in_one_shard,
    promotions_follow_each_other,
    events_are_in_order,
    one_loop_at_a_time,
    no_job_dies_of_a_broken_machine,
)
