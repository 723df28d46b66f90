"""Self-play that outruns training stops by the gauge, and goes on when there is room."""

from dataclasses import replace

from random_play import random_game

from ringrift.clock import VirtualClock
from ringrift.kernel.bus import Bus
from ringrift.kernel.events import PressureChanged
from ringrift.kernel.service import Profile
from ringrift.pipeline import Recipe, selfplay, smoke
from ringrift.pipeline.events import LoopStarted, SelfplayFinished
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import SupervisionSettings
from ringrift.pipeline.table import STAGES, supervisor_of
from ringrift.rules import Record
from ringrift.store import GameStore, RunDirectory

CONFIG, GAMES, FULL = "square8_2p", 20, 10
RECIPE = Recipe(loop=replace(smoke(Recipe()).loop, games=GAMES, rounds=0))
SETTINGS = SupervisionSettings(full_games=FULL, disk_clean=0.99, disk_stop=1.0)


def test_games_that_nobody_trains_on_stay_bounded() -> None:
    """Batches are played in no time at all, and no job of another kind is ever done."""
    clock = VirtualClock(1000.0)
    record = Record.from_game(random_game(CONFIG, seed=1), seed=1, players=("random", "random")).to_bytes()
    with RunDirectory.in_memory(clock) as run:
        ctx = Context(run, Bus(run.fabric.log, "test"), SETTINGS, clock=clock, recipes={CONFIG: RECIPE})
        ctx.publish(LoopStarted(profile="laptop", configs=[CONFIG], release="test"))
        deciding = [service for service in STAGES if service.name not in ("worker", "report")]
        supervisor = supervisor_of(deciding, ctx, Profile.LAPTOP)
        store = GameStore(run)

        def go(seconds: float) -> int:
            """Games that are there afterwards."""
            end = clock.now() + seconds
            while clock.now() < end:
                clock.advance(max(0.1, supervisor.run_due()))
                for job in run.fabric.jobs.claim(
                    "test", {"cores": 9, "memory": 1e12}, kinds=[selfplay.KIND.name], limit=9
                ):
                    batch = selfplay.SelfplayBatch.model_validate(job.payload)
                    name = f"{CONFIG}/batch-{batch.number:06d}"
                    store.add_many((record, f"{name}/{game:06d}") for game in range(batch.games))
                    run.fabric.jobs.finish(job, {})
                    ctx.publish(
                        SelfplayFinished(
                            config=CONFIG, job=job.id, batch=name, player="p", games=batch.games, plies=9, seconds=1
                        )
                    )
            return store.counts()[0].games

        there = go(300)
        assert 0.8 * FULL * GAMES <= there <= 1.2 * FULL * GAMES
        assert go(1200) == there
        assert (supervisor.snapshot().pressure.level, supervisor.snapshot().pressure.part) == ("critical", "games")
        assert len(list(ctx.bus.read(PressureChanged))) <= 4
        store.judge((game.id, "makes room") for game in list(store.iter_waiting()))
        assert go(60) > 0
