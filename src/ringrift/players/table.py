"""The players that have a name: a search over an evaluator. A new player is a new row here (`examples/new_player.py`).

A name is a row of PLAYERS; a model, which is searched with by the row `gumbel`; `ROW:MODEL`; or `mixed:NAME,NAME,…`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ringrift.errors import RulesError, unknown
from ringrift.evaluators import Evaluator, UniformEvaluator
from ringrift.players.player import (
    GumbelPlayer,
    HeuristicPlayer,
    Limit,
    MixedPlayer,
    Player,
    PolicyPlayer,
    PolicySettings,
    RandomisedPlayer,
    RandomPlayer,
)
from ringrift.rules import config_info
from ringrift.search import GumbelSettings

#: Names that stand for a network: the run says which.
MODEL_NAMES = ("best", "initial")
#: Whom `mixed` draws from unless it is told.
MIXTURE = ("random", "heuristic", "gumbel")

SearchSettings = GumbelSettings | PolicySettings


@dataclass(frozen=True)
class PlayerChoice:
    """A player chosen by name, before it is made: small, and can be sent to another process."""

    name: str
    """As it is shown and recorded: a row of PLAYERS, a model id, or both as ROW:MODEL."""
    config: str
    spec: str
    """The row of PLAYERS."""
    search: SearchSettings | None = None
    """Of the row's kind; None: the row has none."""
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
        """Simulations of a decision; None for a player that does not count them or goes by time."""
        if self.limit and (self.limit.simulations or self.limit.seconds):
            return self.limit.simulations
        return getattr(self.search, "simulations", None)

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
    """Of which games it can be asked."""


def _network(choice: PlayerChoice) -> Evaluator:
    if choice.network is None:
        raise RulesError(f"{choice.name} plays by a network: name a model, as in {choice.spec}:best")
    from ringrift.evaluators.onnx import OnnxEvaluator  # onnxruntime only where there is a network

    evaluator = OnnxEvaluator(choice.network)
    if evaluator.config != choice.config:
        raise RulesError(f"{choice.name} was trained for {evaluator.config}: it cannot play {choice.config}")
    return evaluator


def _network_or_uniform(choice: PlayerChoice) -> Evaluator:
    return _network(choice) if choice.network else UniformEvaluator(choice.config)


#: What a row's evaluator is made of.
EVALUATORS: dict[str, Callable[[PlayerChoice], Evaluator]] = {
    "network": _network,
    "network or uniform": _network_or_uniform,
}

PLAYERS = {
    row.name: row
    for row in (
        PlayerSpec("random", "every playable move alike", RandomPlayer),
        PlayerSpec("heuristic", "one ply deep on the hand-written evaluation", HeuristicPlayer),
        PlayerSpec("policy", "the network's policy without a search", PolicyPlayer, PolicySettings(), "network"),
        PlayerSpec(
            "gumbel",
            "Gumbel search; without a network it only counts on its simulations",
            GumbelPlayer,
            GumbelSettings(),
            "network or uniform",
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
    `RulesError` for an unknown config, a row that cannot play it, and an unknown name where there are no `models`.
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
    if models is None:
        hint = ": models are found in a run directory" if rest in MODEL_NAMES or rest.startswith("m-") else ""
        raise RulesError(unknown("player", rest, PLAYERS) + hint)
    model, network = models(rest)
    shown = model if row_name == "gumbel" else f"{row_name}:{model}"
    return PlayerChoice(shown, config, row_name, settings, network, limit)


def _settings(usual: SearchSettings | None, given: SearchSettings | None) -> SearchSettings | None:
    """What a row with these usual settings searches with."""
    if usual is None or given is None or type(given) is type(usual):
        return given if usual is not None and given is not None else usual
    simulations = getattr(given, "simulations", None)
    return replace(usual, simulations=simulations) if simulations and hasattr(usual, "simulations") else usual
