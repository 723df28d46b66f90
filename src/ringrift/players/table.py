"""The players that have a name. A new player is a new row here; see `examples/new_player.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ringrift.errors import RulesError, unknown
from ringrift.evaluators import UniformEvaluator
from ringrift.players.player import GumbelPlayer, HeuristicPlayer, Limit, Player, RandomPlayer
from ringrift.rules import config_info
from ringrift.search import GumbelSettings

#: Names that stand for a network: the run says which.
MODEL_NAMES = ("best", "initial")


@dataclass(frozen=True)
class PlayerChoice:
    """A player chosen by name, before it is made: small, and can be sent to another process."""

    name: str
    """As it is shown and recorded: a row of PLAYERS, or a model id."""
    config: str
    spec: str
    """The row of PLAYERS."""
    search: GumbelSettings = field(default_factory=GumbelSettings)
    """Ignored by players that do not search."""
    network: Path | None = None
    """ONNX file of a model."""
    limit: Limit | None = None
    """What a decision may cost, in place of the budget in `search`."""

    def make(self) -> Player:
        """The player. Raises `CorruptBlob`, `EncodingMismatch` or `FormatTooNew` where its network cannot be used."""
        return PLAYERS[self.spec].make(self)


@dataclass(frozen=True)
class PlayerSpec:
    """One row of PLAYERS."""

    name: str
    about: str
    make: Callable[[PlayerChoice], Player]


def _gumbel(choice: PlayerChoice) -> Player:
    if choice.network is None:
        return GumbelPlayer(UniformEvaluator(choice.config), choice.search)
    from ringrift.evaluators.onnx import OnnxEvaluator  # onnxruntime only where there is a network

    evaluator = OnnxEvaluator(choice.network)
    if evaluator.config != choice.config:
        raise RulesError(f"{choice.name} was trained for {evaluator.config}: it cannot play {choice.config}")
    return GumbelPlayer(evaluator, choice.search)


PLAYERS = {
    row.name: row
    for row in (
        PlayerSpec("random", "every playable move alike", lambda choice: RandomPlayer()),
        PlayerSpec("heuristic", "one ply deep on the hand-written evaluation", lambda choice: HeuristicPlayer()),
        PlayerSpec("gumbel", "Gumbel search; without a network it only counts on its simulations", _gumbel),
    )
}


def choose(
    name: str,
    config: str,
    search: GumbelSettings | None = None,
    models: Callable[[str], tuple[str, Path]] | None = None,
) -> PlayerChoice:
    """The player called `name`: a row of PLAYERS, or what `models` finds (model id and ONNX file) for a model's name.

    Raises `RulesError` for an unknown config, and for an unknown name where there are no `models` to ask.
    """
    config_info(config)
    search = search or GumbelSettings()
    if name in PLAYERS:
        return PlayerChoice(name, config, name, search)
    if models is None:
        hint = ": models are found in a run directory" if name in MODEL_NAMES or name.startswith("m-") else ""
        raise RulesError(unknown("player", name, PLAYERS) + hint)
    model, network = models(name)
    return PlayerChoice(model, config, "gumbel", search, network)
