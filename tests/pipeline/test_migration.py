"""docs/migration.md says of every event and daemon of the earlier service what takes its place, and that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ringrift.pipeline.events import EVENTS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()


def rows(heading: str) -> list[tuple[list[str], str]]:
    """The rows of a section: earlier names, and the cell that says what there is instead."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE)
    return [(re.findall(r"`([A-Z0-9_]+)`", names), cell) for names, cell in found]


@pytest.mark.parametrize(("heading", "count"), [("Events", 174), ("Daemons", 122)])
def test_every_name_stands_once(heading: str, count: int) -> None:
    names = [name for row, _ in rows(heading) for name in row]
    assert len(names) == len(set(names)) == count


def test_what_is_named_instead_exists() -> None:
    named = {name for _, cell in rows("Events") for name in re.findall(r"`([A-Z]\w+)`", cell)}
    assert named <= set(EVENTS)
    assert {"ModelPromoted", "JobDied", "ServiceStalled"} <= named
