"""The audit as a service and a job: when it is wanted, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import CONFIG, finished

from ringrift.clock import VirtualClock
from ringrift.kernel.bus import Bus
from ringrift.pipeline import Recipe, audit, settings, smoke, table
from ringrift.pipeline.events import GamesAudited
from ringrift.pipeline.service import Context
from ringrift.store import GameStore, RunDirectory
from ringrift.store.audit import mark_of
from ringrift.store.validate import validate


def test_it_comes_after_many_games_or_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MANY", 4)
    clock = VirtualClock(1e9)
    with RunDirectory.create(tmp_path / "run") as run:
        recipe = smoke(Recipe())
        settings.keep_recipe(run.fabric.registry, CONFIG, recipe)
        ctx = Context(run, Bus(run.fabric.log, "test"), clock=clock, recipes={CONFIG: recipe})
        store = GameStore(run)

        def add(*seeds: int) -> int:
            """How many audits are wanted then."""
            store.add_many((finished(seed).to_bytes(), f"w{seed}") for seed in seeds)
            validate(run)
            return len(list(audit.plan(ctx)))

        assert add(0, 1, 2) == 0
        assert add(3) == 1
        (step,) = audit.plan(ctx)
        step.do()
        assert list(audit.plan(ctx)) == [], "it is under way"
        (job,) = run.fabric.jobs.claim("test", {"cores": 1, "memory": 1e12}, kinds=[audit.KIND.name])
        monkeypatch.setattr("ringrift.pipeline.audit.time.time", clock.now)
        table.run_job(run, job, "test")
        run.fabric.jobs.finish(job, {})
        last = ctx.bus.last(GamesAudited)
        assert last is not None
        assert (last.event.searched, last.event.skipped, last.event.quarantined) == (0, 0, [])
        assert mark_of(run, CONFIG) == (4, clock.now())
        assert add(4) == 0
        clock.advance(audit.DAY + 1)
        assert add() == 1
