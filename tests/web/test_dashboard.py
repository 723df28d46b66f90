"""The page without a browser: every move by clicks, boards as SVG, sittings, what is read of games and loops."""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from threading import Event
from types import SimpleNamespace

import anyio
import numpy as np
import pytest
from anyio import create_task_group, wait_all_tasks_blocked
from random_play import random_game
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from stored import finished

from ringrift.errors import DataError, RulesError
from ringrift.evaluators.shipped import shipped_network
from ringrift.fabric import Job
from ringrift.kernel.bus import Bus
from ringrift.kernel.events import AlertCleared, AlertRaised
from ringrift.pipeline.events import LoopStarted, SelfplayFinished
from ringrift.players import Player
from ringrift.rules import CONFIGS, Game, Move, Options
from ringrift.rules.render import Board
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.browse import Seen, Wanted, browse
from ringrift.web.dashboard import replays, watch
from ringrift.web.dashboard.board import Marks, board_svg, said
from ringrift.web.dashboard.choices import PLAIN_WORDS, Branch, Chooser, told
from ringrift.web.dashboard.parts import chances, seat_table, table
from ringrift.web.dashboard.play import Play
from ringrift.web.dashboard.replays import Games
from ringrift.web.dashboard.sitting import PERSON, Networks, Sitting, parse_seats
from ringrift.web.dashboard.watch import Shared, Strength, elo_series, jobs, look
from ringrift.web.limits import Arrived

CROSSING = "square8_3p;-;active;line_processing;1;-;-;0;5,0,0/9,0,0/9,0,0;7,7:1;1,1:1 2,1:1 3,1:1 1,2:1 1,3:1;;real=1"


def ways(chooser: Chooser, trail: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Move]]:
    """Every way through the choices, with the move that it makes."""
    taken, ahead = list(chooser.taken), chooser.next
    cells = Counter(cell for branch in ahead if not branch.step.words for cell in branch.step.cells)
    assert all(many == 1 for many in cells.values()), "a cell means one thing, unless a button says which"
    for branch in ahead:
        assert branch.step.cells or branch.step.words, "every choice can be clicked or pressed"
        if branch in chooser.plain:
            yield (*trail, branch.step.key), branch.moves[0]
            continue
        move = chooser.choose(branch)
        if move:
            yield (*trail, branch.step.key), move
        else:
            yield from ways(chooser, (*trail, branch.step.key))
        chooser.taken = list(taken)


def clicked(game: Game, rng: np.random.Generator) -> Move:
    """A random move, made by clicks and buttons."""
    chooser, move = Chooser(game), None
    while move is None:
        assert chooser.prompt or not chooser.root
        ahead = chooser.next
        branch: Branch = ahead[rng.integers(len(ahead))]
        if branch in chooser.plain:
            move = branch.moves[0]
        elif branch.step.words or not branch.step.cells:
            move = chooser.choose(branch)
        else:
            move = chooser.click(branch.step.cells[0])
    return move


@pytest.mark.parametrize("config", CONFIGS)
def test_every_move_has_one_way(config):
    rings = 3 if config.startswith(("square19", "hexagonal")) else None
    game = Game(config, Options(rings_per_player=rings, swap_rule=config.endswith("2p")))
    rng, looked = np.random.default_rng(2), np.random.default_rng(0)
    while not game.is_over:
        if rings is None or game.phase.name != "RING_PLACEMENT" or looked.random() < 0.05:
            found = list(ways(Chooser(game)))
            assert sorted(move.text for _, move in found) == sorted(move.text for move in game.playable_moves())
            assert len({way for way, _ in found}) == len(found)
            assert all(told(move.text) for _, move in found)
        game.push(clicked(game, rng))
    assert game.outcome()


def test_every_kind_of_move_has_one_way():
    kinds = set()
    for config, seed in (("square8_2p", 0), ("square8_4p", 0), ("square8_4p", 2), ("hex8_3p", 2)):
        end = random_game(config, seed=seed, options=Options(swap_rule=config == "square8_2p"))
        game = Game.parse(end.start_text())
        for move in end.moves:
            new = {one.text if one.text in PLAIN_WORDS else one.text[0] for one in game.playable_moves()} - kinds
            if new:
                found = [one.text for _, one in ways(Chooser(game))]
                assert sorted(found) == sorted(one.text for one in game.playable_moves())
            kinds |= new
            game.push(move)
    assert kinds == {*"PMCKRLOTEF", *PLAIN_WORDS}


