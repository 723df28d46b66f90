"""Boards drawn as text and as SVG, the environment, the terminal."""

import re
import subprocess
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree

import pytest
from random_play import random_game

from ringrift.errors import RulesError
from ringrift.rules import CONFIGS, Game, config_info
from ringrift.rules.render import svg

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_board_is_drawn(config):
    game, info = random_game(config, 90, 4), config_info(config)
    stacks, markers, collapsed = (field.split() for field in game.canonical().split(";")[7:10])
    for text in (game.ascii(), re.sub(r"\x1b\[\d+m", "", game.ascii(colour=True))):
        board = text.split(" seat 1:")[0]
        assert len(re.findall(r" [1-4]:\d", board)) == len(stacks)
        assert len(re.findall(r"\+[1-4]", board)) == len(markers)
        assert len(re.findall(r"#[1-4]", board)) == len(collapsed)
        assert len(text.splitlines()) == info.width + (not info.is_hex) + info.players + 1
    root = ElementTree.fromstring(
        svg(game, heat={"1,1": 0.5}, arrows=[("0,0", "1,1"), ("1,1", "0,0", "#123456")], size=300)
    )
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert tags.count("ellipse") == 2 * sum(len(entry.partition(":")[2]) for entry in stacks)
    assert tags.count("circle") == len(markers) + info.players
    assert tags.count("line") == 2
    assert root.attrib["width"] == "300"
    assert game._repr_svg_().startswith("<svg")


def test_an_arrow_off_the_board_is_refused():
    with pytest.raises(RulesError, match="two cells of square8"):
        svg(Game(), arrows=[("0,0", "8,8")])


def test_a_drawn_position_reads_as_expected():
    game = Game.from_canonical(
        "square8_2p",
        "active;ring_placement;2;-;-;0;3,1,1/4,2,1;0,0:112 3,2:22;1,0:1;7,7:2 0,7:1".replace(
            "7,7:2 0,7:1", "0,7:1 7,7:2"
        ),
    )
    lines = game.ascii().splitlines()
    assert lines[1] == "  0 2:3c1   +1    .     .     .     .     .     ."
    assert lines[3] == "  2   .     .     .    2:2    .     .     .     ."
    assert lines[8] == "  7   #1    .     .     .     .     .     .     #2"
    assert lines[10] == "> seat 2: 4 in hand, 2 eliminated, 1 territory, 2 stacks, 0 markers"


@pytest.mark.parametrize("config", ["square8_2p", "hex8_4p"])
def test_pettingzoo_accepts_the_environment(config, capsys):
    pytest.importorskip("pettingzoo")
    from pettingzoo.test import api_test

    from ringrift.aec import env

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for bare arrays as observations, and knows masks at once
        api_test(env(config), num_cycles=300)


def test_an_environment_plays_to_its_end():
    pytest.importorskip("pettingzoo")
    from ringrift.aec import env
    from ringrift.rules import Options

    game = env("hex8_3p", Options(rings_per_player=4), render_mode="ansi")
    game.reset(seed=3)
    total = dict.fromkeys(game.agents, 0.0)
    for steps, agent in enumerate(game.agent_iter()):
        observation, reward, termination, truncation, _ = game.last()
        total[agent] += reward
        mask = observation["action_mask"]
        assert not truncation
        assert termination or mask.sum() == len(game.unwrapped.game.playable_moves())
        assert game.observation_space(agent).contains(observation)
        game.step(None if termination else int(mask.nonzero()[0][steps % mask.sum()]))
    outcome = game.unwrapped.game.outcome()
    assert total == {f"seat_{seat}": 1.0 if seat == outcome.winner else -0.5 for seat in (1, 2, 3)}
    assert "has won" in game.render()


def test_a_person_can_play_in_the_terminal():
    words = "l P0\n1\nb\nu\nP3,3*2\n5\nfoo\nt\nr\n"
    command = [sys.executable, "-m", "ringrift", "play", "--config", "square8_3p", "--against", "random", "--seed", "1"]
    done = subprocess.run(command, input=words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("192 legal moves", "1 P0,0*1", "seat 2 plays", "'foo' is not a move", "seat 1 resigns\nsquare8_3p;"):
        assert part in done.stdout
    done = subprocess.run([*command, "--seat", "4"], input="", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "ringrift: square8_3p has seats 1 to 3, not 4\n")


def test_commands_show_and_count(tmp_path):
    def ringrift(*words):
        return subprocess.run([sys.executable, "-m", "ringrift", *words], capture_output=True, text=True)

    assert ringrift("perft", "2", "--config", "hex8_2p").stdout == f"{Game('hex8_2p').perft(2)}\n"
    text = random_game("hex8_2p", 30, 1).text()
    assert text in ringrift("show", text).stdout
    picture = tmp_path / "board.svg"
    assert ringrift("show", text, "--svg", str(picture)).returncode == 0
    assert picture.read_text().startswith("<svg")
    wrong = ringrift("show", "square8_2p;-;nonsense;-")
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
