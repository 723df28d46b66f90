"""docs/migration.md names every engine of the earlier service, and only players that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ringrift.players import PLAYERS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()

AI_TYPES = """random heuristic minimax gpu_minimax maxn brs mcts descent neural_demo policy_only gumbel_mcts ebmo gmo
gmo_v2 gmo_mcts gmo_gumbel ig_gmo cage improved_mcts hybrid_nn gnn hybrid nnue_gumbel nnue_mcts nnue_brs
nnue_maxn""".split()
MODES = """heuristic-only nnue-guided policy-only nn-minimax nn-descent gumbel-mcts mcts mixed diverse random
descent-only maxn brs gmo ebmo ig-gmo cage gnn hybrid""".split()
ALIASES = (
    "gumbel_mcts gumbel policy_only nnue_guided nn_minimax nn_descent mcts-only mcts_only descent heuristic".split()
)
BASELINES = """heuristic_strong mcts_light mcts_medium mcts_strong mcts_master mcts_grandmaster nnue_minimax_d4
nnue_maxn_d3 nnue_brs_d3 heuristic_v1_2p heuristic_v1_sq19_4p heuristic_v1_weak heuristic_v1_medium
heuristic_v1_strong heuristic_v1_expert heuristic_v1_aggressive heuristic_v1_defensive
heuristic_v1_territorial heuristic_v1_balanced heuristic_v1_optimized v1-heuristic-2 v1-heuristic-10
v2-random-1 v2-gumbel-11-ultimate v3-ebmo-12-experimental v3-hybrid-24-experimental""".split()


def table(heading: str) -> dict[str, str]:
    """The cells of a section: earlier name → the cell that names the player."""
    section = DOCUMENT.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE)
    return {name: cell for names, cell in rows for name in re.findall(r"`([^`]+)`", names)}


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("AI types", AI_TYPES),
        ("Engine modes of self-play", MODES),
        ("Aliases of engine modes, and names in documents", ALIASES),
        ("Baselines and profiles", BASELINES),
    ],
)
def test_every_name_has_a_player(heading: str, names: list[str]) -> None:
    found = table(heading)
    assert set(names) <= set(found)
    for name, cell in found.items():
        (row,) = re.findall(r"`([^`]+)`", cell)
        assert row in PLAYERS, f"{name}: {cell}"


def test_there_were_26_types_and_19_modes() -> None:
    assert (len(AI_TYPES), len(set(AI_TYPES)), len(MODES)) == (26, 26, 19)
    assert set(table("AI types")) == set(AI_TYPES)
