"""The players that have a name: a search over an evaluator. A new player is a new row here (`examples/new_player.py`).

A name is a row of PLAYERS; a model, which is searched with by the row `gumbel`; `ROW:MODEL`; or `mixed:NAME,NAME,…`.
The model `shipped` is the one that comes with the package.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ringrift.errors import RulesError, unknown
from ringrift.evaluators import Evaluator, HeuristicEvaluator, make_evaluator
from ringrift.evaluators.shipped import shipped_network
from ringrift.players.player import (
    HeuristicPlayer,
    Limit,
    MinimaxPlayer,
    MixedPlayer,
    Player,
    PolicyPlayer,
    PolicySettings,
    RandomisedPlayer,
    RandomPlayer,
    TreePlayer,
)
from ringrift.rules import config_info
from ringrift.search import GumbelSettings, MinimaxSettings, PuctSettings

#: Names that stand for a network: the run says which.
MODEL_NAMES = ("best", "initial")
#: Ids of models, and beginnings of them.
MODEL_ID = re.compile(r"(m-)?[0-9a-f]+|m-")
#: Stands for the network of the config that comes with the package.
SHIPPED = "shipped"
#: Whom `mixed` draws from unless it is told.
MIXTURE = ("random", "heuristic", "gumbel")

SearchSettings = GumbelSettings | PuctSettings | MinimaxSettings | PolicySettings


@dataclass(frozen=True)
class PlayerChoice:
    """A player chosen by name, before it is made: small, and can be sent to another process."""

    name: str
    """As it is shown and recorded: a row of PLAYERS, a model id, or both as ROW:MODEL."""
    config: str
    spec: str
    """The row of PLAYERS."""
    search: SearchSettings | None = None
    """Settings of the search, of the row's kind; None: the row has none."""
    network: Path | None = None
    """ONNX file of a model."""
    limit: Limit | None = None
    """What a decision may cost; None: what `search` says."""
    randomness: float = 0.0
    """Share of the decisions that are made at random."""
    parts: tuple[PlayerChoice, ...] = ()
    """Whom `mixed` draws from."""

    @property
    def simulations(self) -> int | None:
        """Simulations, or nodes, of a decision; None for a player that does not count them or goes by time."""
        usual: int | None = getattr(self.search, "simulations", getattr(self.search, "nodes", None))
        if usual is None or self.limit is None or not self.limit.is_budget:
            return usual
        return self.limit.simulations

    def make(self) -> Player:
        """The player.

        Raises `CorruptBlob`, `EncodingMismatch` or `FormatTooNew` where its network cannot be used, `RulesError` where
        it has none and needs one, or one of another config.
        """
        row, given = PLAYERS[self.spec], list[object]()
        if self.parts:
            given.append([part.make() for part in self.parts])
        if row.evaluator:
            given.append(EVALUATORS[row.evaluator](self))
        if row.search:
            given.append(self.search)
        player = row.player(*given).limited(self.limit or Limit())
        return RandomisedPlayer(player, self.randomness) if self.randomness else player


@dataclass(frozen=True)
class PlayerSpec:
    """One row of PLAYERS."""

    name: str
    about: str
    player: Callable[..., Player]
    """Called with the evaluator and the settings of the search, with those of the two that the row has."""
    search: SearchSettings | None = None
    """The search with its usual settings."""
    evaluator: str | None = None
    """Row of EVALUATORS."""
    seats: tuple[int, ...] = (2, 3, 4)
    """Numbers of seats with which it can play."""
    thinks: Literal["not", "by deadline", "freely"] = "freely"
    """`not`: a decision is a matter of milliseconds; `by deadline`: it ends a search in time; `freely`: it takes the
    time it takes, whatever its limit says."""


def _network(choice: PlayerChoice) -> Evaluator:
    if choice.network is None:
        raise RulesError(f"{choice.name} plays by a network: name a model, as in {choice.spec}:best")
    return make_evaluator(choice.config, choice.network)


def _network_or_heuristic(choice: PlayerChoice) -> Evaluator:
    return _network(choice) if choice.network else HeuristicEvaluator(choice.config)


#: What a row's evaluator is made of.
EVALUATORS: dict[str, Callable[[PlayerChoice], Evaluator]] = {
    "network": _network,
    "network or heuristic": _network_or_heuristic,
}

