"""Games of the earlier service: whole, of other shapes, with planted differences, twice, killed, garbage; merge; ls."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from earlier_games import add_games, initial_state, insert, packed, random_game, wire_moves, write_database
from recorded import FILES, VECTORS, recorded
from typer.testing import CliRunner

from ringrift._core import push_recorded
from ringrift.cli import app
from ringrift.earlier.discover import Found, Unreadable, find
from ringrift.earlier.importing import FileReport, import_files, sources
from ringrift.errors import CorruptBlob, DataError
from ringrift.fabric.database import SUPER
from ringrift.rules import CONFIGS, Game, Options, Record
from ringrift.rules.record import EARLY, early_outcome
from ringrift.store import GameStore, RunDirectory
from ringrift.store.check import check
from ringrift.store.merge import merge
from ringrift.store.provenance import Provenance, retract
from ringrift.store.retold import PATTERNS, unix_time
from ringrift.store.validate import problem

CONFIG = "square8_2p"
EXAMPLE = VECTORS.parents[1] / "earlier" / "square8_2p.db.gz"


def imported(run: RunDirectory, *paths: Path, **given: Any) -> FileReport:
    """The report of the last file."""
    return import_files(paths, GameStore(run), **given)[-1]


def numbers(report: FileReport) -> tuple[int, int, int, int, int]:
    return (report.games, report.imported, report.known, report.quarantined, report.refused)


def reasons(report: FileReport) -> list[str]:
    return [one.reason for one in report.problems]


def few(count: int, config: str = CONFIG) -> list[Game]:
    return [random_game(config, seed) for seed in range(count)]


def change(path: Path, statement: str, *values: object) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount
    return path


def change_move(path: Path, number: int, **fields: object) -> Path:
    """Other fields in the JSON of one move of the first game."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (text,) = connection.execute("SELECT move_json FROM game_moves WHERE move_number = ?", [number]).fetchone()
    text = json.dumps(json.loads(text) | fields)
    return change(path, "UPDATE game_moves SET move_json = ? WHERE move_number = ?", text, number)


@pytest.mark.skipif(not EXAMPLE.is_file(), reason="the example database is not there")
def test_the_example_is_read_to_the_last_move(run: RunDirectory) -> None:
    report = imported(run, EXAMPLE)
    assert (report.games, report.plies, report.unfinished, report.refused, report.error) == (2, 66, 2, 0, "")
    assert sorted(reasons(report)) == [f"the game is not over after its {plies} plies" for plies in (28, 38)]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("pays", [True, False], ids=["stacks named", "stacks left open"])
def test_whole_games_of_every_config(run: RunDirectory, tmp_path: Path, config: str, pays: bool) -> None:
    games = few(4 if config.startswith(("square8", "hex8")) else 1, config)
    path = write_database(tmp_path / "games.db", games, moves=lambda game: wire_moves(game, pays=pays))
    report = imported(run, path)
    assert (report.imported, report.problems) == (len(games), [])
    for stored, game in zip(GameStore(run).iter_valid(config), games, strict=True):
        record = stored.read()
        if pays:
            assert record.moves.tolist() == game.moves_packed().tolist()
        assert (record.winner, record.players[0]) == (record.replay().outcome().winner, "random:1")  # type: ignore[union-attr]
        assert record.meta["file"] == "games.db" and str(record.meta["game"]).startswith("game-")
    assert not check(run)


