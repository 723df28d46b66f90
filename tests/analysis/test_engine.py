"""The analysis engine: every line an answer, garbage included; queries searched together; an orderly end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import HashEvaluator

import ringrift
from ringrift.analysis import AnalysisSettings, Engine, analyse
from ringrift.errors import DataError
from ringrift.rules import Game
from ringrift.search import GumbelSettings

SETTINGS = AnalysisSettings(GumbelSettings(simulations=6, gumbel_scale=0.0))


def answers(lines: Iterable[Any], engine: Engine | None = None) -> list[dict[str, Any]]:
    told: list[str] = []
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    (engine or Engine(HashEvaluator, SETTINGS)).run(texts, told.append)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in told)
    return [json.loads(line) for line in told]


def test_an_answer_is_the_analysis() -> None:
    game = Game("hex8_3p")
    game.push(game.playable_moves()[5])
    moves = [move.text for move in game.moves]
    first, second = answers([{"id": "a", "config": "hex8_3p", "moves": moves}, {"id": 2, "position": game.text()}])
    expected = analyse([game], HashEvaluator("hex8_3p"), SETTINGS)[0].to_dict()
    assert first == {"id": "a"} | expected
    assert second == {"id": 2} | expected
    (short,) = answers([{"id": 1, "config": "hex8_3p", "simulations": 20, "top": 2}])
    assert (short["simulations"], len(short["moves"])) == (20, 2)


GARBAGE = [
    ("{", "Expecting"),
    ("[]", "JSON object"),
    ("3", "JSON object"),
    ("[" * 100_000, "recursion"),
    ({"config": "square8_2p"}, "needs an id"),
    ({"id": 1}, "either a config"),
    ({"id": 1, "config": "square8_2p", "position": "x"}, "either a config"),
    ({"id": 1, "config": "square9_2p"}, "unknown config"),
    ({"id": 1, "config": "square8_2p", "moves": ["P9,9*1"]}, "P9,9"),
    ({"id": 1, "config": "square8_2p", "moves": [7]}, "move texts"),
    ({"id": 1, "config": "square8_2p", "moves": "P2,6*3"}, "right is list"),
    ({"id": 1, "config": "square8_2p", "simulations": 0}, "is right"),
    ({"id": 1, "config": "square8_2p", "simulations": True}, "right is int"),
    ({"id": 1, "config": "square8_2p", "simulations": 10**9}, "1 to 1000000"),
    ({"id": 1, "config": "square8_2p", "seconds": -1}, "is right"),
    ({"id": 1, "config": "square8_2p", "top": -1}, "top is -1"),
    ({"id": 1, "config": "square8_2p", "visits": 3}, "unknown key 'visits'"),
    ({"id": 1, "position": "nonsense"}, "a position text is"),
    ({"id": [], "config": "square8_2p"}, "id is"),
    ('{"id": 1, "config": "square8_2p", "simulations": ' + "9" * 5000 + "}", "right is int"),
    ('{"id": 1, "config": "square8_2p", "seconds": 1' + "0" * 5000 + "}", "is no time"),
    ('{"id": 1, "config": ' + "[" * 100_000, "recursion"),
    ('{"id": 1, "config": "square8_2p"', "Expecting"),
    ('{"id": 1, "config": "square8_2p", "position": "\\ud800"}', "either a config"),
    ({"id": 1, "position": "\ud800"}, "no text of a game has"),
    ({"id": 1, "config": "\ud800"}, "unknown config"),
    ({"id": 1, "config": "square8_2p", "moves": ["\udfff"]}, "no text of a game has"),
    ({"id": 1, "config": "square8_2p", "seconds": float("nan")}, "is no time"),
    ({"id": 1, "config": "square8_2p", "seconds": 1e308}, "up to 86400"),
    ({"id": 1, "config": "square8_2p", "top": 10**18 * 1000}, "right is int"),
    ({"id": 1, "config": ["x" * 100_000]}, "..."),
    ({"id": 1, "action": "dance"}, "unknown action"),
    ({"id": 1, "action": ["version"]}, "unknown action"),
]


@pytest.mark.parametrize(("line", "said"), GARBAGE, ids=lambda value: str(value)[:30])
def test_garbage_is_answered_and_does_not_stop_it(line: object, said: str) -> None:
    (error, fine) = answers([line, {"id": "x", "config": "square8_2p"}])
    assert said in error["error"]
    assert len(error["error"]) < 2000
    assert error["id"] == (1 if '"id": 1' in (line if isinstance(line, str) else json.dumps(line)) else None)
    assert fine["id"] == "x"
    assert fine["moves"]


@given(st.lists(st.text(st.characters(exclude_characters="\n")), max_size=5))
def test_any_text_is_answered(lines: list[str]) -> None:
    told = answers(lines)
    assert len(told) == sum(bool(line.strip()) for line in lines)
    assert all("error" in one for one in told)


def test_queries_share_the_evaluator() -> None:
    seen: dict[str, HashEvaluator] = {}

    def evaluator(config: str) -> HashEvaluator:
        return seen.setdefault(config, HashEvaluator(config))

    # All lines are there before the first search: the reader gives them in one go.
    lines = [{"id": i, "config": ("square8_2p", "hex8_2p")[i % 2]} for i in range(20)]
    told = gathered(Engine(evaluator, SETTINGS, together=8), lines)
    assert sorted(one["id"] for one in told) == list(range(20))
    assert seen["square8_2p"].batches[0] == 8
    assert sum(seen["square8_2p"].batches) == 10 * (1 + 6)  # roots and simulations


def gathered(engine: Engine, lines: list[dict[str, Any]], last: list[dict[str, Any]] | None = None) -> list[Any]:
    """The answers where the engine finds all lines at once: the first line's search waits for the last line."""
    ready, told = threading.Event(), list[str]()
    evaluators = engine.evaluators

    def wait(config: str) -> Any:
        ready.wait(20)
        return evaluators(config)

    engine.evaluators = wait

    def given() -> Iterator[str]:
        yield json.dumps({"id": "first", "config": "square8_3p"})
        yield from map(json.dumps, [*lines, *(last or [])])
        ready.set()

    engine.run(given(), told.append)
    return [one for one in map(json.loads, told) if one.get("id") != "first"]


