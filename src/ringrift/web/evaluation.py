"""The hand-written evaluation under the game server's names, and which of its choices it likes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.rules import Game, config_info
from ringrift.search.heuristic import HEURISTIC_TABLE, heuristic_values

#: The game server's features and which of ours each is made of; each of ours has one place.
BREAKDOWN = {
    "stack_control": ("stacks", "caps", "heights", "no_stacks", "single_stack"),
    "territory": ("territory", "territory_squared"),
    "rings_in_hand": ("hand",),
    "center_control": ("centre",),
    "opponent_threats": ("tempo",),
    "mobility": ("frontier", "beside"),
    "eliminated_rings": ("eliminated", "eliminated_squared"),
    "marker_count": ("markers",),
    "victory_proximity": ("road",),
    "opponent_victory_threat": ("rival",),
    "stack_mobility": ("mobility", "blocked"),
    "multi_leader_threat": (),
    "line_potential": ("line_ready", "line_gap"),
    "line_connectivity": ("pairs", "threes"),
    "vulnerability": ("vulnerable", "fragile", "captive"),
    "overtake_potential": ("overtake", "overtake_now", "chains"),
    "territory_closure": ("claim_now", "claim_wins_now"),
    "territory_safety": ("claim_later", "claim_wins_later"),
    "forced_elimination_risk": ("stuck", "out"),
    "lps_action_advantage": ("alone", "rounds"),
    "recovery_potential": ("recovery",),
}
TERRITORY = (
    "territory",
    "territory_closure",
    "territory_safety",
    "line_potential",
    "line_connectivity",
    "marker_count",
)
RINGS = ("stack_control", "rings_in_hand", "eliminated_rings", "vulnerability", "overtake_potential")


def _parts(game: Game) -> NDArray[np.float64]:  # [P, F]
    """What each feature adds to each seat's evaluation, less the mean over the seats: columns add up to 0."""
    info = config_info(game.config)
    column = info.players - 2 + (3 if info.cells >= 100 else 0)
    weights = np.array([row.weights[column] for row in HEURISTIC_TABLE])
    parts = _core.heuristic_features(game).astype(np.float64) * weights
    return np.asarray(parts - parts.mean(0))


def breakdown(game: Game, seat: int) -> dict[str, float]:
    """What speaks for a seat, under the game server's names; they add up to `total`."""
    parts = dict(zip((row.name for row in HEURISTIC_TABLE), _parts(game)[seat - 1].tolist(), strict=True))
    found = {name: round(sum(parts[one] for one in ours), 6) for name, ours in BREAKDOWN.items()}
    return {"total": round(sum(parts.values()), 6)} | found


def margins(game: Game) -> dict[str, dict[str, Any]]:
    """Each seat's evaluation over the mean of all, and its probability of winning."""
    values, out = heuristic_values(game).tolist(), {}
    for seat in range(1, game.num_seats + 1):
        found = breakdown(game, seat)
        out[str(seat)] = {
            "totalEval": found["total"],
            "territoryEval": round(sum(found[name] for name in TERRITORY), 6),
            "ringEval": round(sum(found[name] for name in RINGS), 6),
            "winProbability": round(values[seat - 1], 6),
        }
    return out
