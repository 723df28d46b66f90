"""Whole games by an installed ringrift with its base dependencies alone, and moves over HTTP.

For `tools/wheel_check` and the wheels' CI.
"""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from urllib.request import Request, urlopen

import numpy as np

import ringrift
from ringrift.players import choose
from ringrift.rules import CONFIGS, Game
from ringrift.wire import write_state

EXTRAS = ("torch", "safetensors", "onnx", "nicegui", "psutil", "httpx")


def game(config: str) -> Game:
    """The heuristic in all seats."""
    player, played = choose("heuristic", config).make(), Game(config)
    rng = np.random.default_rng(1)
    while not played.is_over:
        played.push(player.decide([played], [rng])[0].move)
    return played


def play_at_terminal() -> int:
    """Answers of the machine to a person who always takes the first move."""
    command = [sys.executable, "-m", "ringrift", "play", "--config", "hex8_2p", "--seed", "1"]
    said = subprocess.run(command, input="1\n" * 2000, capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr
    assert "no more input" not in said.stdout, said.stdout[-500:]
    answers = sum("plays" in line for line in said.stdout.splitlines())
    assert answers > 10, said.stdout[-500:]
    return answers


def move_of_service(level: int) -> dict[str, object]:
    """The answer of `ringrift serve` to one request of the game server; the process ends with status 0."""
    start = Game("square8_2p")
    asked = {"game_state": write_state(start), "player_number": 1, "difficulty": level}
    command = [sys.executable, "-m", "ringrift", "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout
            said = service.stdout.readline()
            assert said, "ringrift serve did not start"
            about = json.loads(said)
            assert not about["problems"], about
            request = Request(
                f"{about['url']}/ai/move", json.dumps(asked).encode(), {"Content-Type": "application/json"}
            )
            with urlopen(request, timeout=60) as response:
                answer: dict[str, object] = json.load(response)
        finally:
            service.terminate()
    assert service.returncode == 0, f"ringrift serve ended with status {service.returncode}"
    return answer


def main() -> None:
    there = [name for name in EXTRAS if find_spec(name)]
    assert not there, f"not a bare environment: it has {there}"
    compilers = [name for name in ("c++", "g++", "clang++", "cmake") if shutil.which(name)]
    for config in CONFIGS:
        if config.startswith(("square8", "hex8")):
            played = game(config)
            print(f"{config}: {played.ply} plies, {played.outcome()}")
    print(f"ringrift {ringrift.__version__}, compilers: {compilers or 'none'}")
    print(f"ringrift play: {play_at_terminal()} answers")
    for level in (1, 6):  # without a network, and with one
        print(f"ringrift serve, level {level}: {move_of_service(level)}")


if __name__ == "__main__":
    main()
