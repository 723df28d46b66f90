"""Broken networks that were promoted by mistake are found, and the good one is back, within stated numbers of games."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ringrift.store import RunDirectory

STATED = 400
"""Games of checks; `python benchmarks/regression.py planted` says how many it takes."""


@pytest.mark.slow
def test_each_planted_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import planted

    monkeypatch.setattr(planted, "GAMES", 120)
    monkeypatch.setattr(planted, "STEPS", 200)
    with RunDirectory.create(tmp_path / "run") as run:
        good = planted.good_model(run)
        for name, plant in planted.PLANTED.items():
            told, back = planted.found_after(run, good, plant(run, good), STATED)
            assert 0 < told <= back <= STATED, name
    sys.modules.pop("planted")
