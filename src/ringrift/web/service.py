"""The AI service of the game server: what its requests need, made once."""

from __future__ import annotations

import os
import secrets
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ringrift.clock import SYSTEM_CLOCK, Clock
from ringrift.errors import DataError, RulesError, unknown
from ringrift.evaluators import Evaluator
from ringrift.observe.logs import log
from ringrift.players.ladder import NODES, SEARCH, choose_level, ladder
from ringrift.players.player import Limit
from ringrift.players.table import PLAYERS, PlayerChoice, choose
from ringrift.rules import config_info
from ringrift.web.limits import API_KEY
from ringrift.web.metrics import Metrics
from ringrift.web.networks import Network, Networks
from ringrift.web.room import SearchRoom, Seated
from ringrift.web.settings import ServeSettings

if TYPE_CHECKING:
    from ringrift.store.run import RunDirectory

#: What the game server calls the engine of each level by itself: then the level's own player is meant.
LEVEL_TYPES = ("random", "heuristic", "minimax", "minimax", "descent", "descent", "mcts", "mcts", *["gumbel_mcts"] * 2)
#: Rows of PLAYERS by the game server's names, where they are the same for all configs.
TYPES = {
    "random": "random",
    "heuristic": "heuristic",
    "minimax": "",
    "descent": "",
    "mcts": "puct",
    "policy_only": "policy",
    "gumbel_mcts": "gumbel",
    "ig_gmo": "gumbel",
}


#: Players kept ready: so many at most, each for so many seconds; one that is forgotten is simply made again.
KEPT, KEPT_SECONDS = 512, 1800


class Service:
    """Everything that a request needs."""

    def __init__(
        self, settings: ServeSettings = ServeSettings(), run: RunDirectory | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`run`: where promoted networks and games are; none: the networks that come with the package, and no games."""
        self.settings, self.run, self.metrics, self._clock = settings, run, Metrics(), clock
        self.room = SearchRoom(settings.threads, settings.waiting, self.metrics.batch.observe)
        self.metrics.waiting.set_function(lambda: self.room.busy)
        self.networks = Networks(run, settings, self._placed, clock)
        #: Without one of its own nobody knows it.
        self.admin_key = os.environ.get("ADMIN_API_KEY") or secrets.token_hex(32)
        self.api_key = os.environ.get(API_KEY, "")
        self.started = time.time()
        self._seated: dict[tuple[str, int, str, Network | None], tuple[float, Seated]] = {}
        """Players that are kept, and since when, the oldest first."""
        self._lock = threading.Lock()  # requests, promotions and admins change who is seated
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether networks are loaded and it is not about to stop."""
        return self._watch is not None and not self._stopping.is_set()

    def start(self) -> None:
        """Loads the networks, and looks for promoted ones from now on."""
        if "ADMIN_API_KEY" not in os.environ:
            log.warning("ADMIN_API_KEY is not set: nobody can ask what is for admins")
        self.networks.refresh()
        self._watch = threading.Thread(target=self._look, name="promotions", daemon=True)
        self._watch.start()

    def _look(self) -> None:
        while not self._stopping.wait(self.settings.poll):
            self.networks.refresh()

    def _placed(self, config: str, before: Network | None, now: Network) -> None:
        if before is not None:
            self.metrics.model.remove(config, before.id, before.source)
            self.metrics.swapped(config, now.id)
        self.metrics.model.labels(config, now.id, now.source).set(1)
        with self._lock:
            self._seated = {key: kept for key, kept in self._seated.items() if key[0] != config}

    def stop(self) -> None:
        """No request is taken from now on; what is being searched is given up."""
        self._stopping.set()
        self.room.close()

    @property
    def seats(self) -> int:
        """How many players are kept ready."""
        with self._lock:
            self._drop(KEPT)
            return len(self._seated)

    def forget(self) -> int:
        """Forgets them, and tells how many they were."""
        with self._lock:
            removed, self._seated = len(self._seated), {}
        return removed

    def seat(self, config: str, level: int, ai_type: str | None = None, game_id: str = "") -> Seated:
        """Who plays a level, or the engine of that name with the level's budget.

        Raises `RulesError` for an unknown config, level or engine.
        """
        network = self.networks.of_game(config, game_id)
        key = config, level, "" if ai_type in (None, LEVEL_TYPES[level - 1]) else str(ai_type), network
        with self._lock:
            self._drop(KEPT)
            _, seated = self._seated.get(key, (0.0, None))
            size = len(self._seated)
        self.metrics.looked(ai_type or LEVEL_TYPES[level - 1], hit=seated is not None, size=size)
        if seated is None:
            seated = self._seat(config, level, key[2], network)
            with self._lock:
                self._drop(KEPT - 1)
                _, seated = self._seated.setdefault(key, (self._clock.monotonic(), seated))
        return seated

    def _drop(self, most: int) -> None:
        """Forgets those that are too old, and the oldest of too many."""
        since = self._clock.monotonic() - KEPT_SECONDS
        while self._seated and (len(self._seated) > most or next(iter(self._seated.values()))[0] < since):
            del self._seated[next(iter(self._seated))]

    def _seat(self, config: str, level: int, ai_type: str, network: Network | None) -> Seated:
        def models(_: str) -> tuple[str, os.PathLike[str]]:
            if network is None:
                raise DataError(self.networks.problems.get(config, f"there is no network of {config} yet"))
            return network.id, network.path

        fallback: str | None
        if ai_type:
            choice, fallback = self._of_type(config, level, ai_type, network)
        else:
            found = choose_level(config, level, models if network else None)  # type: ignore[arg-type]
            choice, fallback = found.choice, found.fallback
            if network is not None and network.source == "shipped":
                fallback = None if self.run is None else f"nothing is promoted: {network.id} comes with the package"
        if choice.limit is not None and choice.network:  # a batch is shared, so its time is nobody's own
            choice = replace(choice, limit=Limit(choice.limit.simulations))
        evaluator: Evaluator | None = network.evaluator if choice.network and network else None
        return Seated(choice, evaluator, fallback)

    def _of_type(
        self, config: str, level: int, ai_type: str, network: Network | None
    ) -> tuple[PlayerChoice, str | None]:
        """The player of an engine's name, and why it is another one."""
        if ai_type not in TYPES:
            raise RulesError(unknown("ai_type", ai_type, TYPES))
        row = TYPES[ai_type] or ("alpha-beta" if config_info(config).players == 2 else "paranoid")
        level_row = ladder(config)[max(level, 5) - 1]
        budget = Limit(NODES[max(level, 5) - 5] if not TYPES[ai_type] else level_row.limit.simulations)
        if not PLAYERS[row].evaluator:
            return choose(row, config, limit=budget if not TYPES[ai_type] else None), None
        if network is None and row == "policy":
            return choose("heuristic", config), f"heuristic plays instead of policy: there is no network of {config}"
        named = f"{row}:{network.id}" if network else row
        search = SEARCH if row == "gumbel" else None
        find = (lambda name: (network.id, network.path)) if network else None
        fallback = None if network else f"the hand-written evaluation plays: there is no network of {config}"
        return choose(named, config, search, find, None if row == "policy" else budget), fallback
