"""Parity finds no difference in recorded games, and finds every planted change of the rules."""

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from recorded import VECTORS, recorded

from ringrift import parity
from ringrift.errors import CorruptBlob, FormatTooNew
from ringrift.rules import Game, Options


@pytest.fixture(scope="module")
def emitted(tmp_path_factory):
    """Games of our own on square8 and hex8, in the recorded form."""
    path = tmp_path_factory.mktemp("parity") / "games.jsonl"
    games = [parity.record_game("square8_2p", seed, Options(rings_per_player=6)) for seed in range(20)]
    games += [parity.record_game("hex8_3p", seed, Options(rings_per_player=5)) for seed in range(20)]
    path.write_text("".join(json.dumps(game) + "\n" for game in games))
    return path


def ringrift(*arguments):
    """The command's status, output and errors."""
    done = subprocess.run([sys.executable, "-m", "ringrift", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@recorded
def test_recorded_games_hold_ply_by_ply():
    files = sorted(VECTORS.glob("*.jsonl.gz"))
    chosen = [file for file in files if file.name.startswith(("contract", "scenarios", "square8_3p"))]
    reports = [parity.compare_file(file) for file in chosen]
    assert [str(report) for report in reports if report.differences] == []
    assert {Path(report.file).name: (report.games, report.plies) for report in reports} == {
        "contract.jsonl.gz": (31, 59),
        "scenarios.jsonl.gz": (1150, 28409),
        "square8_3p.jsonl.gz": (144, 22498),
    }


@recorded
@pytest.mark.slow
def test_all_recorded_games_hold_ply_by_ply():
    reports = list(parity.compare_files(sorted(VECTORS.glob("*.jsonl.gz")), jobs=2))
    assert [str(report) for report in reports if report.differences] == []
    assert sum(report.games for report in reports) == 992 + 1150 + 31
    assert sum(report.plies for report in reports) == 229429 + 28409 + 59


def test_our_own_games_hold(emitted):
    report = parity.compare_file(emitted)
    assert (report.games, report.differences, report.first) == (40, 0, None)
    row = json.loads(emitted.read_text().splitlines()[0])
    assert set(row) == {"v", "board", "players", "opts", "seed", "policy", "cfg", "init", "plies", "end"}
    assert {"q", "n", "L", "i", "m", "h", "s", "lps"} == set(row["plies"][0])
    assert row["end"]["plies"] == len(row["plies"])
    assert report.moves == sum(p["n"] for line in emitted.read_text().splitlines() for p in json.loads(line)["plies"])


# -- planted changes: games whose rules differ -----------------------------------------------------------------------


class NoCaptureOfOwnStacks(Game):
    """Section 6 changed: own stacks may not be captured."""

    def legal_text(self):
        stacks = dict(entry.split(":") for entry in self.canonical().split(";")[7].split())

        def allowed(move):
            return move[0] not in "CK" or stacks[move[1:].partition("x")[2].partition(">")[0]][-1] != str(self.to_move)

        return "|".join(filter(allowed, super().legal_text().split("|")))


class NoThreeRings(Game):
    """Section 4 changed: two rings at most."""

    def legal_text(self):
        return "|".join(move for move in super().legal_text().split("|") if not move.endswith("*3"))


class Changed(Game):
    """A game in which the position after a move is changed as by another rule."""

    def push(self, move):
        before = self.text()
        super().push(move)
        if not self.is_over and (text := self.change(str(move), before, self.text())) != self.text():
            self._assign(Game.parse(text))

    def change(self, move, before, text):
        raise NotImplementedError


class NoMarkerLeftBehind(Changed):
    """Section 5 changed: a plain move leaves no marker on its origin."""

    def change(self, move, before, text):
        fields = text.split(";")
        if move[0] == "M":
            origin = move[1:].partition(">")[0]
            fields[10] = " ".join(entry for entry in fields[10].split() if entry.partition(":")[0] != origin)
        return ";".join(fields)


class ClearedDebt(Changed):
    """Section 7 changed: a full line collapse owes nothing."""

    def change(self, move, before, text):
        fields = text.split(";")
        if move[0] in "LO":
            fields[7] = "0"
        return ";".join(fields)


class OneRoundIsEnough(Game):
    """Section 12 changed: one round alone wins."""

    @classmethod
    def from_canonical(cls, config, canonical, options=None):
        given = options or Options()
        return super().from_canonical(config, canonical, Options(given.swap_rule, given.rings_per_player, 1))


class FewerRings(Game):
    """Section 2 changed: one ring fewer to win."""

    @classmethod
    def from_canonical(cls, config, canonical, options=None):
        rings = (options and options.rings_per_player) or 18
        return super().from_canonical(config, canonical, Options(rings_per_player=rings - 2))


class ForgetfulTracker(Changed):
    """Section 12 changed: the tracker starts anew every turn."""

    def change(self, move, before, text):
        head, _, turn = text.rpartition(";")
        kept = [entry for entry in turn.split() if not entry.startswith("lps=")]
        return f"{head};{' '.join(kept) or '-'}" if move in ("NT", "ST") else text


class FirstStackPays(Game):
    """Section 8 changed: only the first stack can pay for a recovery slide."""

    def extractions(self, move):
        return super().extractions(move)[:1]


class RefusedSlidesAreForgotten(Game):
    """Section 8 changed: no slide is listed and then refused."""

    def refused_moves(self):
        return []


class SeatsSwapScores(Game):
    """Section 2 changed: eliminated rings are credited to the next seat in the final count."""

    def scores(self):
        scores = super().scores()
        return tuple(score._replace(elim=scores[i - 1].elim) for i, score in enumerate(scores))


class TerritoryFirst(Game):
    """Section 11 changed: the reason of a win by rings is another."""

    def outcome(self):
        outcome = super().outcome()
        if outcome is None or outcome.reason != "ring_elimination":
            return outcome
        return type(outcome)(outcome.winner, "territory_control", outcome.detail, outcome.ranks)


PLANTED = {
    NoCaptureOfOwnStacks: "extra|missing",
    NoThreeRings: r"missing: P\d",
    NoMarkerLeftBehind: "state: recorded",
    ClearedDebt: "state: recorded",
    OneRoundIsEnough: "winner|reason|played move|missing|state",
    FewerRings: "missing|state|winner|played move",
    ForgetfulTracker: "last-player-standing tracker: recorded",
    SeatsSwapScores: "scores: recorded",
    TerritoryFirst: "reason: recorded 'ring_elimination'",
}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.__name__)
def test_planted_rule_changes_are_caught(planted, emitted):
    report = parity.compare_file(emitted, planted.from_canonical)
    assert report.differences > 0
    assert re.search(PLANTED[planted], str(report.first))
    assert report.games == 40


@recorded
@pytest.mark.parametrize(
    ("planted", "field"),
    [(FirstStackPays, "extraction cells: recorded"), (RefusedSlidesAreForgotten, "refused slides: recorded")],
)
def test_planted_changes_of_recovery_are_caught(planted, field):
    report = parity.compare_file(VECTORS / "scenarios.jsonl.gz", planted.from_canonical)
    assert report.differences > 0
    assert field in str(report.first)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda g: g["plies"][9].update(L=g["plies"][9]["L"] + "|ZZ"), "missing: ZZ"),
        (lambda g: g["plies"][9].update(n=7777), "number of legal moves"),
        (lambda g: g["plies"][9].update(q="capture:1"), "phase and seat"),
        (lambda g: g["plies"][9].update(bad=["R1,1>2,2:F"]), "refused slides"),
        (lambda g: g["plies"][9].update(xs=["1,1"]), "extraction cells"),
        (lambda g: g["plies"][9].update(h="0" * 16), "hash of the state"),
        (lambda g: g["plies"][9].update(s="active"), "state"),
        (lambda g: g["plies"][9].update(lps="9,9,9,9,"), "last-player-standing tracker"),
        (lambda g: g["plies"][9].update(m="P77,77*1"), "played move"),
        (lambda g: g["plies"].pop(), "plies"),
        (lambda g: g["end"].update(winner=3 - g["end"]["winner"]), "winner"),
        (lambda g: g["end"].update(reason="lps"), "reason"),
        (lambda g: g["end"].update(detail="threshold?"), "detail"),
        (lambda g: g["end"].update(plies=3), "plies"),
        (lambda g: g["end"]["scores"][1].update(markers=99), "scores"),
        (lambda g: g.update(init="active;ring_placement;1"), "init"),
    ],
)
def test_every_recorded_field_counts(tmp_path, change, field):
    game = parity.record_game("square8_2p", 5, Options(rings_per_player=6))
    change(game)
    path = tmp_path / "changed.jsonl"
    path.write_text(json.dumps(game) + "\n")
    report = parity.compare_file(path)
    assert report.differences == 1
    assert field in str(report.first)


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_reports_and_exits(tmp_path, emitted):
    status, out, err = ringrift("parity", emitted, "--json")
    assert (status, err) == (0, "")
    report = parity.compare_file(emitted)
    row = {"file": str(emitted), "games": 40, "plies": report.plies, "moves": report.moves, "differences": 0}
    assert json.loads(out) == {"files": [row], "differences": 0}

    lines = emitted.read_text().splitlines()
    changed = tmp_path / "changed.jsonl.gz"
    first = json.loads(lines[0])
    first["plies"][2]["L"] = "NL|XX"
    with gzip.open(changed, "wt") as file:
        file.write("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    status, out, err = ringrift("parity", emitted, changed, "--jobs", 2)
    assert status == 1
    assert "changed.jsonl.gz: 40 games" in out
    assert "game 1 (square8_2p, seed 0), ply 2" in out
    assert "missing: XX" in out

    changed.write_bytes(changed.read_bytes()[:-100])
    status, out, err = ringrift("parity", changed)
    assert (status, out) == (2, "")
    assert "truncated" in err
    assert len(err.splitlines()) == 1


def test_files_that_are_not_recorded_games_are_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    for text, error in (("", "holds no games"), ("{}\n", "line 1"), ("[1]\n", "line 1"), ("nonsense\n", "line 1")):
        path.write_text(text)
        with pytest.raises(CorruptBlob, match=error):
            parity.compare_file(path)
    game = parity.record_game("square8_2p", 5, cap=20)
    for change in (
        {"v": "1"},
        {"board": "chess"},
        {"plies": 3},
        {"plies": [{}]},
        {"opts": {"x": 1}},
        {"init": 3},
        {"end": {}},
    ):
        path.write_text(json.dumps(game | change) + "\n")
        with pytest.raises(CorruptBlob, match="line 1"):
            parity.compare_file(path)
    path.write_text(json.dumps(game | {"v": 2}) + "\n")
    with pytest.raises(FormatTooNew, match="format 2"):
        parity.compare_file(path)
    with pytest.raises(CorruptBlob, match="cannot be read"):
        parity.compare_file(tmp_path / "absent.jsonl")


def test_emit_writes_games_that_hold(tmp_path):
    path = tmp_path / "own.jsonl.gz"
    status, out, _ = ringrift("parity", "--emit", "--config", "hex8_4p", "--games", 3, "--seed", 9, path)
    assert (status, "3 games" in out) == (0, True)
    report = parity.compare_file(path)
    assert (report.games, report.differences) == (3, 0)
    assert [json.loads(line)["seed"] for line in parity.lines_of(path)] == [9, 10, 11]
