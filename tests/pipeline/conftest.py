"""Closes what `services.context` opened."""

from collections.abc import Iterator

import pytest
from services import OPENED


@pytest.fixture(autouse=True)
def fabrics() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()
