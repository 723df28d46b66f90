"""The search over an evaluator of one's own: no network, no training, any function of the encoded position.

python examples/own_evaluator.py
"""

import numpy as np
from numpy.typing import NDArray

from ringrift.analysis import AnalysisSettings, analyse
from ringrift.encoding import PLANE_TABLE, policy_length
from ringrift.rules import Game, config_info
from ringrift.search import GumbelSettings


class CountCaps:
    """Knows no move from another; a seat's chance grows with the height of its caps. Seats are rotated: mover first."""

    def __init__(self, config: str) -> None:
        self.config, self.num_seats = config, config_info(config).players
        counts = [row.count for row in PLANE_TABLE]
        cap = [row.name for row in PLANE_TABLE].index("cap")
        self.planes = slice(sum(counts[:cap]), sum(counts[: cap + 1]))

    def evaluate(
        self, planes: NDArray[np.uint8], globals_: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        caps = planes[:, self.planes].sum((2, 3), dtype=np.float32)[:, : self.num_seats]  # [B, P]
        chances = np.exp(0.2 * (caps - caps.max(1, keepdims=True)))
        logits = np.zeros((len(planes), policy_length(self.config)), np.float32)
        return logits, chances / chances.sum(1, keepdims=True)


if __name__ == "__main__":
    game, rng = Game("square8_2p"), np.random.default_rng(1)
    while game.ply < 40:
        game.push(rng.choice([move.text for move in game.playable_moves()]))
    settings = AnalysisSettings(GumbelSettings(simulations=200, gumbel_scale=0.0), top=3)
    (found,) = analyse([game], CountCaps(game.config), settings)
    print(game.ascii())
    for one in found.moves:
        print(f"{one.move}: {one.visits} visits, seat {game.to_move} wins {one.value_by_seat[game.to_move - 1]:.2f}")
