"""Evaluators that need no network."""

from collections.abc import Callable

import pytest
from trees import HashEvaluator


@pytest.fixture
def hashed() -> Callable[[str], HashEvaluator]:
    """Makes the evaluator of a config."""
    return HashEvaluator
