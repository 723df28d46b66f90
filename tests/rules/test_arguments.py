"""Wrong arguments of the public classes: a sentence that says what would be right, and no list of signatures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import ringrift
from ringrift import Game, GameBatch, Move, Options, Record, RulesError, config_info
from ringrift.errors import RingRiftError

WRONG: tuple[Any, ...] = (
    3, -1, 10**30, None, 2.5, float("nan"), "x", "\ud800", "é", b"x", [], {}, object(), True, Game, Game(),
)  # fmt: skip
BATCH = GameBatch("square8_2p", 2)


def methods(thing: Any) -> list[str]:
    return [name for name in dir(type(thing)) if not name.startswith("_") and callable(getattr(thing, name))]


def ask(thing: Any, name: str, wrong: Any) -> Any:
    return getattr(thing, name)(wrong)


CALLS: dict[str, Callable[[Any], Any]] = {
    "Game": Game,
    "Game, options": lambda wrong: Game("square8_2p", wrong),
    "GameBatch": lambda wrong: GameBatch(wrong, 2),
    "GameBatch, size": lambda wrong: GameBatch("square8_2p", wrong),
    "config_info": config_info,
    "Options": lambda wrong: Options(rings_per_player=wrong),
    "Options.from_dict": Options.from_dict,
    "Game.from_canonical": lambda wrong: Game.from_canonical("square8_2p", wrong),
    "Record.from_game": lambda wrong: Record.from_game(wrong, seed=1, players=("a", "b")),
    "transform_move": lambda wrong: Game().transform_move(wrong, 1),
    "transform_move, symmetry": lambda wrong: Game().transform_move(Game().playable_moves()[0], wrong),
    "push of a Move": lambda wrong: Game().push(Move("P0,0*1", wrong)),
    **{f"Game.{name}": partial(ask, Game(), name) for name in methods(Game())},
    **{f"GameBatch.{name}": partial(ask, BATCH, name) for name in methods(BATCH)},
}


@pytest.mark.parametrize("call", CALLS)
def test_wrong_arguments_are_refused_in_a_sentence(call: str) -> None:
    for wrong in WRONG:
        if call in ("Game.perft", "Game.divide") and wrong == 3:
            continue  # right, and long
        try:
            CALLS[call](wrong)
        except (RingRiftError, TypeError, IndexError) as error:
            assert "incompatible" not in str(error), wrong  # noqa: PT017 -- some are right
            assert "\n" not in str(error), wrong  # noqa: PT017
            assert len(str(error)) < 500, wrong  # noqa: PT017


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: Game(3), RulesError, "a config is a text such as 'square8_2p', not 3"),  # type: ignore[arg-type]
        (lambda: Game().push(5), TypeError, r"such as 'P2,6\*3' for a move, not 5"),  # type: ignore[arg-type]
        (lambda: Game().perft(-1), RulesError, "depth is -1; 0 to 255 plies are right"),
        (lambda: Game().move("x"), TypeError, r"text_of takes \(move: int\), not \(str\)"),  # type: ignore[arg-type]
        (lambda: Game().text(3), TypeError, r"text takes \(\), not \(int\)"),  # type: ignore[call-arg]
        (lambda: BATCH.step(3), TypeError, r"step takes \(choices: an array of int32\), not \(int\)"),  # type: ignore[arg-type]
        (lambda: GameBatch("square8_2p", -1), RulesError, "a batch has 1 game or more, not -1"),
    ],
)
def test_the_sentence_says_what_is_right(call: Callable[[], object], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        call()


def test_right_arguments_still_work() -> None:
    game = ringrift.Game()
    assert game.perft(1) == len(game.playable_moves())
    assert game.transform(3).config == game.config
    assert BATCH.text(0) == game.text()
    assert Game.text.__doc__ == ringrift.rules.game._core.Game.text.__doc__