def test_again_adds_nothing_also_from_a_copy_under_another_name(run: RunDirectory, tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", [*few(3), Game(CONFIG), random_game(CONFIG, 9, lambda g: g.ply == 20)])
    assert numbers(imported(run, path)) == (5, 3, 0, 1, 1)
    again = imported(run, path, packed(path))
    assert numbers(again) == (5, 0, 4, 0, 1)
    change(path, "UPDATE games SET game_id = 'other-' || game_id")
    for table in ("game_moves", "game_players", "game_initial_state"):
        change(path, f"UPDATE {table} SET game_id = 'other-' || game_id")
    assert imported(run, path).imported == 0


def early_games(config: str, count: int) -> list[Game]:
    """Games cut at the very move on which they are decided, inside a turn."""
    found: list[Game] = []
    for seed in range(10_000):
        game = random_game(config, seed, early_outcome)
        if not game.is_over:
            found.append(game)
        if len(found) == count:
            return found
    raise AssertionError


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p"])
def test_games_ended_at_the_deciding_move_are_kept_and_marked(run: RunDirectory, tmp_path: Path, config: str) -> None:
    games = early_games(config, 4)
    with closing(sqlite3.connect(write_database(tmp_path / "games.db", []))) as connection, connection:
        for number, game in enumerate(games):
            outcome = early_outcome(game)
            assert outcome is not None
            said = [outcome.winner, None, outcome.winner, outcome.winner % game.num_seats + 1][number]
            add_games(connection, [game], first=number, game_status="completed", winner=said)
    report = imported(run, tmp_path / "games.db")
    assert (report.imported, report.early, report.quarantined) == (3, 3, 1)
    assert "but its file says that seat" in reasons(report)[0]
    for stored, game in zip(GameStore(run).iter_valid(config), games, strict=False):
        record, outcome = stored.read(), early_outcome(game)
        assert outcome is not None and record.reason.startswith(EARLY)
        assert (record.winner, record.ranks) == (outcome.winner, outcome.ranks)
        assert record.ranks[record.winner - 1] == 1 and problem(stored) is None
        with pytest.raises(CorruptBlob, match="its moves end with"):
            replace(record, winner=record.winner % game.num_seats + 1).replay()
    assert not check(run)


def plant_move(path: Path) -> None:
    change_move(path, 1, to={"x": 7, "y": 7}, **{"from": {"x": 0, "y": 0}})


def plant_seat(path: Path) -> None:
    change_move(path, 4, player=1)


def plant_column(path: Path) -> None:
    change(path, "UPDATE game_moves SET player = 1 WHERE move_number = 4")


def plant_winner(path: Path) -> None:
    change(path, "UPDATE games SET winner = 3 - winner")


def plant_reason(path: Path) -> None:
    change(path, "UPDATE games SET termination_reason = iif(termination_reason LIKE 'ring%', 'territory', 'ring')")


def plant_counter(path: Path) -> None:
    change(path, "UPDATE game_players SET final_territory_spaces = final_territory_spaces + 1 WHERE player_number = 2")


def plant_gap(path: Path) -> None:
    change(path, "DELETE FROM game_moves WHERE move_number = 10")


def plant_end(path: Path) -> None:
    change(path, "DELETE FROM game_moves WHERE move_number > 60")


def plant_more(path: Path) -> None:
    last = "(SELECT max(move_number) FROM game_moves)"
    columns = f"game_id, {last} + 1, turn_number, player, phase, move_type, move_json, timestamp, think_time_ms"
    change(path, f"INSERT INTO game_moves SELECT {columns} FROM game_moves WHERE move_number = {last}")


def plant_type(path: Path) -> None:
    change_move(path, 2, type="teleport")


def plant_text(path: Path) -> None:
    change(path, "UPDATE game_moves SET move_json = '{\"type\":' WHERE move_number = 5")


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (plant_move, "ply 1: M0,0>7,7 is not legal there"),
        (plant_seat, "ply 4: place_ring to "),
        (plant_column, "is of seat 1, but seat 2 is to move"),
        (plant_winner, "but its file says that seat"),
        (plant_reason, "but its file says"),
        (plant_counter, "as its territory, but its file says"),
        (plant_gap, "the move of the number 10 is missing"),
        (plant_end, "the game is not over after its 61 plies of the"),
        (plant_more, "had won by"),
        (plant_type, "a move of the unknown type 'teleport'"),
        (plant_text, "ply 5: its move cannot be read, as JSON"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_planted_difference_is_quarantined_with_its_reason(
    run: RunDirectory, tmp_path: Path, plant: Any, said: str
) -> None:
    seed = next(
        s
        for s in range(99)
        if (o := random_game(CONFIG, s).outcome()) and o.detail == "threshold" and o.reason != "lps_rounds"
    )
    path = write_database(tmp_path / "games.db", [random_game(CONFIG, seed)])
    plant(path)
    report = imported(run, path)
    assert numbers(report) == (1, 0, 0, 1, 0)
    assert said in reasons(report)[0]
    ((_, work_id, reason),) = GameStore(run).quarantined()
    assert work_id.startswith(f"import/{CONFIG}/") and reason == reasons(report)[0]
    assert numbers(imported(run, path)) == (1, 0, 1, 0, 0)


def snake(text: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in text)


#: A move's JSON as other versions may have written it.
ODD: dict[str, Callable[[str], str | bytes]] = {
    "indented": lambda text: "\n " + json.dumps(json.loads(text), indent=1),
    "packed moves": lambda text: gzip.compress(text.encode()),
    "text in text": json.dumps,
    "floats": lambda text: re.sub(r'("[xyz]": -?\d+)', r"\1.0", json.dumps(json.loads(text))),
    "type in its column": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "type"}),
}


