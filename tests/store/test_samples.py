"""Samples: the core's exporter says what plain Python says, under symmetries that hold, and makes nothing twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from sample_oracle import expected, finished

from ringrift import _core
from ringrift.errors import CorruptBlob
from ringrift.rules import CONFIGS, Record, config_info
from ringrift.store.samples import ExportSettings, ReadGame, Samples, make_samples


def read(id_: int, record: Record) -> ReadGame:
    count = len(record.search.ply) if record.search else len(_core.decisions(record._first(), record.moves)[0])
    return ReadGame(id_, record, count)


def assert_same(found: Samples, wanted: Samples) -> None:
    for field in dataclasses.fields(Samples):
        a, b = getattr(found, field.name), getattr(wanted, field.name)
        if isinstance(a, str):
            assert a == b
        else:
            assert (a.dtype, a.shape) == (b.dtype, b.shape), field.name
            assert np.array_equal(a, b), field.name


def compare(config: str, records: list[Record], settings: ExportSettings = ExportSettings(seed=7)) -> Samples:
    games = [read(7 * number + 1, record) for number, record in enumerate(records)]
    found, symmetric = make_samples(config, games, settings)
    wanted, counted = expected(config, [(game.id, game.record) for game in games], settings)
    assert_same(found, wanted)
    assert symmetric == counted
    assert len(found) == sum(game.count for game in games)
    return found


@pytest.mark.parametrize("config", CONFIGS)
def test_equal_to_plain_python(config: str) -> None:
    small = config_info(config).width < 10
    rings = 5 if small else 8
    kinds = ("searched", "surprised", "played") if small else ("surprised",)
    samples = compare(config, [finished(seed, config, rings, kind) for seed, kind in enumerate(kinds)])
    assert len(set(samples.symmetry.tolist())) > 5
    assert samples.surprise.any()
    if small:
        plain = compare(config, [finished(0, config, rings)], ExportSettings(symmetries=False))
        assert not plain.symmetry.any()


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_equal_to_plain_python_on_whole_games(config: str) -> None:
    small = config_info(config).width < 10
    compare(config, [finished(seed, config, None if small else 24, "surprised") for seed in range(6 if small else 1)])


@pytest.mark.parametrize("config", ["square8_2p", "square8_4p", "hex8_2p", "hex8_3p"])
def test_where_no_quirk_has_a_say_every_symmetry_holds(config: str) -> None:
    """`symmetric` counts positions without recovery slides and hex8 regions unseen: here all are tried in full."""
    for seed in range(4):
        record = dataclasses.replace(finished(seed, config, 4), search=None)
        _, symmetric = make_samples(config, [read(1, record)], ExportSettings())
        assert symmetric == holding(record)


def holding(record: Record) -> int:
    """Positions of a game in which every symmetry maps the playable moves, and what the played one leads to."""
    game, count = record._first(), 0
    for move in record.moves.tolist():
        symmetries = range(12 if config_info(record.config).is_hex else 8)
        played = np.array([move], np.uint32)
        count += len(game.playable_packed()) > 1 and all(game.symmetry_holds(g, played) for g in symmetries)
        game.push_packed(move)
    return count


@pytest.mark.parametrize("config", ["square8_3p", "hex8_2p"])
def test_a_sample_is_the_transformed_position_of_the_transformed_game(config: str) -> None:
    """Games played again move by move under a symmetry give the very samples, where it holds all the way."""
    whole = 0
    for seed in range(6):
        record = finished(seed, config, 4, "played")
        plain, _ = make_samples(config, [read(1, record)], ExportSettings(symmetries=False))
        g = 1 + seed % 5
        game, moved = record._first(), record._first().transform(g)
        for move in record.moves.tolist():
            if not game.symmetry_holds(g, np.array([move], np.uint32)):
                break
            there = game._transform_move(move, g)
            game.push_packed(move)
            moved.push_packed(there)
        else:
            again, _ = make_samples(
                config,
                [read(1, dataclasses.replace(record, moves=moved.moves_packed()))],
                ExportSettings(symmetries=False),
            )
            assert targets(again) == [rotated(config, record, row, g) for row in range(len(plain))]
            assert np.array_equal(again.globals, plain.globals)
            whole += 1
    assert whole > 2


def targets(samples: Samples) -> list[tuple[int, ...]]:
    """The address of the played move of each sample."""
    played = samples.policy_address[samples.policy_target == 1]
    return [tuple(pair) for pair in played.tolist()]


def rotated(config: str, record: Record, row: int, g: int) -> tuple[int, ...]:
    """The address of the played move of a sample, seen through a symmetry."""
    plies, _ = _core.decisions(record._first(), record.moves)
    game = record._first()
    game.push_all_packed(record.moves[: plies[row]])
    move = game._transform_move(int(record.moves[plies[row]]), g)
    shown = game.transform(g)
    addresses: NDArray[np.int32] = _core.policy_addresses(shown)
    return tuple(addresses[shown.playable_packed().tolist().index(move)].tolist())


def test_any_number_of_threads_gives_the_same() -> None:
    games = [read(seed, finished(seed, "square8_2p")) for seed in range(20)]
    one, count = make_samples("square8_2p", games, ExportSettings(threads=1))
    three, again = make_samples("square8_2p", games, ExportSettings(threads=3))
    assert one.to_bytes() == three.to_bytes()
    assert count == again
    with pytest.raises(ValueError, match="threads is 300"):
        ExportSettings(threads=300)


def test_games_that_do_not_fit_their_searches_are_named() -> None:
    good = finished(0, "square8_2p")
    search = good.search
    assert search is not None
    short = dataclasses.replace(search, ply=search.ply[:-1], offsets=search.offsets[:-1],
                                policy=search.policy[: search.offsets[-2]], root_value=search.root_value[:-1],
                                full=search.full[:-1])  # fmt: skip
    shifted = dataclasses.replace(search, ply=search.ply + 1)
    swapped = dataclasses.replace(search, ply=search.ply[::-1].copy())
    longer = np.array(search.offsets)
    longer[1] += 1
    cases = [
        (dataclasses.replace(good, search=shifted), "playable moves and a policy over|order of its plies"),
        (dataclasses.replace(good, search=swapped), "playable moves and a policy over|order of its plies"),
        (dataclasses.replace(good, search=dataclasses.replace(search, offsets=longer)), "a policy over"),
        (dataclasses.replace(good, moves=good.moves[:-1]), "not over after its last ply"),
        (dataclasses.replace(good, moves=good.moves[::-1].copy()), "ply 0 is not legal"),
        (dataclasses.replace(good, winner=0), "only finished games"),
    ]
    assert len(make_samples("square8_2p", [read(3, dataclasses.replace(good, search=short))], ExportSettings())[0])
    for record, message in cases:
        with pytest.raises(CorruptBlob, match=message):
            make_samples("square8_2p", [ReadGame(9, record, 0)], ExportSettings(threads=2))
    with pytest.raises(CorruptBlob, match="one config"):
        make_samples("hex8_2p", [read(9, good)], ExportSettings())
