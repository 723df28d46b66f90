"""The networks in memory: for each config the one that plays. A new one is loaded and tried beside the old one."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.errors import DataError, RulesError
from ringrift.evaluators import Evaluator, make_evaluator
from ringrift.evaluators.canary import check_canary
from ringrift.evaluators.shipped import shipped_network
from ringrift.players.table import SHIPPED
from ringrift.rules import CONFIGS
from ringrift.web.settings import ServeSettings

if TYPE_CHECKING:
    from ringrift.store.run import RunDirectory


RETRY = 60.0  #: seconds until a network that failed is tried again


@dataclass(frozen=True)
class Network:
    """One network in memory."""

    id: str
    path: Path
    evaluator: Evaluator
    source: str
    """`promoted`, `pinned`, `canary` or `shipped`"""
    name: str
    """by which it was looked for"""


class Networks:
    """Which network plays each config. Reading is for every thread; `refresh` looks for newer ones."""

    def __init__(
        self,
        run: RunDirectory | None,
        settings: ServeSettings,
        placed: Callable[[str, Network | None, Network], None] = lambda config, old, new: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`placed` is called with config, the network before, and that which plays from now on."""
        self._run, self._settings, self._placed, self._clock = run, settings, placed, clock
        self._failed: dict[tuple[str, str], tuple[str, float, str]] = {}
        """By config and source: name of what failed, when it is tried again, and why it failed."""
        self._lock = threading.Lock()
        self.current: dict[str, Network] = {}
        self.canaries: dict[str, Network] = {}
        self.problems: dict[str, str] = {}
        """Why what should play cannot, by config; what played before goes on."""

    def of_game(self, config: str, game_id: str) -> Network | None:
        """The network that plays a game: the same one from its beginning to its end, unless another is promoted."""
        share = zlib.crc32(game_id.encode()) / 2**32
        if config in self.canaries and game_id and share < self._settings.canary_share:
            return self.canaries[config]
        return self.current.get(config)

    def refresh(self, again: bool = False) -> None:
        """Loads what should play and does not. A network that fails leaves the one before in its place, and is tried
        again after a minute, or with `again` at once."""
        with self._lock:
            if again:
                self._failed.clear()
            for config in CONFIGS:
                pin, canary = self._settings.pins.get(config), self._settings.canary.get(config)
                why = [self._try(self.current, config, pin, "pinned" if pin else "promoted")]
                if canary:
                    why.append(self._try(self.canaries, config, canary, "canary"))
                if told := "; ".join(filter(None, why)):
                    self.problems[config] = told
                else:
                    self.problems.pop(config, None)

    def _try(self, places: dict[str, Network], config: str, name: str | None, source: str) -> str | None:
        """Puts the network of that name, or the promoted one, in its place; where it cannot be, why it cannot."""
        key, now = (config, source), self._clock.monotonic()
        try:
            name = name or self._promoted(config) or SHIPPED
            failed, until, why = self._failed.get(key, ("", 0.0, ""))
            if failed != name or now >= until:
                self._place(places, config, name, source)
                self._failed.pop(key, None)
                return None
        except (DataError, RulesError, OSError) as error:
            why = str(error)
            self._failed[key] = name or "", now + RETRY, why
        return why if source != "promoted" or name != SHIPPED else None  # not every config has a shipped one

    def _place(self, places: dict[str, Network], config: str, name: str, source: str) -> None:
        """Puts the network of that name in its place, once it is loaded and has answered as it should.

        Raises `DataError` or `RulesError` where it cannot.
        """
        before = places.get(config)
        if before is not None and before.name == name:
            return
        if name == SHIPPED:
            (id_, path), kept = shipped_network(config), None
            source = "shipped" if source == "promoted" else source
        else:
            if self._run is None:
                raise DataError(f"{name} of {config} is in no run: start the service with --run")
            id_, path, kept = of_run(self._run, config, name)
        evaluator = make_evaluator(config, path)
        if isinstance(kept, dict):
            check_canary(evaluator, kept, id_)
        places[config] = Network(id_, path, evaluator, source, name)
        self._placed(config, before, places[config])

    def _promoted(self, config: str) -> str | None:
        if self._run is None:
            return None
        from ringrift.store.models import ModelStore

        return ModelStore(self._run).promoted(config)

    def table(self) -> dict[str, dict[str, Any]]:
        """What plays, by config, for people to read."""
        found = self.current.items()
        return {config: {"id": one.id, "source": one.source, "path": str(one.path)} for config, one in found}


def of_run(run: RunDirectory, config: str, name: str) -> tuple[str, Path, object]:
    """Id, file and known answers of a model of the run; `best` is the promoted one. Raises `DataError` without it."""
    from ringrift.store.models import ModelStore

    info = ModelStore(run).resolve(config, name)
    return info.id, run.fabric.blobs.path(info.network), info.metrics.get("canary")
