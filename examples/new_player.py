"""A player of one's own: a class with `decide`, and a row in the table.

    python examples/new_player.py

In the project itself the row goes into `src/ringrift/players/table.py`; every command then knows the player's name.
"""

from collections.abc import Sequence

from ringrift.evaluation import MatchSettings, match
from ringrift.players import PLAYERS, Decision, Player, PlayerSpec, Rng, choose
from ringrift.rules import Game, Move
from ringrift.selfplay import PlaySettings


class Greediest(Player):
    """Takes the move after which its own seat has eliminated most rings; the first of equal ones."""

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        return [Decision(max(game.playable_moves(), key=lambda move: gain(game, move))) for game in games]


def gain(game: Game, move: Move) -> int:
    """Rings that the seat to move has eliminated after `move`."""
    seat = game.to_move
    after = game.copy()
    after.push(move)
    return after.scores()[seat - 1].elim


PLAYERS["greediest"] = PlayerSpec("greediest", "eliminates where it can", Greediest)

if __name__ == "__main__":
    one, other = choose("greediest", "square8_2p"), choose("random", "square8_2p")
    # One process: the table of another process does not know this row.
    result = match(one, other, MatchSettings(games=20, play=PlaySettings(processes=1)))
    print(f"greediest won {result.wins} of {result.games} games against random")