def other_shapes(tmp_path: Path, games: list[Game]) -> Iterator[tuple[str, Path]]:
    """Databases and files of the same games in other shapes."""
    bare = tmp_path / "square8_2p.db"  # the config only in the name; other spellings; moves in the table of games
    with closing(sqlite3.connect(bare)) as connection, connection:
        connection.execute("CREATE TABLE games (gameId TEXT, boardType TEXT, gameStatus TEXT, moves TEXT)")
        for number, game in enumerate(games):
            moves = [{snake(key): value for key, value in move.items() if value} for move in wire_moves(game)]
            row = {"gameId": str(number), "gameStatus": "finished", "moves": json.dumps(moves)}
            insert(connection, "games", row)
    yield "inline", bare
    split = write_database(
        tmp_path / "split.db", games
    )  # moves in two tables, without index, some in both, numbered from 1
    with closing(sqlite3.connect(split)) as connection, connection:
        connection.executescript(
            "CREATE TABLE late (gameId TEXT, ply INTEGER, move TEXT);"
            "INSERT INTO late SELECT game_id, move_number + 1, move_json FROM game_moves WHERE move_number >= 30;"
            "CREATE TABLE early (gameId TEXT, ply INTEGER, move TEXT);"
            "INSERT INTO early SELECT game_id, move_number + 1, move_json FROM game_moves WHERE move_number < 35"
            " ORDER BY move_json; DROP TABLE game_moves; DROP TABLE game_players; DROP TABLE game_initial_state;"
            "ALTER TABLE games DROP COLUMN winner; ALTER TABLE games DROP COLUMN source"
        )
    yield "two tables", split
    without = tmp_path / "without.db"  # the moves that only say that nothing can be done were not recorded
    write_database(without, games, moves=lambda game: [m for m in wire_moves(game) if not m["type"].startswith("no_")])
    yield "without forced moves", without
    for name, write in ODD.items():
        odd = tmp_path / f"{name}.db"
        with closing(sqlite3.connect(write_database(odd, games))) as connection, connection:
            connection.create_function("odd", 1, write)
            connection.executescript(
                'CREATE TABLE later ("game id", "Move-Number", "move type", "move json");'
                "INSERT INTO later SELECT game_id, move_number, move_type, odd(move_json) FROM game_moves;"
                "DROP TABLE game_moves"
            )
        yield name, odd
    log = write_database(tmp_path / "log.db", [])  # a writer was killed: the games are in the log beside
    source = sqlite3.connect(log)
    source.execute("PRAGMA journal_mode = WAL")
    add_games(source, games)
    source.commit()
    left = tmp_path / "left"
    left.mkdir()
    for suffix in ("", "-wal"):
        (left / f"log.db{suffix}").write_bytes((tmp_path / f"log.db{suffix}").read_bytes())
    source.close()
    yield "log left over", left / "log.db"
    yield "packed", packed(split)
    lines = tmp_path / "games.jsonl"
    bodies = [
        {"gameId": n, "initialState": initial_state(g), "moves": wire_moves(g), "metadata": {"victoryReason": "x"}}
        for n, g in enumerate(games)
    ]
    lines.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    yield "json lines", lines
    yield "packed lines", packed(lines)
    records = tmp_path / "records.jsonl"
    records.write_text("".join(Record.from_game(g, seed=1, players=("a", "b")).to_json() + "\n\n" for g in games))
    yield "records", records