PLAYERS = {
    row.name: row
    for row in (
        PlayerSpec("random", "every playable move alike", RandomPlayer, thinks="not"),
        PlayerSpec("heuristic", "one ply deep on the hand-written evaluation", HeuristicPlayer, thinks="not"),
        PlayerSpec(
            "policy",
            "the network's policy without a search",
            PolicyPlayer,
            PolicySettings(),
            "network",
            thinks="not",
        ),
        PlayerSpec(
            "gumbel",
            "Gumbel search over a network, or over the hand-written evaluation where there is none",
            TreePlayer,
            GumbelSettings(),
            "network or heuristic",
            thinks="by deadline",
        ),
        PlayerSpec(
            "puct",
            "PUCT search over the same",
            TreePlayer,
            PuctSettings(),
            "network or heuristic",
            thinks="by deadline",
        ),
        PlayerSpec(
            "alpha-beta",
            "alpha-beta, depth-first on the hand-written evaluation",
            MinimaxPlayer,
            MinimaxSettings("alpha-beta"),
            seats=(2,),
            thinks="by deadline",
        ),
        PlayerSpec(
            "paranoid",
            "the same for more seats: all against it",
            MinimaxPlayer,
            MinimaxSettings("paranoid"),
            thinks="by deadline",
        ),
        PlayerSpec(
            "maxn", "the same: each seat for itself", MinimaxPlayer, MinimaxSettings("maxn"), thinks="by deadline"
        ),
        PlayerSpec(
            "best-reply",
            "the same: one opponent at a time replies",
            MinimaxPlayer,
            MinimaxSettings("best-reply"),
            thinks="by deadline",
        ),
        PlayerSpec("mixed", "another of several players on each seat of each game, drawn by the seed", MixedPlayer),
    )
}


def choose(
    name: str,
    config: str,
    search: SearchSettings | None = None,
    models: Callable[[str], tuple[str, Path]] | None = None,
    limit: Limit | None = None,
) -> PlayerChoice:
    """The player called `name`; `models` finds the id and the ONNX file of a model's name.

    `search` replaces the settings of a row of its kind; a row of another kind takes its simulations. Raises
    `RulesError` for an unknown config, a row that cannot play it, and an unknown name where there are no `models`;
    `DataError` where no network of the config comes with the package.
    """
    seats = config_info(config).players
    row_name, _, rest = name.partition(":")
    if row_name not in PLAYERS:
        row_name, rest = "gumbel", name
    row = PLAYERS[row_name]
    if seats not in row.seats:
        raise RulesError(f"{row_name} plays with {' or '.join(map(str, row.seats))} seats, not {config}")
    if row.player is MixedPlayer:
        parts = tuple(choose(part, config, search, models, limit) for part in rest.split(",") if part)
        parts = parts or tuple(choose(part, config, search, models, limit) for part in MIXTURE)
        return PlayerChoice(name, config, row_name, parts=parts)
    settings = _settings(row.search, search)
    if not rest:
        return PlayerChoice(name, config, row_name, settings, limit=limit)
    if not row.evaluator:
        raise RulesError(f"{row_name} has no network: {name!r} is no player")
    if rest == SHIPPED:
        model, network = shipped_network(config)
    else:
        check_model_name(rest)
        if models is None:
            raise RulesError(f"{rest} is no player without a run: models are found in a run directory")
        model, network = models(rest)
    shown = model if row_name == "gumbel" else f"{row_name}:{model}"
    return PlayerChoice(shown, config, row_name, settings, network, limit)


def needs_run(name: str) -> bool:
    """Whether a run has to say which network a player of that name has. Raises `RulesError` for no player's name."""
    row, _, rest = name.partition(":")
    if row == "mixed":
        return any(needs_run(part) for part in rest.split(",") if part)
    model = rest if row in PLAYERS else name
    if model in ("", SHIPPED):
        return False
    check_model_name(model)
    return True


def check_model_name(name: str) -> None:
    """Raises `RulesError` for a name that no model can have, and so is that of a player mistyped."""
    if name not in MODEL_NAMES and not MODEL_ID.fullmatch(name):
        raise RulesError(unknown("player", name.partition(":")[0], [*PLAYERS, SHIPPED, *MODEL_NAMES]))


def _settings(usual: SearchSettings | None, given: SearchSettings | None) -> SearchSettings | None:
    """What a row with these usual settings searches with."""
    if usual is None or given is None or type(given) is type(usual):
        return given if usual is not None and given is not None else usual
    simulations = getattr(given, "simulations", None)
    return replace(usual, simulations=simulations) if simulations and hasattr(usual, "simulations") else usual