def test_a_cell_of_two_lines_asks_which():
    chooser = Chooser(Game.parse(CROSSING))
    assert len(chooser.next) == 2 and not chooser.begun
    assert chooser.click((1, 1)) is None
    assert [branch.step.words for branch in chooser.next] == ["Line of 3: 1,1 to 3,1", "Line of 3: 1,1 to 1,3"]
    assert chooser.begun
    move = chooser.click((3, 1))
    assert move and move.text == "L[1,1 2,1 3,1]", "a cell of one line alone chooses it, whatever was begun"


def test_another_click_begins_anew_and_the_same_one_gives_up():
    game = Game("square8_2p")
    chooser = Chooser(game)
    assert chooser.click((2, 6)) is None and chooser.begun
    assert chooser.click((3, 3)) is None and [branch.step.key for branch in chooser.taken] == ["3,3"]
    assert chooser.click((3, 3)) is None and not chooser.begun
    chooser.click((2, 6))
    three = next(branch for branch in chooser.next if branch.step.words == "3 rings")
    assert chooser.choose(three) == game.parse_move("P2,6*3")


def test_the_only_stack_that_may_move_is_chosen_from_the_beginning():
    game = Game("hex8_2p")
    game.push("P0,0*2")
    chooser = Chooser(game)
    assert [branch.step.key for branch in chooser.base] == ["0,0"] and not chooser.begun
    assert chooser.click((2, 0)) == game.parse_move("M0,0>2,0")


@pytest.mark.parametrize("config", ["square8_3p", "hex8_4p", "square19_2p", "hexagonal_3p"])
def test_a_board_shows_every_cell_once(config):
    game = random_game(config, 60, 5)
    board = Board.of(game)
    some = frozenset(board.cells[3:6])
    marks = Marks(sources=some, owners={board.cells[0]: (2, 0.5)}, arrows=[(board.cells[0], board.cells[-1], "1")])
    drawn = ElementTree.fromstring(board_svg(game, marks))
    cells = {one.attrib["data-cell"]: one for one in drawn if "data-cell" in one.attrib}
    assert set(cells) == {f"{x},{y}" for x, y in board.cells}
    assert {cell for cell, one in cells.items() if one.attrib["role"] == "button"} == {f"{x},{y}" for x, y in some}
    assert [one.attrib["tabindex"] for one in cells.values()].count("0") == 1
    for x, y in board.cells:
        one = cells[f"{x},{y}"]
        assert one.findtext("title", "").startswith(f"{x},{y}: {said(board, (x, y))}")
        assert len(one.findall("ellipse")) == ((x, y) in board.stacks)


def test_what_lies_on_a_cell_in_words():
    board = Board.of(Game.parse("square8_2p;-;active;ring_placement;1;-;-;0;5,0,1/9,0,0;0,0:2211 3,3:2;1,1:2;4,4:1;-"))
    assert said(board, (0, 0)) == "stack of 4, seat 1 on top, cap 2, below it 2 2"
    assert [said(board, cell) for cell in ((3, 3), (1, 1), (4, 4), (7, 7))] == [
        "stack of 1, seat 2 on top", "marker of seat 2", "territory of seat 1", "empty",
    ]  # fmt: skip


def test_seats_are_people_and_levels():
    assert parse_seats("p,5", 2) == (PERSON, 5)
    assert parse_seats("", 3) == (PERSON, 3, 3)
    assert parse_seats("10", 2) == (10, 3)
    for wrong in ("p,11", "p,0", "x,y", "p,p,p", "p," + "9" * 5000):
        with pytest.raises(RulesError, match="for 2 seats as in p,3"):
            parse_seats(wrong, 2)


def test_a_sitting_skips_what_is_empty_and_takes_decisions_back():
    sitting = Sitting(Game("square8_2p"), (PERSON, 1), Networks(), 7)
    assert sitting.waits_for_person and not sitting.take_back()
    assert sitting.names == ["person", "level 1: random"]
    start = sitting.game.text()
    sitting.push(sitting.game.parse_move("P2,6*3"))
    sitting.push(sitting.game.parse_move("M2,6>2,2"))
    assert sitting.game.to_move == 2 and [move.text for _, move in sitting.played[2:]] == ["NL", "NT"]
    assert [move.text for move in sitting.last] == ["P2,6*3", "M2,6>2,2"]
    again = Sitting(sitting.game.copy(), (PERSON, 1), Networks(), 7)
    while not sitting.waits_for_person:
        decision = sitting.decide(sitting.game.copy())
        assert decision.move == again.decide(again.game).move
        sitting.push(decision.move)
        again.push(decision.move)
    assert sitting.take_back() and sitting.game.text().split(";")[3] == "movement" and sitting.game.to_move == 1
    assert sitting.take_back() and sitting.game.text() == start and not sitting.played


