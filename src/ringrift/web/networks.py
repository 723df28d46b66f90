"""The networks in memory: for each config the one that plays. A new one is loaded and tried beside the old one."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringrift.errors import DataError, RulesError
from ringrift.evaluators import Evaluator, make_evaluator
from ringrift.evaluators.canary import check_canary
from ringrift.evaluators.shipped import shipped_network
from ringrift.players.table import SHIPPED
from ringrift.rules import CONFIGS
from ringrift.web.settings import ServeSettings

if TYPE_CHECKING:
    from ringrift.store.run import RunDirectory


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
    ) -> None:
        """`placed` is called with config, the network before, and that which plays from now on."""
        self._run, self._settings, self._placed = run, settings, placed
        self._lock = threading.Lock()
        self.current: dict[str, Network] = {}
        self.canaries: dict[str, Network] = {}
        self.problems: dict[str, str] = {}
        """By config why what should play cannot; what played before goes on."""

    def of_game(self, config: str, game_id: str) -> Network | None:
        """The network that plays a game: the same one from its beginning to its end, unless another is promoted."""
        share = zlib.crc32(game_id.encode()) / 2**32
        if config in self.canaries and game_id and share < self._settings.canary_share:
            return self.canaries[config]
        return self.current.get(config)

    def refresh(self) -> None:
        """Loads what should play and does not; a network that fails leaves the one before in its place."""
        with self._lock:
            for config in CONFIGS:
                pin, canary = self._settings.pins.get(config), self._settings.canary.get(config)
                try:
                    promoted = None if pin else self._promoted(config)
                    self._place(self.current, config, pin or promoted or SHIPPED, "pinned" if pin else "promoted")
                    if canary:
                        self._place(self.canaries, config, canary, "canary")
                    self.problems.pop(config, None)
                except (DataError, RulesError, OSError) as error:
                    if pin or promoted or canary:
                        self.problems[config] = str(error)

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
            id_, path, kept = self._of_run(config, name)
        evaluator = make_evaluator(config, path)
        if isinstance(kept, dict):
            check_canary(evaluator, kept, id_)
        places[config] = Network(id_, path, evaluator, source, name)
        self._placed(config, before, places[config])

    def _of_run(self, config: str, name: str) -> tuple[str, Path, object]:
        """Id, file and known answers of a model of the run."""
        from ringrift.store.models import ModelStore

        if self._run is None:
            raise DataError(f"{name} of {config} is in no run: start the service with --run")
        info = ModelStore(self._run).resolve(config, name)
        if info.onnx is None or info.pruned:
            raise DataError(f"{info.id} has no exported network: it was pruned, or never exported")
        return info.id, self._run.fabric.blobs.path(info.onnx), info.metrics.get("canary")

    def _promoted(self, config: str) -> str | None:
        if self._run is None:
            return None
        from ringrift.store.models import ModelStore

        return ModelStore(self._run).promoted(config)

    def table(self) -> dict[str, dict[str, Any]]:
        """What plays, by config, for people to read."""
        found = self.current.items()
        return {config: {"id": one.id, "source": one.source, "path": str(one.path)} for config, one in found}
