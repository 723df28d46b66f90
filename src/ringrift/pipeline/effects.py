"""The loop's effects: what acts on its events themselves."""

from __future__ import annotations

from collections.abc import Mapping

from ringrift.errors import SettingsError
from ringrift.kernel.effects import Delivery, Effect
from ringrift.kernel.events import AlertCleared, AlertRaised
from ringrift.observe.breakers import BREAKERS
from ringrift.observe.logs import log
from ringrift.pipeline.events import EVENTS, ModelPromoted, ModelRolledBack, PlateauReached, RegressionDetected
from ringrift.pipeline.service import Context

WEBHOOK_SECONDS = 10.0


def _write_log(delivery: Delivery, _: Context) -> None:
    entry = delivery.entry
    log.info(entry.type, key=entry.key, parent=entry.parent, source=entry.source, at=entry.at, **_named(entry.payload))


def _named(payload: Mapping[str, object]) -> dict[str, object]:
    """Fields under names that a log line has no other meaning for."""
    return {f"{name}_" if name in ("event", "level", "timestamp") else name: value for name, value in payload.items()}


def _post(delivery: Delivery, ctx: Context) -> None:
    """POST as JSON: `type`, `sequence`, `at`, `parent` and the event's own fields under `event`."""
    url = ctx.services.webhook
    if not url:
        if delivery.attempt > 1:  # there was one: nothing is dropped silently
            raise SettingsError("no webhook is set: give services.webhook, or purge the dead letter")
        return
    import httpx  # only where a webhook is set

    entry = delivery.entry
    about = {"type": entry.type, "sequence": entry.sequence, "at": entry.at, "parent": entry.parent}
    with BREAKERS.guard("webhook"):
        answer = httpx.post(
            url,
            json={**about, "event": dict(entry.payload)},
            headers={"Idempotency-Key": delivery.id},
            timeout=WEBHOOK_SECONDS,
        )
        answer.raise_for_status()


EFFECTS: tuple[Effect[Context], ...] = (
    Effect("log", _write_log, tuple(EVENTS.values()), looks_on=True),
    Effect(
        "webhook",
        _post,
        (AlertRaised, AlertCleared, ModelPromoted, RegressionDetected, ModelRolledBack, PlateauReached),
    ),
)