@pytest.mark.parametrize("level", [6, 8])
def test_a_level_that_nobody_waits_for_stops_thinking(level):
    sitting, game = Sitting(Game("square8_2p"), (level, level), Networks(), 7), Game("square8_2p")
    thought = sitting.decide(game).nodes
    sitting.leave()
    assert sitting.decide(game).nodes < thought / 2


@pytest.mark.parametrize("fails", [False, True])
def test_a_decision_for_a_position_that_was_taken_back_is_dropped(monkeypatch, fails):
    class Failing(Player):
        def decide(self, games, rng):
            raise DataError("broken")

    async def late(function, *given):
        assert sitting.take_back()
        return function(*given)

    sitting = Sitting(Game("square8_2p"), (PERSON, 1), Networks(), 7)
    start = sitting.game.text()
    sitting.push(sitting.game.parse_move("P2,6*3"))
    sitting.push(sitting.game.parse_move("M2,6>2,2"))
    before = sitting.game.text()
    if fails:
        vars(sitting)["_players"] = [None, Failing()]
    page = object.__new__(Play)
    vars(page).update(sitting=sitting, judged=sitting.version, paused=False, changed=None, refuse=None)
    monkeypatch.setattr("ringrift.web.dashboard.play.to_thread.run_sync", late)
    anyio.run(page.advance)
    assert sitting.game.text() not in (start, before) and not page.paused and sitting.waits_for_person


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p"])
def test_advice_with_and_without_a_network(config):
    networks, game = Networks(), random_game(config, 20, 3)
    assert networks.values(game).sum() == pytest.approx(1, abs=1e-4)
    hints = networks.hints(game)
    assert 1 <= len(hints.moves) <= 4 and hints.moves[0].move.text in {move.text for move in game.playable_moves()}
    owners = networks.owners(game)
    assert (owners is None) == (config == "hex8_3p")
    assert owners is None or all(1 <= seat <= 2 and 0 <= share <= 1 for seat, share in owners.values())


def test_a_damaged_network_stops_no_page(run):
    blobs, models = run.fabric.blobs, ModelStore(run)
    damaged = models.register("square8_2p", blobs.put(b"w", ".safetensors"), blobs.put(b"o", ".onnx"), {})
    assert models.promote(damaged, over=None)
    networks, game = Networks(run), Game("square8_2p")
    assert networks.evaluator("square8_2p")[0] == shipped_network("square8_2p")[0] != networks.promoted("square8_2p")[0]
    assert networks.values(game).sum() == pytest.approx(1, abs=1e-4)
    with pytest.raises(DataError, match="not an ONNX file"):
        Sitting(game, (3, 3), networks, 1).decide(game)


def test_pieces_of_html():
    bar = ElementTree.fromstring(chances([0.25, 0.75]))
    assert bar.attrib["aria-label"] == "Probability of winning: seat 1 25%, seat 2 75%"
    seats = seat_table(Game("square8_2p"), ["a<b", "c"])
    assert "<td class=number>18</td>" in seats and "a&lt;b" in seats
    assert table(("Name", "many"), [("x", "1")]).count("class=number") == 2


@pytest.fixture
def run() -> Iterator[RunDirectory]:
    with RunDirectory.in_memory() as opened:
        yield opened


def test_games_are_found_by_their_players(run):
    for seed in range(3):
        assert GameStore(run).add(finished(seed).to_bytes(), f"work/{seed}")
    assert browse(run, Wanted(CONFIGS, player="rand"), 10)[1] == 3
    assert browse(run, Wanted(CONFIGS, player="nobody"), 10) == ([], 0)


