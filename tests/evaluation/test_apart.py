"""Training games never enter ratings, and rating games never enter training."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ringrift
from ringrift.errors import DataError
from ringrift.evaluation import MatchSettings, read_pool
from ringrift.pipeline import evaluate, export, gate, ingest, models, selfplay
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.store import GameStore, RunDirectory
from ringrift.store.samples import ExportSettings

SOURCE = Path(ringrift.__file__).parent
CONFIG = "square8_2p"
HERE = PlaySettings(processes=1)


def test_games_of_a_run(tmp_path: Path) -> None:
    """Matches are files of their own that have no moves; the store, from which samples come, has self-play alone."""
    with RunDirectory.create(tmp_path / "run") as run:
        rated = MatchSettings(games=4, play=HERE)
        evaluate.play_match(run, CONFIG, "heuristic", "random", rated)
        assert GameStore(run).counts() == []
        ingest.ingest_games(run)
        assert export.export_games(run, CONFIG, ExportSettings()).samples == 0
        files = sorted((run.path / "matches").iterdir())
        assert len(read_pool(files)[1]) == 4

        play = SelfplaySettings(engine="random", play=HERE)
        selfplay.play_games(run, CONFIG, "one", 4, play, models.choose_player(run, CONFIG, "random"))
        ingest.ingest_games(run)
        assert export.export_games(run, CONFIG, ExportSettings()).games == 4
        assert sorted((run.path / "matches").iterdir()) == files
        assert len(read_pool(files)[1]) == 4
        with pytest.raises(DataError, match=r"(neither the header of a match|hold 0 games)"):
            read_pool([run.path / "games.db"])


def test_no_code_can_mix_them() -> None:
    """What rates knows no store of games, and only self-play and imports add to that store."""
    for path in SOURCE.glob("evaluation/*.py"):
        modules = [
            node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        ]
        assert not [name for name in modules if name.startswith(("ringrift.store", "ringrift.training"))], path
    for function in (evaluate.play_match, gate.gate_model):
        assert "GameStore" not in function.__code__.co_names
    assert "GameStore" in selfplay.apply.__code__.co_names
    readers = [path.name for path in SOURCE.rglob("*.py") if "read_pool" in path.read_text()]
    assert sorted(readers) == ["__init__.py", "ladder.py", "loop.py", "match.py", "ratings.py"]
