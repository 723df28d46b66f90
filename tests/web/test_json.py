"""Bodies are looked through as they come: what is JSON and what is not, and what of it is kept."""

import json
import math
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from ringrift._core import JsonFilter

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def filtered(text: bytes, sizes: list[int] | None = None) -> bytes:
    """What is kept of a text that comes in parts of these sizes."""
    filter_ = JsonFilter(["game_state", "game_states"], ["history"])
    while sizes and text:
        part, text = text[: sizes[0]], text[sizes[0] :]
        filter_.feed(part)
        sizes = [*sizes[1:], sizes[0]]
    filter_.feed(text)
    filter_.finish()
    return filter_.kept()


def is_json(text: bytes) -> bool:
    """By another reader."""
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        return False
    return is_finite(value)


def is_finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(is_finite, value.values() if isinstance(value, dict) else value))
    try:
        return not isinstance(value, int | float) or math.isfinite(value)
    except OverflowError:
        return False


@unhurried
@given(VALUES, st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans(), st.sampled_from([None, 2]))
def test_json_is_kept_as_it_is(value: Any, sizes: list[int], ascii_: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_, indent=indent).encode()
    assert filtered(text, sizes) == text


@unhurried
@given(VALUES, st.randoms(use_true_random=False), st.integers(1, 9))
def test_what_is_no_json_is_refused(value: Any, rng: random.Random, size: int) -> None:
    text = bytearray(json.dumps({"game_state": {"history": value}}, ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text))
        text[at : at + rng.randint(0, 2)] = rng.choice(
            (b"", rng.randbytes(1), b'"', b"\\", b"0", b"e9", b",", b"}", b"-")
        )
    try:
        filtered(bytes(text), [size])
        sound = True
    except ValueError:
        sound = False
    assert sound == is_json(bytes(text)), bytes(text)


@pytest.mark.parametrize(
    ("number", "finite"),
    [
        (b"1" + b"0" * 210 + b"e99", False),
        (b"1" + b"0" * 208 + b"e99", True),
        (b"1e308", True),
        (b"1e309", False),
        (b"1.7976931348623157e308", True),
        (b"1.7976931348623159e308", False),
        (b"0.00017976931348623159e312", False),
        (b"-1E+400", False),
        (b"1e-400", True),
        (b"0e999999999999999999999", True),
        (b"0.0e5000", True),
        (b"9" * 5000, False),
        (b"9" * 5000 + b".5", False),
        (b"0." + b"0" * 5000 + b"1e5000", True),
        (b"0." + b"0" * 5000 + b"1e5400", False),
        (b"1e" + b"9" * 5000, False),
        (b"1e-" + b"9" * 5000, True),
    ],
    ids=lambda given: repr(given)[:24],
)
@pytest.mark.parametrize("place", [b"%s", b"[%s]", b'{"game_state": {"history": [%s]}}', b'{"x": [[{"y": %s}]]}'])
def test_every_number_is_finite_wherever_it_stands(place: bytes, number: bytes, finite: bool) -> None:
    if finite:
        filtered(place % number)
        return
    with pytest.raises(ValueError, match="a number out of range at byte"):
        filtered(place % number)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('{"game_state": {"history": [{"a": "]"}, 2], "x": 3}}', '{"game_state": {"history": null, "x": 3}}'),
        ('{"game_state":{"history":12}}', '{"game_state":{"history":null}}'),
        ('{"game_state":{"history":"\\"}" }, "b":1}', '{"game_state":{"history":null }, "b":1}'),
        ('{"game_states":[{"history":true},{"history":{}}]}', '{"game_states":[{"history":null},{"history":null}]}'),
        ('{"history": [1], "options": [{"history": [1]}]}', None),
        ('{"game_state": {"board": {"history": [1]}, "hist\\u006fry": [1]}}', None),
        ('{"game_state": [[{"history": [1]}]]}', None),
        ('[{"history": 1}]', None),
    ],
)  # fmt: skip
def test_the_history_of_states_alone_is_left_out(text: str, kept: str | None) -> None:
    for sizes in ([1], [2, 3], [1000]):
        assert filtered(text.encode(), sizes).decode() == (kept or text)


def test_what_is_kept_is_counted() -> None:
    filter_ = JsonFilter(["game_state"], ["history"])
    filter_.feed(b'{"game_state": {"history": [[], {}, 1, 2], "moves": [{"a": 1, "b": 2}, "[,"]}}')
    assert (filter_.containers, filter_.commas, filter_.size) == (4, 3, len(filter_.kept()))


def test_nesting_ends_at_200() -> None:
    filtered(b"[" * 200 + b"]" * 200)
    with pytest.raises(ValueError, match="nested too deep at byte 200"):
        filtered(b"[" * 201 + b"]" * 201)
