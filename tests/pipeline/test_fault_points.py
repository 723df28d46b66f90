"""Every stage is killed where it writes, and goes on. The short form of `python tools/fault_drill.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_drill import STAGES, Report, Unsound, _look, drill, left, prepared, small_disk

from ringrift.store import GameStore, RunDirectory


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_stages_survive_a_kill_at_their_points(tmp_path: Path) -> None:
    reports = [drill(stage, before, points=2, kills=0) for stage, before in prepared(list(STAGES), tmp_path)]
    assert [report.stage for report in reports] == list(STAGES)
    assert all(sum(report.died.values()) >= 2 and len(report.points) >= 2 for report in reports)
    assert {"before games.db", "after games.db"} <= set(point(reports, "export"))
    assert any(name.startswith("after blobs/") or "onnx" in name for name in point(reports, "train"))
    assert "before matches/…-….jsonl" in point(reports, "match")
    assert "before fabric.db" in point(reports, "promote")


def point(reports: list[Report], stage: str) -> list[str]:
    return next(report.points for report in reports if report.stage == stage)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_stages_go_on_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk", 1 << 20):
            pass
    except PermissionError as error:
        pytest.skip(str(error))
    stages = ["ingest", "export", "train", "match", "promote"]
    reports = [drill(stage, before, points=1, kills=0, disks=1) for stage, before in prepared(stages, tmp_path)]
    assert [report.full for report in reports] == [1] * len(stages)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_stages_survive_200_random_kills(tmp_path: Path) -> None:
    for stage, before in prepared(list(STAGES), tmp_path):
        assert drill(stage, before, points=1000, kills=200).slowest < 60


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A run whose next stage would be training."""
    return next(before for _, before in prepared(["train"], tmp_path))


@pytest.mark.slow
def test_the_drill_sees_what_it_looks_for(exported: Path) -> None:
    with RunDirectory.open(exported) as run:
        had = left(run)
    _look("train", "now", exported, had)
    with pytest.raises(Unsound, match="lost a game"):
        _look("train", "now", exported, {**had, "games": {**had["games"], "other/000000": "0"}})
    with pytest.raises(Unsound, match="promoted"):
        _look("train", "now", exported, {**had, "promoted": [("m-0", None, "promote")]})
    shard = next((exported / "blobs").rglob("*.npz"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(content)
    with pytest.raises(Unsound, match="shard"):
        _look("train", "now", exported, had)
    with RunDirectory.open(exported) as run:
        GameStore(run).judge([(1, "planted")])
        assert left(run) != had
