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


class Networks:
    """Which network plays each config. Reading is for every thread; `refresh` looks for newer ones."""

    def __init__(
        self, run: RunDirectory | None, settings: ServeSettings, swapped: Callable[[str, str], None] | None = None
    ) -> None:
        """`swapped` is called with config and model when another one plays from now on."""
        self._run, self._settings, self._swapped = run, settings, swapped
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
                try:
                    self._look(self.current, config, self._settings.pins.get(config))
                    if config in self._settings.canary:
                        self._look(self.canaries, config, self._settings.canary[config], "canary")
                    self.problems.pop(config, None)
                except (DataError, RulesError) as error:
                    self.problems[config] = str(error)

    def _look(self, places: dict[str, Network], config: str, named: str | None, source: str = "pinned") -> None:
        """Puts the network that is meant in its place. None may be there to have where none is named."""
        now = places.get(config)
        if named not in (None, "shipped") or (named is None and self._promoted(config)):
            from ringrift.store.models import ModelStore

            if self._run is None:
                raise DataError(f"{named} of {config} is in no run: start the service with --run")
            store = ModelStore(self._run)
            id_ = named or self._promoted(config)
            if now is not None and now.id == id_:
                return
            info = store.resolve(config, id_ or "best")
            if info.onnx is None or info.pruned:
                raise DataError(f"{info.id} has no exported network: it was pruned, or never exported")
            found = info.id, self._run.fabric.blobs.path(info.onnx), info.metrics.get("canary")
            source = source if named else "promoted"
        elif now is not None and now.source in ("shipped", source):
            return
        else:
            try:
                found = *shipped_network(config), None
            except DataError:
                if named:
                    raise
                return
            source = source if named else "shipped"
        id_, path, kept = found
        if now is not None and now.id == id_:
            return
        evaluator = make_evaluator(config, path)
        if isinstance(kept, dict):
            check_canary(evaluator, kept, id_)
        places[config] = Network(id_, path, evaluator, source)
        if self._swapped and now is not None:
            self._swapped(config, id_)

    def _promoted(self, config: str) -> str | None:
        if self._run is None:
            return None
        from ringrift.store.models import ModelStore

        return ModelStore(self._run).promoted(config)

    def table(self) -> dict[str, dict[str, Any]]:
        """What plays, by config, for people to read."""
        return {
            config: {"id": one.id, "source": one.source, "path": str(one.path)} for config, one in self.current.items()
        }
