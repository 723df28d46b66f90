"""A session with the rules: play, look, take back, write a position down and read it again.

python examples/session.py [CONFIG [SEED]]
"""

import sys

import numpy as np

import ringrift as rr


def main(config: str = "hex8_3p", seed: str = "1") -> None:
    rng = np.random.default_rng(int(seed))
    game = rr.Game(config)
    while not game.is_over:
        moves = game.playable_moves()
        game.push(moves[rng.integers(len(moves))])
        if game.ply == 40:
            print(game.ascii())
            print(f"ply 40, seat {game.to_move} has {len(game.legal_moves)} legal moves, such as {game.legal_moves[0]}")
            assert rr.Game.parse(game.text()).key == game.key  # one line of text is the whole position
    outcome = game.outcome()
    assert outcome is not None
    print(f"seat {outcome.winner} won after {game.ply} plies by {outcome.reason}; ranks {outcome.ranks}")
    last = game.pop()
    print(f"without the last ply, {last}, the game goes on with seat {game.to_move}")


if __name__ == "__main__":
    main(*sys.argv[1:])
