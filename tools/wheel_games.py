"""Whole games by an installed ringrift with its base dependencies alone, for `tools/wheel_check` and the wheels' CI."""

import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np

import ringrift
from ringrift.players import choose
from ringrift.rules import CONFIGS, Game

EXTRAS = ("torch", "onnxruntime", "fastapi", "structlog")


def game(config: str) -> Game:
    """The heuristic in all seats."""
    player, played = choose("heuristic", config).make(), Game(config)
    rng = np.random.default_rng(1)
    while not played.is_over:
        played.push(player.decide([played], [rng])[0].move)
    return played


def main() -> None:
    there = [name for name in EXTRAS if find_spec(name)]
    assert not there, f"not a bare environment: it has {there}"
    compilers = [name for name in ("c++", "g++", "clang++", "cmake") if shutil.which(name)]
    for config in CONFIGS:
        if config.startswith(("square8", "hex8")):
            played = game(config)
            print(f"{config}: {played.ply} plies, {played.outcome()}")
    # A person who always takes the first move, against the machine.
    command = [sys.executable, "-m", "ringrift", "play", "--config", "hex8_2p", "--seed", "1"]
    said = subprocess.run(command, input="1\n" * 2000, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    assert "no more input" not in said.stdout, said.stdout[-500:]
    lines = sum("plays" in line for line in said.stdout.splitlines())
    assert lines > 10, said.stdout[-500:]
    print(f"ringrift play: {lines} answers; ringrift {ringrift.__version__}, compilers: {compilers or 'none'}")


main()
