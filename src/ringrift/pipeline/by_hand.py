"""What commands by hand change, told as the services tell it: under the same ids, so that it is told once."""

from __future__ import annotations

from ringrift.errors import DataError
from ringrift.fabric.workers import process_name
from ringrift.kernel.bus import Bus
from ringrift.pipeline import gate, regression
from ringrift.pipeline.cards import write_card
from ringrift.pipeline.events import ModelRejected
from ringrift.pipeline.service import Context
from ringrift.store import ModelInfo, ModelStore, RunDirectory


def context(run: RunDirectory) -> Context:
    """What a service would get, for a command that does the same."""
    return Context(run, Bus(run.fabric.log, f"by hand in {process_name()}"))


def promote(run: RunDirectory, model: ModelInfo) -> bool:
    """Makes it the model that plays, whatever its score; false where it is already. Raises `DataError` where another
    process changes what is promoted."""
    store = ModelStore(run)
    over = store.promoted(model.config)
    if over == model.id:
        return False
    if not store.promote(model.id, over=over, evidence={"by": "hand"}):
        raise DataError(f"the promoted model of {model.config} was changed meanwhile: look, and try again")
    gate.tell_promoted(context(run), store.history(model.config)[-1])
    for one in filter(None, (model.id, over)):
        write_card(run, one)
    return True


def roll_back(run: RunDirectory, config: str, to: str | None) -> str:
    """Goes back to `to`, or to what the promoted model had replaced; its id. Raises `DataError` where there is none."""
    store = ModelStore(run)
    now = store.rollback(config, to)
    regression.note(context(run), store.history(config)[-1])
    return now


def tell_verdict(run: RunDirectory, model: str) -> None:
    """Says how the gate has judged a model, and whether it plays from now on."""
    store = ModelStore(run)
    info = store.show(model)
    verdict = info.metrics["gate"]
    assert isinstance(verdict, dict)
    if store.promoted(info.config) == model:
        gate.tell_promoted(context(run), store.history(info.config)[-1])
    elif not verdict["passes"]:
        gate.publish(
            context(run), ModelRejected(config=info.config, model=model, reason=verdict["reason"]), f"verdict/{model}"
        )