def hot_journal(database: Path, victim: Path) -> Path:
    """A copy of a database with the journal of a writer that was killed, which says that `victim` is a part of it."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript("PRAGMA cache_size = 1; BEGIN; DELETE FROM game_moves; DELETE FROM games")
    left = database.parent / "hot"
    left.mkdir()
    for suffix in ("", "-journal"):
        (left / f"hot.db{suffix}").write_bytes(database.with_name(f"{database.name}{suffix}").read_bytes())
    connection.close()
    name = str(victim).encode()
    tail = len(name).to_bytes(4) + sum(name).to_bytes(4) + SUPER
    with (left / "hot.db-journal").open("ab") as file:
        file.write(bytes(4) + name + tail)
    return left / "hot.db"


def test_the_journal_of_a_foreign_database_is_undone_in_a_copy_and_deletes_nothing(
    run: RunDirectory, tmp_path: Path
) -> None:
    (victim := tmp_path / "precious").write_text("a file of somebody")
    hot = hot_journal(write_database(tmp_path / "games.db", few(6)), victim)
    before = {file.name: file.read_bytes() for file in hot.parent.iterdir()}
    report = imported(run, hot)
    assert (report.games, report.imported, report.error) == (6, 6, "")
    assert {file.name: file.read_bytes() for file in hot.parent.iterdir()} == before
    assert victim.read_text() == "a file of somebody"

    (run.path / "games.db-journal").write_bytes((hot.parent / "hot.db-journal").read_bytes())
    with pytest.raises(CorruptBlob, match=r"games\.db-journal names another file"):
        RunDirectory.open(run.path)
    assert victim.exists()


def test_databases_of_other_shapes_hold_the_same_games(run: RunDirectory, tmp_path: Path) -> None:
    games = few(6)
    before = {}
    for name, path in other_shapes(tmp_path, games):
        before[path] = path.read_bytes()
        report = imported(run, path)
        assert (report.games, report.imported + report.known, report.error, report.problems) == (6, 6, "", []), name
        assert GameStore(run).counts()[0].games == 6, name
    assert all(path.read_bytes() == content for path, content in before.items())  # sources are never changed


def test_options_and_other_boards_are_read_from_the_state(run: RunDirectory, tmp_path: Path) -> None:
    game = Game(CONFIG, Options(swap_rule=True, rings_per_player=5, lps_rounds=2))
    for text in ("P0,0*1", "M0,0>3,3", "NL", "NT", "SW"):
        game.push(text)
    while not game.is_over:
        game.push(game.playable_moves()[0])
    report = imported(run, write_database(tmp_path / "games.db", [game], board_type="BoardType.SQUARE8"))
    assert (report.imported, report.problems) == (1, [])
    (stored,) = GameStore(run).iter_valid(CONFIG)
    assert stored.read().options == game.options


def test_files_that_are_no_databases_are_refused_with_a_sentence(run: RunDirectory, tmp_path: Path) -> None:
    whole = write_database(tmp_path / "whole.db", few(40))
    with closing(sqlite3.connect(tmp_path / "else.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    (tmp_path / "garbage.db").write_bytes(os.urandom(5000))
    (tmp_path / "header.db").write_bytes(whole.read_bytes()[:16] + os.urandom(9000))
    (tmp_path / "empty.db").touch()
    (tmp_path / "cut.db.gz").write_bytes(packed(whole).read_bytes()[:-5000])
    for name, said in (
        ("else.db", "holds no games"),
        ("garbage.db", "neither an SQLite database nor JSON"),
        ("header.db", "is not a sound database"),
        ("empty.db", "is empty"),
        ("cut.db.gz", "is a damaged or truncated gzip file"),
    ):
        report = imported(run, tmp_path / name)
        assert report.games == 0 and said in report.error and "\n" not in report.error, name
    with pytest.raises(DataError, match="does not exist"):
        sources([tmp_path / "nowhere.db"])
    (tmp_path / "lines.jsonl").write_text('{"a": 1}\n[]\n{\n{"board": "square8", "players": 9, "moves": ["P0,0*1"]}\n')
    report = imported(run, tmp_path / "lines.jsonl")
    assert numbers(report) == (3, 0, 0, 0, 3)  # an empty list is none and all(reasons(report))


def test_a_truncated_database_gives_what_it_has(run: RunDirectory, tmp_path: Path) -> None:
    whole = write_database(tmp_path / "whole.db", few(40))
    for share in (3, 2, 1.2):
        cut = tmp_path / "cut.db"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size / share)])
        report = imported(run, cut)
        assert report.games == report.imported + report.known + report.quarantined + report.refused
        assert report.error or report.problems
    assert not check(run)


@pytest.mark.parametrize("pack", [False, True], ids=["plain", "packed"])
def test_a_database_without_indexes_is_read_piece_by_piece_too(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, pack: bool
) -> None:
    path = write_database(tmp_path / "games.db", few(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("games", "game_moves", "game_players", "game_initial_state"):
            connection.executescript(
                f"CREATE TABLE new AS SELECT * FROM {table}; DROP TABLE {table}; ALTER TABLE new RENAME TO {table}"
            )
    path, done = packed(path) if pack else path, []
    before = path.read_bytes()
    monkeypatch.setattr("ringrift.earlier.games.CHUNK", 1)
    report = imported(run, path, progress=lambda games, _: done.append(games))
    assert (report.imported, report.problems, done) == (3, [], [1, 2, 3])
    assert path.read_bytes() == before


def test_a_start_that_cannot_be_read_is_named(run: RunDirectory, tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", few(1))
    change(path, "UPDATE game_initial_state SET initial_state_json = 'nonsense'")
    assert "its initial state cannot be read" in reasons(imported(run, path))[0]


def test_duplicate_ids_orphans_and_disagreeing_tables(run: RunDirectory, tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", few(3))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "DELETE FROM games WHERE game_id = 'game-0000001';"
            "CREATE TABLE more AS SELECT game_id, move_number, move_json FROM game_moves"
            " WHERE game_id = 'game-0000002';"
            "UPDATE more SET move_json = '{}' WHERE move_number = 7"
        )
    report = imported(run, path)
    assert numbers(report) == (2, 1, 0, 1, 1)
    assert sorted(reasons(report)) == [
        "1 games have moves, but no row in the table of games",
        "there are two different moves of the number 7",
    ]


def test_a_dry_run_counts_and_stores_nothing(run: RunDirectory, tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", few(3))
    assert numbers(imported(run, path, path, dry_run=True)) == (3, 0, 3, 0, 0)
    assert GameStore(run).counts() == []
    assert import_files([path], None)[0].imported == 3
    imported(run, path)
    assert numbers(imported(run, path, dry_run=True)) == (3, 0, 3, 0, 0)


@pytest.mark.slow
def test_two_imports_at_once_store_every_game_once(run: RunDirectory, tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", few(300))
    command = [sys.executable, "-m", "ringrift", "data", "import", str(path), "--run", str(run.path), "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(one["files"][0]["imported"] for one in told) == GameStore(run).counts()[0].games == 300
    assert not check(run)


@pytest.mark.slow
def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", few(400))
    command = [
        sys.executable,
        "-m",
        "ringrift",
        "data",
        "import",
        str(path),
        "--run",
        str(tmp_path / "run"),
        "--processes",
        "2",
    ]
    seen = 0
    for _ in range(2):
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (tmp_path / "run" / "run.json").exists():
                with RunDirectory.open(tmp_path / "run") as run:
                    now = sum(row.games for row in GameStore(run).counts())
                if now > seen:
                    break
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with RunDirectory.open(tmp_path / "run") as run:
            assert sum(row.games for row in GameStore(run).counts()) >= seen
            seen = sum(row.games for row in GameStore(run).counts())
    report = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True).stdout)["files"][0]
    assert (report["games"], report["imported"] + report["known"], report["problems"]) == (400, 400, [])
    with RunDirectory.open(tmp_path / "run") as run:
        assert GameStore(run).counts()[0].games == 400 and not check(run)


def test_times_are_read_as_they_were_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for given in ("2026-01-01 00:00:00", "2026-01-01T09:00:00+09:00", 1767225600, 1767225600000):
            assert unix_time(given) == 1767225600.0
        assert (unix_time("lately"), unix_time(None)) == (None, None)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_merge_takes_each_game_once(run: RunDirectory, tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", few(4))
    imported(run, path)
    records = [Record.from_game(game, seed=7, players=("x", "y")).to_bytes() for game in few(6)]
    with RunDirectory.create(tmp_path / "other") as other:
        GameStore(other).add_many(
            [(content, f"{CONFIG}/0/{n}") for n, content in enumerate(records)], Provenance("somebody")
        )
        GameStore(other).judge([(1, None), (5, None), (6, "planted")])
        (report,) = merge(run, [other], dry_run=True)
        assert (report.games, report.merged, report.known, report.quarantined) == (6, 2, 4, 1)
        assert GameStore(run).counts()[0].games == 4
        (report,) = merge(run, [other], strict=True)
        assert (report.merged, report.known, report.left_out) == (2, 4, [])
        assert GameStore(run).work_ids("merged/") == {f"merged/{other.identity}/{CONFIG}/0/{n}" for n in (4, 5)}
        assert [reason for *_, reason in GameStore(run).quarantined()] == ["planted"]
        assert merge(run, [other])[0].merged == 0
        GameStore(other).judge([(2, "planted too")])
        with pytest.raises(DataError, match=r"quarantined here only: planted too; nothing was merged"):
            merge(run, [other], strict=True)
        assert merge(run, [other])[0].left_out == [
            (f"{CONFIG}/0/1", "the same game is quarantined here only: planted too")
        ]
        with pytest.raises(DataError, match="is the run to merge into"):
            merge(run, [run])


def test_merge_leaves_out_what_was_taken_back_and_doubles(run: RunDirectory, tmp_path: Path) -> None:
    first, second, third = (Record.from_game(game, seed=7, players=("x", "y")) for game in few(3))
    with RunDirectory.create(tmp_path / "other") as other:
        store = GameStore(other)
        named = [(first, "a"), (replace(first, seed=8), "double"), (second, "b"), (third, "c")]
        store.add_many([(record.to_bytes(), name) for record, name in named], Provenance("somebody"))
        assert store.judge([(2, None), (1, None), (3, None), (4, None)]) == 1, "the later one was judged first"
        (report,) = merge(run, [other], strict=True, dry_run=True)
        assert (report.merged, report.known, report.left_out) == (3, 1, [])
        retract(other, games=[3], reason="a liar's")
        with pytest.raises(DataError, match="taken back by retraction 1; nothing was merged"):
            merge(run, [other], strict=True)
        with other.database.transaction() as connection:
            connection.execute("DROP TRIGGER games_never_change")
            connection.execute("UPDATE games SET winner = 3 - winner WHERE id = 4")
        (report,) = merge(run, [other])
        assert (report.merged, report.known) == (1, 1)
        assert [name for name, _ in report.left_out] == ["b", "c"]
        assert "differs from its record" in report.left_out[1][1]
    assert GameStore(run).about(1)["work_id"] == f"merged/{other.identity}/double"


def test_a_killed_merge_goes_on(run: RunDirectory, tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "other") as other:
        contents = [Record.from_game(game, seed=7, players=("x", "y")).to_bytes() for game in few(6)]
        GameStore(other).add_many([(content, f"w{n}") for n, content in enumerate(contents)], Provenance("somebody"))
    code = """
