"""`ringrift match | rate` as they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from ringrift.cli import app

HERE = ("--set", "match.play.processes=1")


def ringrift(*arguments: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.stdout


def test_a_match_and_its_rating(tmp_path: Path) -> None:
    save = tmp_path / "m.jsonl"
    command = ("match", "heuristic", "random", "--games", 8, "--sprt=-10,400", "--save", save, *HERE)
    said = ringrift(*map(str, command))
    assert "heuristic – random on square8_2p" in said
    assert "pentanomial" in said
    assert "test of H0 -10 against H1 +400 Elo" in said
    document = json.loads(ringrift(*map(str, command), "--json"))
    assert document["games"] == 8
    assert document["test"]["bounds"] == [-2.9444389791664403, 2.9444389791664403]
    assert len(save.read_text().splitlines()) == 9
    rated = json.loads(ringrift("rate", save, "--json", "--pairs", "2"))
    assert [one["player"] for one in rated["ratings"]] == ["heuristic", "random"]
    assert len(rated["pairs"]) == 2
    table = ringrift("rate", save)
    assert "anchor" in table
    assert "heuristic" in table
    own = tmp_path / "anchors.toml"
    own.write_text("[square8_2p]\nrandom = 0.0\n")
    ringrift("rate", save, "--anchors", own, "--anchor", "heuristic")
    assert ringrift("rate", save, "--anchors", own).count("anchor") == 2


def test_what_cannot_be_used_is_answered_with_a_sentence(tmp_path: Path) -> None:
    save = tmp_path / "m.jsonl"
    for seed in ("0", "1"):
        command = ["match", "random", "random", "--games=2", f"--save={save}", f"--seed={seed}"]
        done = subprocess.run(
            [sys.executable, "-m", "ringrift", *command],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == (0 if seed == "0" else 2), done.stderr
    assert "ringrift: " in done.stderr
    assert "holds another match: seed was 0 and is 1" in done.stderr
    assert "at most" not in done.stderr
