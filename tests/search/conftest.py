"""Evaluators that need no network: their answers follow from the encoded position alone, row by row."""

from collections.abc import Callable

import pytest
from fake_evaluator import HashEvaluator

from ringrift.evaluators import Evaluator


@pytest.fixture
def hashed() -> Callable[[str], HashEvaluator]:
    """Makes the evaluator of a config."""
    return HashEvaluator


def _protocol(config: str) -> Evaluator:
    return HashEvaluator(config)
