"""`ringrift serve --check`: whether the service would start and play, looked at before anything listens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ringrift.errors import RingRiftError
from ringrift.evaluators.canary import canary
from ringrift.evaluators.shipped import shipped_configs
from ringrift.players.ladder import LEVELS
from ringrift.rules import CONFIGS
from ringrift.store.run import RunDirectory
from ringrift.web.app import create_app
from ringrift.web.limits import is_loopback
from ringrift.web.server import listen
from ringrift.web.service import Service
from ringrift.web.settings import ServeSettings


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    name: str
    """`configuration`, `run`, `port`, `network CONFIG` or `levels`"""
    ok: bool
    said: str


def findings(settings: ServeSettings, run: Path | None) -> Iterator[Finding]:
    """All of them, in the order of a start; what cannot be looked at after a failure is left out."""
    opened = None
    try:
        if run is not None:
            opened = RunDirectory.open(run)
            yield Finding("run", True, f"{run} can be read")
        yield from _started(settings, opened)
    except RingRiftError as error:
        yield Finding("run" if run is not None and opened is None else "configuration", False, str(error))
    finally:
        if opened is not None:
            opened.close()


def _started(settings: ServeSettings, run: RunDirectory | None) -> Iterator[Finding]:
    service = Service(settings, run)
    create_app(service)
    where = "for this machine alone" if is_loopback(settings.host) else "for others too"
    said = f"{where}, with{'' if service.api_key else 'out'} a key"
    yield Finding("configuration", True, f"{settings.host} port {settings.port}, {said}")
    try:
        listen(settings.host, settings.port, "serve.port").close()
        yield Finding("port", True, f"{settings.port} is free")
    except RingRiftError as error:
        yield Finding("port", False, str(error))
    service.networks.refresh()
    problems = service.networks.problems
    for config in shipped_configs():
        if config not in {**service.networks.current, **problems}:
            yield Finding(f"network {config}", False, "the one that comes with the package cannot be loaded")
    for config, why in problems.items():
        yield Finding(f"network {config}", False, why)
    for config, network in sorted(service.networks.current.items()):
        values = np.array(canary(network.evaluator, config)["value"])
        sound = bool((abs(values.sum(axis=1) - 1) < 0.01).all())  # a NaN is not
        said = f"{network.id}, {network.source}: " + (
            "plays" if sound else f"its values are no probabilities: {values}"
        )
        yield Finding(f"network {config}", sound, said)
    seated = [service.seat(config, level) for config in CONFIGS for level in LEVELS]
    without = sum(one.fallback is not None for one in seated)
    yield Finding("levels", True, f"{len(seated)} can be played, {without} of them by another player than meant")
    service.stop()
