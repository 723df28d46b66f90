"""How the loop does, beside what the kernel sees: games that wait for training, how much the newest ones differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ringrift.kernel import health
from ringrift.kernel.effects import Effect
from ringrift.kernel.health import Rule, Snapshot
from ringrift.kernel.settings import Supervision
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import SupervisionSettings
from ringrift.pipeline.standing import standing
from ringrift.store import GameStore
from ringrift.store.quality import Variety, variety

VARIETY_GAMES = 100  #: new games after which their variety is looked at again
FEW = 100  #: games of which nothing is said about their variety
TWINS = 0.05  #: share of games that were played before, above which somebody is told
NARROWED = 0.7  #: of the earlier entropy of openings, below which somebody is told


@dataclass(frozen=True)
class Measured(health.Measured):
    """Figures of the run and the machine."""

    games: Mapping[str, float] = field(default_factory=dict)
    """Games that wait for training, by config, in candidates' worth."""
    variety: Mapping[str, Variety] = field(default_factory=dict)
    """How much the newest games differ, by config."""

    def parts(self, settings: Supervision) -> dict[str, float]:
        """How full each part is, the games that wait for training too."""
        assert isinstance(settings, SupervisionSettings)
        return super().parts(settings) | {"games": max(self.games.values(), default=0.0) / settings.full_games}


def measure(ctx: Context, effects: Sequence[Effect[Any]]) -> Measured:
    """Looks at the fabric, the store and the machine."""
    games = {config: standing(ctx, config).worth for config in ctx.configs}
    differ = {config: _variety(ctx, config) for config in ctx.configs}
    return Measured(**vars(health.measure(ctx, effects)), games=games, variety=differ)


def _variety(ctx: Context, config: str) -> Variety:
    """Looked at again after every `VARIETY_GAMES` games."""
    newest = GameStore(ctx.run).flow(config).newest // VARIETY_GAMES
    known = ctx.state.get(key := f"variety/{config}")
    if not isinstance(known, tuple) or known[0] != newest:
        ctx.state[key] = known = newest, variety(ctx.run, config)
    found = known[1]
    assert isinstance(found, Variety)
    return found


def _differing(snapshot: Snapshot) -> Mapping[str, Variety]:
    return snapshot.measured.variety if isinstance(snapshot.measured, Measured) else {}


def _twins(snapshot: Snapshot) -> str | None:
    found = _differing(snapshot).items()
    many = [f"{config}: {one.twins:.0%}" for config, one in found if one.games >= FEW and one.twins > TWINS]
    return f"so many of the last games were played before: {', '.join(many)}" if many else None


def _openings(snapshot: Snapshot) -> str | None:
    found = [
        f"{config}: {one.openings[0]:.2f} nats after {one.openings[1]:.2f}"
        for config, one in _differing(snapshot).items()
        if one.games >= FEW and one.openings[0] < NARROWED * one.openings[1]
    ]
    return f"openings vary less than before: {'; '.join(found)}" if found else None


RULES = (
    *health.RULES,
    Rule("games-doubled", "warning", _twins),
    Rule("openings-narrow", "warning", _openings),
)