import os, signal, sys
from ringrift.store import RunDirectory, merge
merge.PAGE = 2
def dying(done, total):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)
with RunDirectory.open(sys.argv[1]) as target, RunDirectory.open(sys.argv[2]) as other:
    merge.merge(target, [other], progress=dying)
"""
    command = [sys.executable, "-c", code, str(run.path), str(tmp_path / "other")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert GameStore(run).counts()[0].games == 4
    with RunDirectory.open(tmp_path / "other") as other:
        (report,) = merge(run, [other])
    assert (report.games, report.merged, report.known) == (6, 2, 4)
    assert GameStore(run).counts()[0].games == 6
    assert GameStore(run).about(1)["worker"] == "somebody", "who made it comes along"


def test_a_game_that_does_not_replay_is_not_merged(run: RunDirectory, tmp_path: Path) -> None:
    good, bad = (Record.from_game(game, seed=7, players=("x", "y")) for game in few(2))
    bad = replace(bad, final_hash="0" * 16)
    with RunDirectory.create(tmp_path / "other") as other:
        GameStore(other).add_many([(good.to_bytes(), "a"), (bad.to_bytes(), "b")])
        with pytest.raises(DataError, match="nothing was merged"):
            merge(run, [other], strict=True)
        assert GameStore(run).counts() == []
        (report,) = merge(run, [other])
        assert (report.merged, [work_id for work_id, _ in report.left_out]) == (1, ["b"])


def test_ls_finds_every_store(run: RunDirectory, tmp_path: Path) -> None:
    write_database(tmp_path / "deep.db", few(2), board_type="BoardType.SQUARE8")
    (tmp_path / "a" / "b").mkdir(parents=True)
    packed(tmp_path / "deep.db").rename(tmp_path / "a" / "b" / "two.db.gz")
    (tmp_path / "broken.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    (tmp_path / "records.jsonl").write_text(Record.from_game(few(1)[0], seed=1, players=("a", "b")).to_json() + "\n")
    imported(run, tmp_path / "deep.db")
    found = list(find([tmp_path]))
    rows = {Path(one.place).name: one for one in found if isinstance(one, Found)}
    assert {name: (one.kind, one.games) for name, one in rows.items()} == {
        "run": ("run", 2),
        "deep.db": ("database", 2),
        "two.db.gz": ("database", 2),
        "records.jsonl": ("json lines", 1),
    }
    assert len({one.plies for name, one in rows.items() if name != "records.jsonl"}) == 1
    assert {one.config for one in rows.values()} == {CONFIG}
    assert (rows["deep.db"].quality, rows["deep.db"].source) == (0.5, "selfplay")
    assert rows["deep.db"].age_hours is not None and rows["run"].source == "import"
    assert [Path(one.place).name for one in found if isinstance(one, Unreadable)] == ["broken.db"]


def test_commands(tmp_path: Path) -> None:
    write_database(tmp_path / "games.db", few(3))

    def tell(status: int, *arguments: object) -> Any:
        told = CliRunner().invoke(app, ["data", *map(str, arguments), "--json"])
        assert told.exit_code == status, told.output
        return json.loads(told.stdout)

    run, other = tmp_path / "run", tmp_path / "other"
    assert tell(0, "import", tmp_path, "--dry-run", "--processes", 1)["files"][0]["imported"] == 3
    assert tell(0, "import", tmp_path, "--run", run, "--processes", 2)["files"][0]["imported"] == 3
    assert tell(0, "merge", run, "--run", other, "--dry-run")["runs"][0]["merged"] == 3 and not other.exists()
    assert tell(0, "merge", run, "--run", other)["runs"][0]["merged"] == 3
    assert [row["games"] for row in tell(0, "ls", run, other)["rows"]] == [3, 3]
    told = tell(2, "ls", run, tmp_path / "nowhere", other)
    assert [row["games"] for row in told["rows"]] == [3, 3] and "does not exist" in told["unreadable"][0]["reason"]
    (tmp_path / "bad.jsonl.gz").write_bytes(b"\x1f\x8b")
    assert tell(1, "import", tmp_path / "bad.jsonl.gz", tmp_path / "games.db", "--run", run)["files"][1]["known"] == 3
    said = CliRunner().invoke(app, ["data", "import", str(tmp_path / "games.db"), "--run", str(run)]).stdout
    assert "0 new games imported from 1 files" in said


def described(game: Game, number: int = 0, **more: object) -> dict[str, object]:
    """A game as one JSON object."""
    outcome = game.outcome()
    return {"game_id": f"g{number}", "board_type": "square8", "num_players": 2, "status": "completed",
            "winner": outcome and outcome.winner, "moves": wire_moves(game)} | more  # fmt: skip


#: Files of the same three games.
FORMS: dict[str, Callable[[list[dict[str, object]]], bytes]] = {
    "lines": lambda games: "".join(json.dumps(game) + "\n" for game in games).encode(),
    "lines with a mark": lambda games: b"\xef\xbb\xbf" + FORMS["lines"](games),
    "lines in UTF-16": lambda games: FORMS["lines"](games).decode().encode("utf-16"),
    "marks within": lambda games: b"".join(b"\xef\xbb\xbf" + FORMS["lines"]([game]) for game in games),
    "a list": lambda games: json.dumps(games).encode(),
    "a list with a mark": lambda games: b"\xef\xbb\xbf" + FORMS["a list"](games),
    "a list, a game a line": lambda games: ("[" + ",\n".join(map(json.dumps, games)) + "]\n").encode(),
    "an indented list": lambda games: json.dumps(games, indent=2).encode(),
    "indented games": lambda games: "\n".join(json.dumps(game, indent=4) for game in games).encode(),
    "games indented by nothing": lambda games: "\r\n".join(json.dumps(game, indent=0) for game in games).encode(),
    "one after the other": lambda games: "".join("\n\n" + json.dumps(game) for game in games).encode(),
}


@pytest.mark.parametrize("pack", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("form", FORMS)
def test_json_in_every_form_is_read(tmp_path: Path, form: str, *, pack: bool) -> None:
    content = FORMS[form]([described(game, n) for n, game in enumerate(few(3))])
    path = tmp_path / ("games.json.gz" if pack else "games.json")
    path.write_bytes(gzip.compress(content) if pack else content)
    (report,) = import_files([one for one in sources([tmp_path]) if isinstance(one, Path)], None)
    assert (numbers(report), report.problems, report.error) == ((3, 3, 0, 0, 0), [], "")
    assert [(one.config, one.games) for one in find([tmp_path]) if isinstance(one, Found)] == [(CONFIG, 3)]


def test_pieces_of_a_file_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    games = [described(game, n) for n, game in enumerate(few(3))]
    monkeypatch.setattr("ringrift.earlier.games.PIECE", 1000)
    for form, write in FORMS.items():
        (tmp_path / "games.json").write_bytes(write(games))
        assert numbers(import_files([tmp_path / "games.json"], None)[0]) == (3, 3, 0, 0, 0), form


def test_what_is_no_game_in_a_file_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    games = [described(game, n) for n, game in enumerate(few(3))]
    lines = FORMS["lines"](games).splitlines()
    broken = b"\n".join([lines[0], lines[1][:-9], b"nonsense", b'{"a":' + b"[" * 5000, lines[2], json.dumps(
        games[1], indent=1).encode()[:5000]])  # fmt: skip
    (tmp_path / "broken.jsonl").write_bytes(broken)
    (report,) = import_files([tmp_path / "broken.jsonl"], None)
    assert (report.imported, report.refused) == (2, 3)
    assert [one.game for one in report.problems] == ["line 2", "line 4", "line 6"]
    monkeypatch.setattr("ringrift.earlier.games.LONGEST_GAME", 4 * len(lines[0]))
    monkeypatch.setattr("ringrift.earlier.games.PIECE", len(lines[0]))
    long = json.dumps(games[0] | {"more": ["x"] * 9 * len(lines[0])}, indent=1).encode()
    (tmp_path / "long.jsonl").write_bytes(long + b"\n" + lines[1])
    (report,) = import_files([tmp_path / "long.jsonl"], None)
    assert (report.imported, report.refused) == (1, 1) and "which no game is" in reasons(report)[0]


def test_a_packed_file_that_was_cut_gives_the_games_before(tmp_path: Path) -> None:
    content = FORMS["lines"]([described(game, n) for n, game in enumerate(few(20))])
    (tmp_path / "games.jsonl.gz").write_bytes(gzip.compress(content)[:-2000])
    (report,) = import_files([tmp_path / "games.jsonl.gz"], None)
    assert report.error.count("damaged or truncated gzip") == 1


def test_every_file_of_a_directory_is_named(tmp_path: Path) -> None:
    place = tmp_path / "games"
    (place / "inner").mkdir(parents=True)
    (place / "inner" / "good.jsonl").write_bytes(FORMS["lines"]([described(random_game(CONFIG, 7))]))
    write_database(place / "database", few(2))
    (place / "README").write_text("hello")
    for name, content in (("empty.jsonl", b""), ("blank.json", b" \n"), ("numbers.json", b"[1, 2]"), ("bad.db", b"x")):
        (place / name).write_bytes(content)
    (place / "settings.json").write_text('{"a": 1}')

    def tell(status: int, *options: str) -> tuple[str, dict[str, Any]]:
        told = CliRunner().invoke(app, ["data", "import", str(place), "--dry-run", "--processes", "1", *options])
        assert told.exit_code == status, told.output
        return told.output, json.loads(told.stdout) if "--json" in options else {}

    rows = {Path(row["path"]).name: row for row in tell(1, "--json")[1]["files"]}
    assert set(rows) == {path.name for path in place.rglob("*") if path.is_file()}
    assert (rows["good.jsonl"]["imported"], rows["database"]["imported"]) == (1, 2)
    assert "empty" in rows["empty.jsonl"]["error"] and "empty" in rows["blank.json"]["error"]
    assert rows["README"]["passed_over"] and "neither" in rows["bad.db"]["error"]
    assert "neither" in rows["numbers.json"]["error"] and rows["settings.json"]["refused"] == 1
    assert "README: passed over" in tell(1)[0]
    assert "nothing was imported" in str(CliRunner().invoke(
        app, ["data", "import", str(place), "--run", str(tmp_path / "run"), "--strict"]).exception)  # fmt: skip
    for name in ("empty.jsonl", "blank.json", "numbers.json", "bad.db", "settings.json"):
        (place / name).unlink()
    tell(0)
    for path in (place / "inner" / "good.jsonl", place / "database"):
        path.unlink()
    tell(1)


def test_strict_imports_all_or_nothing(run: RunDirectory, tmp_path: Path) -> None:
    path = write_database(tmp_path / "games.db", [*few(2), random_game(CONFIG, 9, lambda g: g.ply == 20)])
    with pytest.raises(DataError, match=r"games.db, game-0000002: the game is not over .*; nothing was imported"):
        imported(run, path, strict=True)
    assert GameStore(run).counts() == []
    change(path, "DELETE FROM games WHERE game_id = 'game-0000002'")
    change(path, "DELETE FROM game_moves WHERE game_id = 'game-0000002'")
    assert imported(run, path, strict=True).imported == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            (field, None)
            for field in ("captureTarget", "formedLines", "disconnectedRegions", "eliminationContext", "from")
        ),
        *((field, 1) for field in ("formedLines", "disconnectedRegions")),
    ],
)
def test_games_without_what_the_legal_list_tells(tmp_path: Path, field: str, value: int | None) -> None:
    games = [described(game, n) for n, game in enumerate(few(6))]
    for game in games:
        moves = game["moves"]
        assert isinstance(moves, list)
        game["moves"] = [move | ({field: value} if move[field] is not None else {}) for move in moves]
    (tmp_path / "games.jsonl").write_bytes(FORMS["lines"](games))
    (report,) = import_files([tmp_path / "games.jsonl"], None)
    assert report.imported + len(reasons(report)) == 6 and report.refused == 0
    assert all("would tell them apart" in reason for reason in reasons(report)), reasons(report)
    assert report.imported > 0 or field == "from"


CASES = VECTORS.parents[1] / "cases"


@pytest.mark.parametrize("case", ["import-bom-directory", "import-no-capture-target", "import-formed-lines-count"])
def test_games_that_were_once_quarantined(case: str) -> None:
    if not (CASES / case).is_dir():
        pytest.skip("the cases are not there")
    for report in import_files(sources([CASES / case]), None):
        assert (report.games, report.imported + report.known, report.problems) == (1, 1, [])


#: What is in a game, and what no reason may show: the words of Python.
WORDS = re.compile(r"NoneType|KeyError|TypeError|object has no|unhashable|not subscriptable|\[Errno|Traceback|<class")


def test_reasons_are_sentences(tmp_path: Path) -> None:
    good, odd = (
        described(few(1)[0]),
        [None, 1, -1, 2**70, 0.5, "x", "", [], [1], {}, {"a": []}, True, [[[]]], "9" * 400],
    )
    more = "initial_state players opts end final_state rng_seed config init start total_moves metadata reason".split()
    lines = [good | {name: value} for name in (*good, *more) for value in odd]
    moves = good["moves"]
    assert isinstance(moves, list)
    lines += [good | {"moves": [moves[0] | {name: value}, *moves[1:]]} for name in moves[0] for value in odd]
    lines += [good | {"moves": [value, *moves[1:]]} for value in odd]
    lines += [good | {"moves": [{"m": value}]} for value in odd]
    path = tmp_path / "games.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (report,) = import_files([path], None)
    assert report.games == len(lines) and report.error == ""
    for reason in reasons(report):
        assert not WORDS.search(reason) and len(reason) < 500, reason


@recorded
@pytest.mark.slow
def test_recorded_games_of_the_rules_import(run: RunDirectory) -> None:
    for path in FILES:
        if path.name in ("square8_2p.jsonl.gz", "hex8_3p.jsonl.gz", "square8_4p.jsonl.gz"):
            report = imported(run, path, processes=2)
            assert report.imported > 0 and report.refused == 0
            assert report.imported + report.unfinished + report.known == report.games, report.problems[:3]


@pytest.mark.parametrize("config", ["square8_2p", "hex8_3p"])
def test_recorded_moves_are_played_as_far_as_their_fields_tell_them(config: str) -> None:
    for seed in range(6):
        game = random_game(config, seed)
        rows, again, at = [(move["player"], json.dumps(move)) for move in wire_moves(game)], Game(config), 0
        while (at := push_recorded(again, rows, at, PATTERNS)) < len(rows):
            kept = json.loads(rows[at][1])["type"]
            assert kept == "recovery_slide" or (kept == "choose_line_option" and again.ply == at)
            again.push_packed(int(game.moves_packed()[at]))
            at += 1
        assert again.moves_packed().tolist() == game.moves_packed().tolist()


@pytest.mark.parametrize(
    ("seat", "fields"),
    [
        (2, {}),
        ("1", {}),
        (1, {"player": 2}),
        (1, {"type": "pass"}),
        (1, {"type": "place_ring\n"}),
        (1, {"to": None}),
        (1, {"to": {"x": 0.5, "y": 0}}),
        (1, {"to": {"x": 8, "y": 0}}),
        (1, {"to": {"x": 999, "y": 0}}),
        (1, {"placementCount": None}),
        (1, {"placementCount": 4}),
    ],
)
def test_a_recorded_move_that_is_not_told_is_left_to_the_slower_reader(seat: object, fields: dict[str, object]) -> None:
    game = Game("square8_2p")
    move: dict[str, object] = {"type": "place_ring", "player": 1, "to": {"x": 0, "y": 0}, "placementCount": 2}
    assert push_recorded(game, [(seat, json.dumps(move | fields))], 0, PATTERNS) == 0
    assert game.ply == 0
    step = {"type": "move_stack", "player": 1, "from": {"x": 0, "y": 0}, "to": {"y": 3, "x": 0, "z": None}}
    told = [(None, json.dumps(move)), (1, json.dumps(step))]
    assert push_recorded(game, [*told, (1, json.dumps(move)[:-1]), *told], 0, PATTERNS) == 2
    assert [str(one) for one in game.moves] == ["P0,0*2", "M0,0>0,3"]