def test_the_urgent_first_and_the_terminated_never() -> None:
    lines = [{"id": i, "config": "square8_2p", "simulations": 2 + i, "priority": i} for i in range(4)]
    told = gathered(Engine(HashEvaluator, SETTINGS), lines, [{"id": 2, "action": "terminate"}])
    assert [one["id"] for one in told] == [2, 3, 1, 0]
    assert told[0] == {"id": 2, "action": "terminate", "terminated": 1}


def test_version_and_blank_lines() -> None:
    assert answers(["\n", "  ", {"action": "version"}]) == [{"action": "version", "version": ringrift.__version__}]
    assert answers([]) == []


def test_time_is_a_limit() -> None:
    engine = Engine(HashEvaluator, SETTINGS)
    quick, slow = answers([{"id": i, "config": "square8_2p", "seconds": s} for i, s in enumerate((0.002, 0.2))], engine)
    assert quick["simulations"] < slow["simulations"]
    (both,) = answers([{"id": 1, "config": "square8_2p", "seconds": 5, "simulations": 3}], engine)
    assert both["simulations"] == 3


def test_a_missing_network_is_an_answer() -> None:
    def nothing(config: str) -> HashEvaluator:
        raise DataError(f"no model of {config}")

    told = answers([{"id": 1, "config": "square8_2p"}], Engine(nothing, SETTINGS))
    assert told == [{"id": 1, "error": "no model of square8_2p"}]


def test_what_goes_wrong_with_some_queries_is_the_answer_to_them() -> None:
    def evaluators(config: str) -> HashEvaluator:
        if config == "hex8_2p":
            raise OSError(2, "No such file", "gone.onnx")
        if config == "hex8_3p":
            raise MemoryError
        return HashEvaluator(config)

    lines = [{"id": name, "config": name} for name in ("hex8_2p", "hex8_3p", "square8_2p")]
    told = {one["id"]: one for one in answers(lines, Engine(evaluators, SETTINGS))}
    assert "gone.onnx" in told["hex8_2p"]["error"]
    assert "memory" in told["hex8_3p"]["error"]
    assert told["square8_2p"]["moves"]


def test_a_reader_that_fails_ends_it_in_order() -> None:
    def lines() -> Iterator[str]:
        yield json.dumps({"id": 1, "config": "square8_2p"})
        raise OSError(5, "Input/output error")

    told: list[str] = []
    with pytest.raises(OSError, match="Input/output"):
        Engine(HashEvaluator, SETTINGS).run(lines(), told.append)
    assert json.loads(told[0])["moves"]
