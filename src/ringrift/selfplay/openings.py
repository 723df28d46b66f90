"""Seeds, and the plies that games start with: random ones, or those of an earlier game that went another way than
its search believed.

A game of a match never starts where a training game may: positions fall into two halves by `held_for_matches`, and
each side draws its openings from its own.
"""

from __future__ import annotations

import hashlib

import numpy as np

from ringrift.errors import SettingsError
from ringrift.rules import Game, Options, Record, config_info

TRIES = 2000  #: random games in which an opening is looked for


def derive_seed(seed: int, *words: int | str) -> int:
    """A seed in [0, 2^63) for the purpose that `words` name: other words, another stream."""
    text = "/".join(str(word) for word in (seed, *words))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def held_for_matches(game: Game) -> bool:
    """Whether only matches start from this position: about half of all, and with each its images on the board."""
    symmetries = 12 if config_info(game.config).is_hex else 8
    return bool(min(game.transform(symmetry).key for symmetry in range(symmetries)) & 1)


def random_opening(
    config: str, plies: int, seed: int, options: Options | None = None, *, of_match: bool = False
) -> tuple[int, ...]:
    """The packed moves of `plies` plies of uniformly random play that do not end the game, and after which the
    position is held for matches if `of_match`, for training if not; 0 plies, the start itself, is training's.

    Raises `SettingsError` where `TRIES` random games have none.
    """
    if plies == 0 and of_match:
        raise ValueError("games of a match start with 1 random ply or more")
    rng = np.random.default_rng(seed)
    longest = 0
    for _ in range(TRIES):
        game, played = Game(config, options), list[int]()
        while len(played) < plies and not game.is_over:
            moves = game.playable_packed()
            played.append(int(moves[rng.integers(len(moves))]))
            game.push_packed(played[-1])
        if not game.is_over and (plies == 0 or held_for_matches(game) == of_match):
            return tuple(played)
        longest = max(longest, len(played))
    raise SettingsError(
        f"{TRIES:,} random games of {config} gave no opening of {plies} plies, the longest of them has {longest}: set"
        " another number of opening plies"
    )


def regretted(record: Record, least: float = 0.5) -> tuple[int, ...]:
    """The packed moves of a game up to the decision whose search gave the later winner the least chance.

    Empty where no chance was below 1 - `least`, where nothing was searched, and where the position is held for matches.
    """
    search = record.search
    if search is None or not len(search.ply) or not record.winner or record.start:
        return ()
    regret = 1.0 - search.root_value[:, record.winner - 1].astype(np.float32)
    worst = int(regret.argmax())
    moves = tuple(record.moves[: search.ply[worst]].tolist())
    if regret[worst] < least or not moves:
        return ()
    game = Game(record.config, record.options)
    for move in moves:
        game.push_packed(move)
    return () if held_for_matches(game) else moves
