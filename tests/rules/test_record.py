"""Records: both forms round-trip, replay, stay small, and refuse what is damaged or too new."""

import dataclasses
import gzip
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from random_play import games, random_game
from recorded import VECTORS

from ringrift.errors import CorruptBlob, FormatTooNew, RulesError
from ringrift.rules import Game, Options, Record, SearchStats
from ringrift.rules.record import HEAD, MAGIC


def record_of(game, **more):
    return Record.from_game(game, seed=17, players=[f"m-{i:012x}" for i in range(game.num_seats)], **more)


def searched(game, seed=0, surprise=False):
    """A record with search statistics at its decisions."""
    rng, replay = np.random.default_rng(seed), Game.parse(game.start_text())
    plies, lengths = [], []
    for move in game.moves:
        if len(replay.playable_packed()) > 1:
            plies.append(replay.ply)
            lengths.append(len(replay.playable_packed()))
        replay.push(move)
    search = SearchStats(
        ply=np.array(plies, np.int32),
        offsets=np.cumsum([0, *lengths], dtype=np.int32),
        policy=rng.random(sum(lengths)).astype(np.float16),
        root_value=rng.random((len(plies), game.num_seats)).astype(np.float16),
        full=rng.integers(0, 2, len(plies)).astype(np.uint8),
        surprise=rng.random(len(plies)).astype(np.float16) if surprise else None,
    )
    return record_of(game, search=search, meta={"work_id": "w-1", "opening_plies": 3, "temperature": 0.5})


@given(games(200))
@settings(max_examples=30, deadline=None)
def test_both_forms_round_trip(game):
    for record, format_ in ((record_of(game), 1), (searched(game), 1), (searched(game, surprise=True), 2)):
        assert record.to_bytes()[6] == json.loads(record.to_json())["format"] == format_
        read = Record.from_bytes(record.to_bytes())
        assert read == record
        assert read.moves.tolist() == record.moves.tolist()
        assert (read.options, read.players, read.meta) == (game.options, record.players, record.meta)
        assert read.replay() == game
        line = record.to_json()
        assert "\n" not in line
        again = Record.from_json(line)
        assert again == record
        if record.search:
            for field in dataclasses.fields(SearchStats):
                a, b = getattr(record.search, field.name), getattr(again.search, field.name)
                assert (a is None) == (b is None)
                assert a is None or (a.dtype, a.tolist()) == (b.dtype, b.tolist())


def test_a_record_can_start_anywhere():
    game = Game.parse(random_game("hex8_3p", 41, 5).text())
    game.push(game.playable_moves()[0])
    record = record_of(game)
    assert record.start
    assert Record.from_bytes(record.to_bytes()).replay() == game


@pytest.mark.parametrize("config", ["square8_2p", "square8_3p", "square8_4p"])
def test_square8_games_take_a_kilobyte(config):
    if VECTORS.is_dir():
        with gzip.open(VECTORS / f"{config}.jsonl.gz", "rt") as file:
            games_ = [recorded_game(json.loads(line)) for line in file]
    else:
        games_ = [random_game(config, seed=seed) for seed in range(100)]
    sizes = [len(record_of(game, meta={"work_id": "selfplay-12-000345"}).to_bytes()) for game in games_]
    assert max(sizes) <= 1000


def recorded_game(recorded):
    game = Game(f"{recorded['board']}_{recorded['players']}p", Options.from_dict(recorded["opts"]))
    for ply in recorded["plies"]:
        game.push(f"{ply['m']}@{ply['x']}" if "x" in ply else ply["m"])
    return game


def test_damage_is_found_and_named():
    blob = searched(random_game(seed=3)).to_bytes()
    for cut in (0, 3, HEAD.size - 1, HEAD.size, len(blob) // 2, len(blob) - 1):
        with pytest.raises(CorruptBlob, match=r"truncated|does not begin"):
            Record.from_bytes(blob[:cut])
    with pytest.raises(CorruptBlob, match="truncated"):
        Record.from_bytes(blob + b"\0")
    for at in range(HEAD.size, len(blob), 37):
        changed = bytearray(blob)
        changed[at] ^= 16
        with pytest.raises(CorruptBlob, match="checksum"):
            Record.from_bytes(bytes(changed))
    with pytest.raises(CorruptBlob, match="does not begin with RRGAME"):
        Record.from_bytes(b"PK\x03\x04 something else entirely")
    with pytest.raises(FormatTooNew, match="format 3; this version reads up to 2"):
        Record.from_bytes(MAGIC + struct.pack("<H", 3) + blob[8:])
    body = zlib.compress(b"\xff" * 40)
    with pytest.raises(CorruptBlob, match="cannot be read"):
        Record.from_bytes(HEAD.pack(MAGIC, 1, zlib.crc32(body), len(body)) + body)


def test_json_that_is_not_a_record_is_refused():
    line = record_of(random_game(seed=3)).to_json()
    document = json.loads(line)
    with pytest.raises(FormatTooNew):
        Record.from_json(json.dumps(document | {"format": 3}))
    for change in (
        {"config": "square8_7p"},
        {"moves": ["P0,0*1", "NL"]},
        {"moves": 5},
        {"winner": "1"},
        {"options": {"swap": 1}},
        {"players": ["a"]},
        {"start": "nonsense"},
        {"search": {"ply": [0]}},
    ):
        with pytest.raises(CorruptBlob):
            Record.from_json(json.dumps(document | change))
    for text in ("", "[]", "{}", "null", line[:-5], "{" * 10_000):
        with pytest.raises(CorruptBlob):
            Record.from_json(text)


def test_a_record_that_does_not_replay_says_where():
    record = record_of(random_game(seed=3))
    moves = record.moves.copy()
    moves[10] = moves[0]
    with pytest.raises(CorruptBlob, match="the move of ply 10 is not legal"):
        dataclasses.replace(record, moves=moves).replay()
    with pytest.raises(CorruptBlob, match=r"replays to the state \w+, not to"):
        dataclasses.replace(record, final_hash="0" * 16).replay()
    with pytest.raises(CorruptBlob, match="its moves end with"):
        dataclasses.replace(record, winner=3 - record.winner).replay()
    with pytest.raises(CorruptBlob, match="its moves end with") as told:
        dataclasses.replace(record, reason="9" * 5000).replay()
    assert len(str(told.value)) < 300
    with pytest.raises(CorruptBlob, match=r"replays to|its moves end"):
        dataclasses.replace(record, moves=record.moves[:-1]).replay()
    with pytest.raises(RulesError, match="names 2 players"):
        dataclasses.replace(record, players=("a",))
