"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a loaded machine
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["match.py", "hex8_3p", "heuristic", "random", "12"], "of 12 games against random on hex8_3p"),
        (["new_player.py"], "of 20 games against random"),
        (["own_evaluator.py"], "visits, seat"),
        (["new_service.py"], "nothing has changed: 0"),
        (["loop.py", "run"], "promoted: "),
    ],
    ids=lambda value: str(value[0]),
)
def test_example(tmp_path: Path, command: list[str], said: str) -> None:
    name, *arguments = command
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=580
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
