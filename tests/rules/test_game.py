"""Properties of games over random play, and what `Game` answers to good and bad input."""

import copy
import hashlib
import pickle
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_play import games, random_game

import ringrift as rr
from ringrift.errors import IllegalMove, InvalidNotation, RulesError
from ringrift.rules import CONFIGS, Game, GameBatch, Move, Options, Phase, config_info

settings.register_profile(
    "rules", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("rules")


@given(games())
def test_key_and_counters_match_recounts(game):
    assert game.key == game.recomputed_key()
    game.check_invariants()


@given(games())
def test_position_text_round_trips_in_mid_turn(game):
    read = Game.parse(game.text())
    assert read.text() == game.text()
    assert read.key == game.key
    assert read.legal_text() == game.legal_text()
    assert read.refused_moves() == game.refused_moves()
    assert read == game
    assert read.options == game.options


@given(games(60), st.integers(0, 2**32 - 1))
def test_a_read_position_plays_on_like_the_played_one(game, seed):
    read, rng = Game.parse(game.text()), np.random.default_rng(seed)
    for _ in range(120):
        if game.is_over:
            break
        move = game.move(int(rng.choice(game.playable_packed())))
        game.push(move)
        read.push(str(move))
        assert read.text() == game.text()
    assert read.outcome() == game.outcome()


def test_equal_keys_mean_equal_positions():
    texts, keys = {}, {}
    for seed, config in enumerate(CONFIGS * 2):
        game = random_game(config, 0, seed, Options(rings_per_player=4))
        rng = np.random.default_rng(seed)
        while not game.is_over and game.ply < 250:
            text = re.sub(r"lps=\d+,", "lps=", game.text())  # the number of the round is for reports only
            assert texts.setdefault(game.key, text) == text
            assert keys.setdefault(text, game.key) == game.key
            game.push_packed(int(rng.choice(game.playable_packed())))
    assert len(texts) > 3000


@given(games())
def test_every_listed_move_reads_back(game):
    listed = list(game.legal_moves)
    assert "|".join(sorted(move.text for move in listed)) == game.legal_text()
    assert len(game.legal_moves) == len(listed) == len(set(listed))
    for move in listed[:: max(1, len(listed) // 8)]:
        assert move in game.legal_moves
        cells = game.extractions(move)
        if len(cells) <= 1:
            assert int(game.parse_move(move.text)) in game.playable_packed()
        else:
            with pytest.raises(IllegalMove, match="@"):
                game.parse_move(move.text)
        for cell in cells:
            assert game.parse_move(f"{move.text}@{cell}") in game.playable_moves()
    playable = game.playable_moves()
    assert len(playable) == sum(max(1, len(game.extractions(move))) for move in listed)
    for move in playable[:: max(1, len(playable) // 8)]:
        assert game.move(int(move)) == move
        game.copy().push(move)


@given(games())
def test_pop_restores_every_position(game):
    start = Game.parse(game.start_text())
    texts = [start.text()]
    for move in game.moves:
        start.push(move)
        texts.append(start.text())
    for text in reversed(texts):
        assert game.text() == text
        if game.ply:
            game.pop()
    with pytest.raises(RulesError, match="taken back"):
        game.pop()


@given(games(), st.data())
def test_symmetries_map_positions_and_moves(game, data):
    hexagonal = config_info(game.config).is_hex
    count = 12 if hexagonal else 8
    symmetry = data.draw(st.integers(0, count - 1))
    turns = count // 2
    back = symmetry if symmetry >= turns else (turns - symmetry) % turns
    image = game.transform(symmetry)
    image.check_invariants()
    assert image.key == image.recomputed_key()
    assert image.scores() == game.scores()
    assert image.outcome() == game.outcome()
    assert image.transform(back).text() == game.text()
    if game.symmetry_holds(symmetry):
        playable = game.playable_moves()
        moved = [game.transform_move(move, symmetry) for move in playable]
        assert sorted(map(str, moved)) == sorted(map(str, image.playable_moves()))
        for move, there in list(zip(playable, moved, strict=True))[:: max(1, len(playable) // 8)]:
            after, image_after = game.copy(), image.copy()
            after.push(move)
            image_after.push(there)
            assert after.transform(symmetry).key == image_after.key
    with pytest.raises(RulesError, match="symmetries 0 to"):
        game.transform(count)


@given(games(10_000))
@settings(max_examples=25)
def test_a_finished_game_has_ranks(game):
    if not game.is_over:
        assert (game.outcome(), game.ranks) == (None, None)
        assert len(game.legal_moves) > 0
        return
    outcome = game.outcome()
    assert outcome.ranks == game.ranks
    assert outcome.ranks[outcome.winner - 1] == 1
    assert outcome.ranks.count(1) == 1
    for rank in outcome.ranks:
        assert rank == 1 + sum(other < rank for other in outcome.ranks)
    assert (game.to_move, game.phase, len(game.legal_moves)) == (0, Phase.GAME_OVER, 0)
    assert game.canonical().startswith(f"over:{outcome.winner};game_over;0;-;-;0;")


@given(games(80))
def test_copies_and_pickles_are_equal_and_apart(game):
    for other in (game.copy(), copy.copy(game), copy.deepcopy(game), pickle.loads(pickle.dumps(game))):
        assert type(other) is Game
        assert other == game
        assert other.moves == game.moves
        if not other.is_over:
            other.push(other.playable_moves()[0])
            assert other != game


@given(games(120))
def test_forced_plies_are_played_only_when_asked(game):
    before = game.ply
    played = game.advance_forced()
    assert game.ply == before + len(played)
    assert tuple(played) == game.moves[before:]
    assert game.is_over or len(game.playable_moves()) > 1


def test_the_session_of_the_readme():
    game = rr.Game("square8_2p")
    assert (len(game.legal_moves), game.to_move, game.phase.name) == (192, 1, "RING_PLACEMENT")
    game.push("P2,6*3")
    assert "M2,6>7,1" in game.legal_moves
    assert "M2,6>2,7" not in game.legal_moves
    assert game.legal_moves.index(game.parse_move("M2,6>7,1")) == [m.text for m in game.legal_moves].index("M2,6>7,1")
    assert game.moves == (Move("P2,6*3", 0),)
    digest = hashlib.sha256(game.canonical().encode()).hexdigest()[:16]
    assert digest == game.canonical_hash() == "161a0a41ebb5901a"


def test_illegal_and_unreadable_moves_leave_the_game_alone():
    game = Game()
    before = game.text()
    for text in (
        "",
        "P",
        "P1,2",
        "p1,2*1",
        "M1,1>",
        "hello",
        "P1,2*1 ",
        "P1,2*1\n",
        "R1,1>2,2:F@",
        "\0",
        "K" * 10_000,
    ):
        with pytest.raises(InvalidNotation, match="moves look like"):
            game.push(text)
    for text in ("NL", "P9,9*1", "P1,2*4", "M1,1>2,2", "L[1,1 1,2]"):
        with pytest.raises(IllegalMove, match=r"seat 1 is in ring_placement with 192 legal moves, such as P0,0\*1"):
            game.push(text)
    with pytest.raises(IllegalMove):
        game.push(Move("NL", 12345))
    with pytest.raises(IllegalMove):
        game.move(2**32 - 1)
    assert game.text() == before


def test_a_costly_slide_names_its_choices():
    game = Game.from_canonical("square8_2p", "active;movement;1;-;-;0;0,3,0/0,0,0;0,0:12 0,2:112 5,5:22;3,3:1 7,7:2;")
    assert game.extractions("R3,3>3,4:F") == ["0,0", "0,2"]
    with pytest.raises(IllegalMove, match=r"0,0.*0,2"):
        game.push("R3,3>3,4:F")
    with pytest.raises(IllegalMove, match=r"0,0.*0,2"):
        game.push(next(move for move in game.legal_moves if move.text == "R3,3>3,4:F"))
    with pytest.raises(IllegalMove):
        game.push("R3,3>3,4:F@5,5")
    assert "R3,3>3,4:F@0,2" in game.legal_moves
    game.push("R3,3>3,4:F@0,2")
    assert str(game.moves[-1]) == "R3,3>3,4:F@0,2"
    assert "0,2:12 " in game.canonical()
    lone = Game.from_canonical("square8_2p", "active;movement;1;-;-;0;0,3,0/0,0,0;0,0:12 5,5:22;3,3:1 7,7:2;")
    lone.push("R3,3>3,4:F")
    assert str(lone.moves[-1]) == "R3,3>3,4:F@0,0"


def test_unknown_configs_and_options_are_named():
    with pytest.raises(RulesError, match="unknown config 'square8_5p'; did you mean"):
        Game("square8_5p")
    with pytest.raises(RulesError, match="ringsPerPlayer is 1 to 999, not 0"):
        Options(rings_per_player=0)
    with pytest.raises(RulesError, match="swapRuleEnabled is true or false"):
        Options.from_dict({"swapRuleEnabled": "yes"})
    with pytest.raises(RulesError, match="unknown option 'swap'"):
        Options.from_dict({"swap": True})
    options = Options(swap_rule=True, rings_per_player=5, lps_rounds=2)
    wire = options.to_dict()
    assert wire == {"swapRuleEnabled": True, "ringsPerPlayer": 5, "lpsRoundsRequired": 2}
    assert Options.from_dict(wire) == options
    assert Options().to_dict() == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "position text"),
        ("square8_9p;-;active", "config|fields"),
        ("square8_2p;swap=2;active;ring_placement;1;-;-;0;18,0,0/18,0,0;;;;-", "options"),
        ("square8_2p;-;active;ring_placement;1;-;-;0;18,0,0/18,0,0;8,8:1;;;-", "not on the board"),
        ("square8_2p;-;active;ring_placement;1;-;-;0;18,0,0/18,0,0;1,1:1;1,1:2;;-", "two things"),
        ("square8_2p;-;active;ring_placement;1;-;-;0;18,0,5/18,0,0;;;;-", "territory"),
        ("square8_2p;-;active;ring_placement;3;-;-;0;18,0,0/18,0,0;;;;-", "seat"),
        ("square8_2p;-;active;ring_placement;1;-;-;0;18,0,0/18,0,0;1,1:1111111111111;;;-", "13 rings"),
        (f"square8_4p;-;active;ring_placement;1;-;-;0;{'/'.join(['9999,9999,0'] * 4)};;;;-", "65535 rings"),
    ],
)
def test_unreadable_positions_say_why(text, problem):
    with pytest.raises(InvalidNotation, match=problem):
        Game.parse(text)


@pytest.mark.parametrize("odd", ["é", "\ud800"])
def test_characters_that_no_text_has_are_refused_by_name(odd):
    game = Game("square8_2p")
    for read in (
        game.push, game.parse_move, Game.parse, lambda text: Game.from_canonical("square8_2p", text),
    ):  # fmt: skip
        with pytest.raises(InvalidNotation, match=f"{odd!a} has characters".replace("\\", r"\\")):
            read(odd)


def test_config_numbers_are_those_of_the_rules():
    thresholds = {config: config_info(config).victory_threshold for config in CONFIGS}
    assert thresholds["square8_2p"] == 18
    assert thresholds["square19_3p"] == 96
    assert thresholds["hexagonal_4p"] == 160
    minima = [config_info(f"hexagonal_{n}p").territory_minimum for n in (2, 3, 4)]
    assert minima == [235, 157, 118]
    assert [config_info(f"hex8_{n}p").line_length for n in (2, 3, 4)] == [4, 3, 3]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_batch_plays_like_single_games(config):
    n = 3
    batch, rng = GameBatch(config, n), np.random.default_rng(7)
    singles = [Game(config) for _ in range(n)]
    for _ in range(40):
        offsets, moves = batch.playable()
        counts = batch.playable_counts()
        assert counts.tolist() == np.diff(offsets).tolist() == [len(game.playable_packed()) for game in singles]
        choices = (rng.random(n) * counts).astype(np.int32)
        for i, game in enumerate(singles):
            game.push_packed(int(moves[offsets[i] + choices[i]]))
        batch.step(choices)
        assert batch.keys.tolist() == [game.key for game in singles]
        assert batch.to_move.tolist() == [game.to_move for game in singles]
    assert [batch.game(i).text() for i in range(n)] == [game.text() for game in singles]
    with pytest.raises(IllegalMove, match="playable moves"):
        batch.step(np.full(n, 100_000, np.int32))
    with pytest.raises(RulesError, match="one for each of the 3 games"):
        batch.step(np.zeros(2, np.int32))
    batch.step(np.full(n, -1, np.int32))
    assert batch.plies.tolist() == [40] * n
    batch.reset(1)
    assert batch.game(1) == Game(config)
    batch.set(1, singles[0])
    assert batch.game(1) == singles[0]
    with pytest.raises(RulesError, match="one config"):
        batch.set(1, Game("square8_2p", Options(rings_per_player=3)))
    with pytest.raises(IndexError):
        batch.reset(n)


def test_random_playouts_do_not_depend_on_threads():
    seeds = np.arange(64, dtype=np.uint64)
    one, two = GameBatch("hex8_4p", 64), GameBatch("hex8_4p", 64)
    one.random_playout(seeds)
    two.random_playout(seeds, threads=2)
    assert one.keys.tolist() == two.keys.tolist()
    assert one.tally == two.tally
    assert one.tally["plies"] == one.plies.sum()
    assert one.tally["winners"] == one.winners.sum()
    assert (one.winners > 0).all()
    assert (one.to_move == 0).all()


@pytest.mark.parametrize("text", ["P", "P3", "P3,", "P3,999", "P999999999999,1", "P-128,-128", "C3", "M3,3>"])
def test_a_text_that_breaks_off_is_no_move(text: str) -> None:
    for config in ("square8_2p", "hexagonal_2p"):
        with pytest.raises(RulesError):
            Game(config).push(text)
