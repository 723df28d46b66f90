"""A service of one's own: a plan that looks at a run and says what it wants done, and a row for the supervisor.

    python examples/new_service.py

In the project itself the row goes into STAGES in `src/ringrift/pipeline/table.py`; `ringrift loop` then
runs it, `--dry-run` prints its steps, `/health` and `/metrics` know it.
"""

from collections.abc import Iterator

from ringrift.kernel.bus import Bus
from ringrift.kernel.service import Service, Step
from ringrift.kernel.supervisor import tick
from ringrift.pipeline import Recipe
from ringrift.pipeline.events import SelfplayFinished
from ringrift.pipeline.service import Context
from ringrift.store import GameStore, RunDirectory

CONFIG = "square8_2p"


def plan(ctx: Context) -> Iterator[Step]:
    """Keeps the number of games of each config where others can read it; asks the store, not the event."""
    registry = ctx.run.fabric.registry
    for config in ctx.configs:
        flow, kept = GameStore(ctx.run).flow(config), registry.get(f"games/{config}")
        games = flow.waiting + flow.valid + flow.exported
        if kept is None or kept.value["games"] != games:
            yield Step(
                f"note that {config} has {games} games",
                "nobody has noted any" if kept is None else f"{kept.value['games']} are noted",
                lambda config=config, games=games: registry.set(f"games/{config}", {"games": games}),  # type: ignore[misc]
            )


COUNT = Service("count", plan, every=60.0, on=(SelfplayFinished,))

if __name__ == "__main__":
    with RunDirectory.in_memory() as run:
        context = Context(run, Bus(run.fabric.log, "example"), recipes={CONFIG: Recipe()})
        for step in COUNT.plan(context):  # what a dry run prints
            print(f"would {step.what}, because {step.why}")
        print("steps carried out:", tick(COUNT, context))
        print("steps carried out when nothing has changed:", tick(COUNT, context))