def test_a_late_answer_to_an_earlier_filter_is_not_shown(run, monkeypatch):
    class Box(SimpleNamespace):
        def set_enabled(self, _: bool) -> None: ...

    async def both() -> None:
        async with create_task_group() as tasks:
            tasks.start_soon(lambda: listed.want(player="slow"))
            await wait_all_tasks_blocked()
            await listed.want(player="quick")
            slow.set()

    def found(_: RunDirectory, wanted: Wanted, *__: int) -> tuple[list[Seen], int]:
        assert wanted.player == "quick" or slow.wait(10)
        return [], 1 if wanted.player == "slow" else 2

    slow, listed = Event(), Games(run)
    vars(listed).update({name: Box() for name in ("newer", "older", "count", "table")})
    monkeypatch.setattr(replays, "browse", found)
    anyio.run(both)
    assert listed.count.content == "2 games"


def test_a_loop_is_looked_at(run):
    bus = Bus(run.fabric.log, "test")
    run.fabric.registry.set("settings/square8_2p", {})
    raised = AlertRaised(alert="disk-full", severity="critical", text="the disk is full")
    batch = SelfplayFinished(config="square8_2p", job="j", batch="b", player="random", games=40, plies=1, seconds=1.0)
    for number, event in enumerate((raised, LoopStarted(profile="laptop", configs=[], release="1"), batch)):
        bus.publish(event, id_=f"e/{number}")
    run.fabric.jobs.put([Job("selfplay/1", "selfplay", "square8_2p")])
    (job,) = run.fabric.jobs.claim("test", {}, kinds=["selfplay"])
    run.fabric.jobs.extend(job, progress={"title": "m-1", "done": 3, "total": 12, "rate": 2.0})
    now = run.fabric.log.tail(1)[0].at
    view = look(run, now)
    assert not view.running and not view.alerts, "an alert of an earlier loop is none of this one's"
    assert view.games == {"square8_2p": [0] * 23 + [40]} and view.jobs[0][:3] == ("selfplay square8_2p m-1", 3.0, 12.0)
    assert "value=3 max=12" in jobs(view) and view.configs[0][0] == "square8_2p"
    assert look(run, now + 3600).games == {"square8_2p": [0] * 22 + [40, 0]}
    bus.publish(raised, id_="e/4")
    assert look(run, now).alerts == {"critical: disk-full": "the disk is full"}
    bus.publish(AlertCleared(alert="disk-full"), id_="e/5")
    assert not look(run, now).alerts


def test_a_loop_is_looked_at_once_for_all_and_off_the_event_loop(run, monkeypatch):
    free, seen = Event(), []

    def slow(run, now):
        seen.append(now)
        assert free.wait(10)
        return look(run, now)

    async def visits() -> None:
        shared = Shared(run)
        async with create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(shared.view)
        assert await shared.view() is None and len(seen) == 1, "it goes on, and visitors wait for no more than a moment"
        free.set()
        view = await shared.view()
        assert view is not None and await shared.view() is view and view.at == seen[0] and len(seen) == 1
        monkeypatch.setattr(watch, "EVERY_SECONDS", 0.0)
        later = await shared.view()
        assert later is not None and later.at > view.at

    monkeypatch.setattr(watch, "look", slow)
    monkeypatch.setattr(watch, "PATIENCE", 0.05)
    anyio.run(visits)


def test_a_client_that_goes_makes_no_app_fail():
    """As one of starlette's own middlewares does: it is told that the client has gone and finds no answer."""

    async def file(scope, receive, send):
        with anyio.move_on_after(0.05):
            if (await receive())["type"] == "http.request" and (await receive())["type"] == "http.disconnect":
                return
        asked.append(scope)
        await PlainTextResponse("here")(scope, receive, send)

    async def ask(*coming):
        async def receive(left=iter((*coming, gone, gone))):
            return next(left)

        async def send(message):
            sent.append(message["type"])

        async def same(request, follow):
            return await follow(request)

        await Arrived(BaseHTTPMiddleware(file, dispatch=same))({"type": "http", "method": "GET"}, receive, send)

    asked, sent, gone = [], [], {"type": "http.disconnect"}
    anyio.run(ask)
    assert not asked and not sent
    anyio.run(ask, {"type": "http.request", "body": b"", "more_body": False})
    assert asked and sent[0] == "http.response.start"


def test_elo_is_a_line_in_the_band_of_its_interval():
    low, width, line = elo_series([Strength("m-1", 10.0, 100.0, 60.0, 150.0, True)])
    assert (low["data"], width["data"]) == ([[10000, 60.0]], [[10000, 90.0]])
    assert line["data"] == [{"value": [10000, 100.0], "name": "m-1", "symbolSize": 10}]
