"""The causal tree of events, jobs, models and games."""

import pytest
from services import context

from ringrift.clock import VirtualClock
from ringrift.errors import DataError
from ringrift.fabric import Job, LogEntry
from ringrift.pipeline.events import (
    GamesValidated,
    LoopStarted,
    MatchFinished,
    ModelPromoted,
    SamplesExported,
    SelfplayFinished,
    TrainingFinished,
)
from ringrift.pipeline.service import Context
from ringrift.pipeline.trace import DEPTH, Cause, Trace, trace

C = "square8_2p"


def story(ctx: Context) -> dict[str, int]:
    """Two batches of a loop; the first leads to a promoted model."""
    say, told = ctx.publish, {}
    told["loop"] = root = say(LoopStarted(profile="laptop", configs=[C], release="0"))
    for number in (1, 2):
        told[f"play{number}"] = say(
            SelfplayFinished(
                config=C,
                job=f"selfplay/{C}/{number}",
                batch=f"{C}/batch-{number}",
                player="p",
                games=3,
                plies=9,
                seconds=1,
            ),
            parent=root,
        )
    told["valid"] = say(GamesValidated(job="ingest/1", valid=3, quarantined=0), parent=told["play1"])
    told["export"] = say(
        SamplesExported(config=C, job=f"export/{C}/1", games=3, samples=9, shards=1), parent=told["valid"]
    )
    told["train"] = say(
        TrainingFinished(
            config=C,
            job=f"train/{C}/1",
            model="m-1",
            trained_from="m-0",
            steps=4,
            samples=9,
            loss_before=2,
            loss_after=1,
        ),
        parent=told["export"],
    )
    told["match"] = say(
        MatchFinished(
            config=C, job=f"match/{C}/1", a="m-1", b="m-0", opponent="best", games=4, score=0.7, low=0.5, high=0.9
        ),
        parent=told["train"],
    )
    told["promote"] = say(ModelPromoted(config=C, model="m-1", over="m-0", reason="0.7"), parent=told["match"])
    ctx.run.fabric.jobs.put([Job(f"selfplay/{C}/3", "selfplay", C, parent=told["promote"])])
    return told


def numbers(found: Trace) -> list[int]:
    return [entry.sequence for entry in found.path]


def below(cause: Cause) -> list[int | str]:
    first = cause.what.sequence if isinstance(cause.what, LogEntry) else cause.what.id
    return [first, *(one for led in cause.led_to for one in below(led))]


def test_a_model_its_causes_and_what_came_of_it() -> None:
    ctx = context(VirtualClock())
    told = story(ctx)
    (found,) = trace(ctx.run.fabric, "m-1")
    assert numbers(found) == [told["loop"], told["play1"], told["valid"], told["export"]]
    assert below(found.tree) == [told["train"], told["match"], told["promote"], f"selfplay/{C}/3"]
    assert found.tree.asked and found.tree.led_to[0].asked


def test_what_was_done_for_all_configs_leads_back_to_the_model_s_own() -> None:
    ctx = context(VirtualClock())
    told, other = story(ctx), "hex8_2p"
    say, root = ctx.publish, told["loop"]

    def played(config: str, number: int) -> int:
        batch = {"job": f"selfplay/{config}/{number}", "batch": f"{config}/batch-{number}"}
        return say(SelfplayFinished(config=config, player="p", games=3, plies=9, seconds=1, **batch), parent=root)

    own = played(other, 1)
    valid = say(GamesValidated(job="ingest/2", valid=6, quarantined=0), parent=played(C, 9))
    played(other, 2)  # it came too late
    exports = [
        say(SamplesExported(config=config, job=f"export/{config}/2", games=3, samples=9, shards=1), parent=valid)
        for config in (C, other)
    ]
    trained = say(
        TrainingFinished(
            config=other, job=f"train/{other}/1", model="m-7", trained_from="m-6", steps=4, samples=9, loss_before=2,
            loss_after=1,
        ),
        parent=exports[1],
    )  # fmt: skip
    (found,) = trace(ctx.run.fabric, "m-7")
    assert numbers(found) == [root, own, valid, exports[1]]
    (found,) = trace(ctx.run.fabric, f"{C}/batch-9")
    assert below(found.tree) == [found.tree.what.sequence, valid, exports[0]]  # type: ignore[union-attr]
    assert trained not in below(found.tree)


@pytest.mark.parametrize("name", [f"{C}/batch-1/0002", f"{C}/batch-1", f"selfplay/{C}/1"])
def test_a_game_by_its_batch(name: str) -> None:
    ctx = context(VirtualClock())
    told = story(ctx)
    (found,) = trace(ctx.run.fabric, name)
    assert numbers(found) == [told["loop"]]
    assert below(found.tree)[:3] == [told["play1"], told["valid"], told["export"]]
    assert told["play2"] not in below(found.tree)


def test_an_event_by_its_number_and_a_job_that_waits() -> None:
    ctx = context(VirtualClock())
    told = story(ctx)
    (found,) = trace(ctx.run.fabric, str(told["match"]))
    assert numbers(found)[-1] == told["train"]
    (found,) = trace(ctx.run.fabric, f"selfplay/{C}/3")
    assert numbers(found)[-1] == told["promote"]
    assert isinstance(found.tree.what, Job)


def test_what_is_not_known_is_said() -> None:
    ctx = context(VirtualClock())
    story(ctx)
    for name in ("m-9", f"{C}/batch-11/0001", "99", f"{C}/batch-"):
        with pytest.raises(DataError, match="nothing is known of"):
            trace(ctx.run.fabric, name)


def test_a_purged_log_begins_where_it_begins_and_long_chains_are_cut() -> None:
    ctx = context(VirtualClock())
    parent = None
    for number in range(3000):
        parent = ctx.publish(GamesValidated(job=f"j{number}", valid=number, quarantined=0), parent=parent)
    ctx.run.fabric.log.purge(10)
    (found,) = trace(ctx.run.fabric, "2001")
    assert numbers(found) == list(range(11, 2001))
    assert below(found.tree) == list(range(2001, 2002 + DEPTH))
