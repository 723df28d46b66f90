"""Planes, globals and policy addresses against what the game itself says, and against the recorded games."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recorded import FILES as RECORDED
from recorded import recorded

from ringrift.encoding import (
    ENCODING_HASH,
    GLOBAL_TABLE,
    GLOBALS,
    PLANE_SCALES,
    PLANE_TABLE,
    PLANES,
    POLICY_GLOBALS,
    POLICY_PLANES,
    Feature,
    encode,
    policy_addresses,
    policy_length,
)
from ringrift.errors import RulesError
from ringrift.rules import CONFIGS, Game, Options, Phase, config_info


def offset(table: tuple[Feature, ...], name: str) -> int:
    """First plane or global of a row."""
    names = [row.name for row in table for _ in range(row.count)]
    return names.index(name)


def random_positions(config: str, seed: int, games: int = 2, options: Options | None = None) -> Iterator[Game]:
    rng = np.random.default_rng(seed)
    for _ in range(games):
        game = Game(config, options)
        while not game.is_over:
            yield game
            moves = game.playable_packed()
            game.push_packed(int(moves[rng.integers(len(moves))]))


def test_tables_and_their_hash() -> None:
    assert (PLANES, GLOBALS, POLICY_PLANES, POLICY_GLOBALS) == (32, 61, 49, 5)
    assert len(PLANE_SCALES) == PLANES
    assert PLANE_TABLE[0].name == "board"
    # A new hash is right after a change of a table or of ENCODING_VERSION, and then only.
    assert ENCODING_HASH == "04c768f2d0d808de"


def test_one_shape_per_board() -> None:
    for config in CONFIGS:
        info = config_info(config)
        planes, globals_ = encode([Game(config)] * 3)
        assert planes.shape == (3, PLANES, info.height, info.width)
        assert globals_.shape == (3, GLOBALS)
        assert planes.dtype == np.uint8
        assert globals_.dtype == np.float32
        assert int(planes[0, 0].sum()) == info.cells
        assert bool(planes[0, 1].any()) == info.is_hex
        assert policy_length(config) == 49 * info.height * info.width + 5


@pytest.mark.parametrize("config", ["square8_2p", "square8_4p", "hex8_3p", "hexagonal_3p"])
def test_planes_count_what_the_seats_have(config: str) -> None:
    for game in random_positions(config, seed=1, games=1):
        (planes,), (globals_,) = encode([game])
        info, seats = config_info(config), game.num_seats
        scores = game.scores()
        for k in range(4):
            at = {name: int(planes[offset(PLANE_TABLE, name) + k].sum()) for name in ("marker", "territory", "top")}
            if k >= seats:
                assert not any(at.values())
                continue
            score = scores[(game.to_move - 1 + k) % seats]
            assert at == {"marker": score.markers, "territory": score.terr, "top": score.stacks}
            assert globals_[offset(GLOBAL_TABLE, "hand") + k] == pytest.approx(score.hand / info.rings_per_player)
            assert globals_[offset(GLOBAL_TABLE, "eliminated") + k] == pytest.approx(
                score.elim / info.victory_threshold
            )
            cap, buried = (int(planes[offset(PLANE_TABLE, name) + k].sum()) for name in ("cap", "buried"))
            assert cap + buried == score.rings
        heights = planes[offset(PLANE_TABLE, "height") : offset(PLANE_TABLE, "height") + 4]
        assert int(heights.sum()) == sum(score.rings for score in scores)
        assert globals_[offset(GLOBAL_TABLE, "phase") + game.phase] == 1.0


def test_a_position_by_hand() -> None:
    text = "active;movement;2;4,5;-;0;15,1,0/15,0,1/18,0,0;1,2:3112 4,5:2;0,0:1 7,7:3;3,3:2"
    game = Game.from_canonical("square8_3p", text, Options(rings_per_player=18))
    (planes,), (globals_,) = encode([game])

    def plane(name: str, seat: int | None = None) -> dict[tuple[int, int], int]:
        k = 0 if seat is None else (seat - game.to_move) % game.num_seats
        found = planes[offset(PLANE_TABLE, name) + k]
        return {(int(x), int(y)): int(found[x, y]) for x, y in np.argwhere(found)}

    assert plane("top", 2) == {(1, 2): 1, (4, 5): 1}
    assert plane("cap", 2) == {(1, 2): 1, (4, 5): 1}
    assert plane("height", 2) == {(1, 2): 4, (4, 5): 1}
    assert plane("below", 1) == {(1, 2): 2}
    assert plane("buried", 1) == {(1, 2): 2}
    assert plane("buried", 3) == {(1, 2): 1}
    assert plane("marker", 1) == {(0, 0): 1}
    assert plane("marker", 3) == {(7, 7): 1}
    assert plane("territory", 2) == {(3, 3): 1}
    assert plane("must_move") == {(4, 5): 1}
    assert plane("active") == {}
    assert globals_[offset(GLOBAL_TABLE, "seats") + 1] == 1.0
    hand = offset(GLOBAL_TABLE, "hand")
    np.testing.assert_allclose(globals_[hand : hand + 4], [15 / 18, 1, 15 / 18, 0])


def test_a_transformed_position_is_a_turned_picture() -> None:
    for game in random_positions("square8_2p", seed=2, games=1):
        (here,), _ = encode([game])
        (turned,), _ = encode([game.transform(1)])
        assert any(np.array_equal(turned, np.rot90(here, k, axes=(1, 2))) for k in (1, 3))


def test_batches_of_one_config() -> None:
    with pytest.raises(RulesError, match="one config"):
        encode([Game("square8_2p"), Game("square8_3p")])
    with pytest.raises(RulesError, match="no game"):
        encode([])


def assert_injective(game: Game) -> None:
    pairs = policy_addresses(game).astype(np.int64)
    length = policy_length(game.config)
    assert pairs.min() >= -1
    assert pairs.max() < length
    assert (pairs[:, 0] >= 0).all()
    assert len(np.unique(pairs[:, 0] * (length + 1) + pairs[:, 1])) == len(pairs), game.text()


@pytest.mark.parametrize("config", CONFIGS)
def test_addresses_are_distinct_in_random_play(config: str) -> None:
    for game in random_positions(config, seed=3, games=1):
        assert_injective(game)


def test_the_pie_rule_has_an_address() -> None:
    for game in random_positions("square8_2p", seed=4, games=1, options=Options(swap_rule=True)):
        if game.to_move == 2 and game.phase == Phase.RING_PLACEMENT:
            assert "SW" in game.legal_moves
            assert_injective(game)
            break


SLOW_FILES = ("square19", "hexagonal", "hex8_2p", "hex8_3p", "hex8_4p", "square8_2p", "square8_4p")
FILES = [
    pytest.param(path, marks=pytest.mark.slow if path.name.startswith(SLOW_FILES) else ())
    for path in RECORDED
    if "contract" not in path.name
]


@recorded
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_addresses_are_distinct_in_recorded_games(path: Path) -> None:
    with gzip.open(path, "rt") as lines:
        for line in lines:
            recorded = json.loads(line)
            options = Options.from_dict(recorded["opts"])
            game = Game.from_canonical(f"{recorded['board']}_{recorded['players']}p", recorded["init"], options)
            for ply in recorded["plies"]:
                assert_injective(game)
                game.push(ply["m"] + (f"@{ply['x']}" if "x" in ply else ""))
