"""What tests of every part need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ringrift.store import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A new run directory, `tmp_path / "run"`."""
    with RunDirectory.create(tmp_path / "run") as made:
        yield made
