"""The tables of games.db: brought up from format 1, closed to statements from elsewhere, quick."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stored import CONFIG, finished
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.earlier.discover import Found, Unreadable, find
from ringrift.errors import CorruptBlob, FormatTooNew
from ringrift.fabric import Database
from ringrift.rules import Record
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.check import check
from ringrift.store.games import GameRow
from ringrift.store.provenance import Provenance
from ringrift.store.samples import export, shards
from ringrift.store.schema import FUNCTIONS, SCHEMA, evidence
from ringrift.store.validate import validate

FORMAT_1 = """
CREATE TABLE shards (
    id INTEGER PRIMARY KEY, config TEXT NOT NULL, blob TEXT NOT NULL UNIQUE, samples INTEGER NOT NULL,
    games INTEGER NOT NULL, encoding_hash TEXT NOT NULL, added REAL NOT NULL
);
CREATE TABLE games (
    id INTEGER PRIMARY KEY, work_id TEXT NOT NULL UNIQUE, config TEXT NOT NULL, record BLOB NOT NULL,
    plies INTEGER NOT NULL, winner INTEGER NOT NULL, reason TEXT NOT NULL, added REAL NOT NULL,
    played_by TEXT NOT NULL, validated_by TEXT,
    state TEXT NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'valid', 'quarantined')),
    problem TEXT, shard INTEGER REFERENCES shards (id),
    CHECK ((state = 'received') = (validated_by IS NULL)),
    CHECK (state <> 'valid' OR validated_by <> played_by),
    CHECK ((state = 'quarantined') = (problem IS NOT NULL)),
    CHECK (shard IS NULL OR state = 'valid')
);
CREATE INDEX games_by_state ON games (config, state, plies);
CREATE INDEX games_received ON games (id) WHERE state = 'received';
CREATE INDEX games_unexported ON games (config, id) WHERE state = 'valid' AND shard IS NULL;
CREATE INDEX games_of_shard ON games (shard) WHERE shard IS NOT NULL;
CREATE TRIGGER games_never_change BEFORE UPDATE OF work_id, config, record ON games
BEGIN
    SELECT RAISE(ABORT, 'a stored game never changes');
END;
CREATE TRIGGER games_are_kept BEFORE DELETE ON games
BEGIN
    SELECT RAISE(ABORT, 'a stored game is never deleted');
END;
CREATE TRIGGER quarantine_is_final BEFORE UPDATE OF state ON games WHEN OLD.state = 'quarantined'
BEGIN
    SELECT RAISE(ABORT, 'a quarantined game stays quarantined');
END;
CREATE TABLE models (
    id TEXT PRIMARY KEY, config TEXT NOT NULL, role TEXT NOT NULL, checkpoint TEXT NOT NULL, onnx TEXT,
    settings TEXT NOT NULL, parents TEXT NOT NULL, metrics TEXT NOT NULL, added REAL NOT NULL, pruned REAL
);
CREATE TABLE promotions (
    config TEXT NOT NULL, revision INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY (config, revision)
);
"""
INSERT_1 = (
    "INSERT INTO games (work_id, config, record, plies, winner, reason, added, played_by, validated_by, state, problem)"
    " VALUES (?, ?, ?, ?, ?, ?, 7.0, 'host:1:ab', ?, ?, ?)"
)
SHELL = shutil.which("sqlite3") or ""


def old_run(path: Path, games: int) -> None:
    """A run of format 1: valid games, the third one twice, then one that waits and a quarantined one that is no
    record; all valid ones in two shards."""
    RunDirectory.create(path).close()
    for name in ("games.db", "games.db-wal", "games.db-shm"):
        (path / name).unlink(missing_ok=True)
    database = Database(path / "games.db", {1: FORMAT_1})
    with database.transaction() as connection:

        def insert(record: Record, work_id: str, state: str = "valid", content: bytes | None = None) -> None:
            header = (work_id, CONFIG, content or record.to_bytes(), len(record.moves), record.winner, record.reason)
            judge, problem = ("judge" if state != "received" else None), ("bad" if state == "quarantined" else None)
            connection.execute(INSERT_1, (*header, judge, state, problem))

        for seed in range(games):
            insert(finished(seed), f"old/{seed}")
        insert(finished(2), "old/twin")
        insert(finished(games), "old/waits", "received")
        insert(finished(0), "old/bad", "quarantined", b"RRGAME nonsense")
        connection.execute(
            "INSERT INTO shards VALUES (1, ?, 'a', 1, 2, 'x', 0), (2, ?, 'b', 1, 9, 'x', 0)", [CONFIG] * 2
        )
        connection.execute("UPDATE games SET shard = iif(id <= 2, 1, 2) WHERE state = 'valid'")
        connection.execute(
            "INSERT INTO models VALUES ('m-1', ?, 'initial', 'c', NULL, '{}', '[]', '{}', 0, 1)", [CONFIG]
        )
    database.close()


def looked(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute("SELECT id, work_id, state, record FROM games ORDER BY id").fetchall()


def test_format_1_is_brought_up_once_with_a_copy_of_what_it_was(tmp_path: Path) -> None:
    old_run(tmp_path / "run", 4)
    before = looked(tmp_path / "run" / "games.db")
    with RunDirectory.open(tmp_path / "run") as run:
        store = GameStore(run)
        states = [row["state"] for row in run.database.rows("SELECT state FROM games ORDER BY id")]
        assert states == ["valid"] * 4 + ["quarantined", "received", "quarantined"]
        assert store.quarantined() == [(5, "old/twin", "the same game as game 3"), (7, "old/bad", "bad")]
        assert [shard.id for shard in shards(run)] == [1], "the shard with the game that was there twice is made again"
        (row,) = store.counts()
        assert (row.games, row.waiting, row.quarantined, row.retracted) == (5, 1, 2, 0)
        assert row.plies == sum(len(finished(seed).moves) for seed in range(5))
        made = run.database.rows("SELECT worker, machine, engines, seed, created, origin FROM games WHERE id = 1")[0]
        assert tuple(made) == ("host:1:ab", "host", '["random", "random"]', 0, 7.0, "{}")
        assert ModelStore(run).show("m-1").window == ()
        assert validate(run).valid == 1
        assert not [found for found in check(run) if found.what.startswith("game")]
        assert store.flow(CONFIG).valid == 3
    copy = tmp_path / "run" / "games.db.format-1"
    assert looked(copy) == before
    with closing(sqlite3.connect(copy)) as connection, connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    written = copy.stat().st_mtime_ns
    RunDirectory.open(tmp_path / "run").close()
    assert copy.stat().st_mtime_ns == written
    with closing(sqlite3.connect(tmp_path / "run" / "games.db")) as connection, connection:
        connection.execute("PRAGMA user_version = 5")
    with pytest.raises(FormatTooNew, match="format 5; this release reads up to 4"):
        RunDirectory.open(tmp_path / "run")


def test_format_2_is_closed_to_what_it_let_through(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run").close()
    for name in ("games.db", "games.db-wal", "games.db-shm"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
    Database(tmp_path / "run" / "games.db", {n: SCHEMA[n] for n in (1, 2)}, functions=FUNCTIONS).close()
    with RunDirectory.open(tmp_path / "run") as run:
        GameStore(run).add(finished(0).to_bytes(), "a")
        assert "never changes" in shell(run, "UPDATE OR REPLACE games SET rowid = 9")
        assert [game.work_id for game in GameStore(run).iter_waiting()] == ["a"]
        GameStore(run).judge([(1, "bad")])
        assert "who put it there" in shell(run, "UPDATE games SET quarantined_by = NULL")
    assert (tmp_path / "run" / "games.db.format-2").is_file()


def test_looking_at_an_older_run_leaves_it_as_it_is(tmp_path: Path) -> None:
    old_run(tmp_path / "run", 4)
    (found,) = find([tmp_path / "run"])
    assert isinstance(found, Found)
    assert (found.config, found.games, found.waiting, found.quarantined) == (CONFIG, 6, 1, 1)
    with closing(sqlite3.connect(tmp_path / "run" / "games.db")) as connection, connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_kill_9_while_it_is_brought_up_changes_nothing(tmp_path: Path) -> None:
    old_run(tmp_path / "run", 4)
    before = looked(tmp_path / "run" / "games.db")
    code = """
import os, signal, sys
from ringrift.store import RunDirectory, run, schema
calls = []
def dying(record, column):
    calls.append(record)
    if len(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return schema.FUNCTIONS["ringrift_told"](record, column)
run.FUNCTIONS = {**schema.FUNCTIONS, "ringrift_told": dying}
RunDirectory.open(sys.argv[1])
"""
    for call in (1, 20):
        died = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run"), str(call)], check=False)
        assert died.returncode == -9
        assert looked(tmp_path / "run" / "games.db") == before
    with RunDirectory.open(tmp_path / "run") as run:
        assert GameStore(run).counts()[0].games == 5
    assert looked(tmp_path / "run" / "games.db.format-1") == before


# -- what statements may do


def shell(run: RunDirectory, statement: str) -> str:
    """What the shell of SQLite says to a statement; nothing where it was carried out."""
    path = str(run.path / "games.db")
    if SHELL:
        return subprocess.run([SHELL, path, statement], capture_output=True, text=True, check=False).stderr
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
    except sqlite3.Error as error:
        return str(error)
    return ""


MAKE_VALID = "UPDATE games SET state = 'valid', validated_by = 'me', evidence = '{evidence}' WHERE id = 1"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE games SET state = 'valid'", "ringrift_evidence"),
        (MAKE_VALID.format(evidence="0" * 32), "ringrift_evidence"),
        ("UPDATE games SET evidence = 'x', validated_by = 'y'", "ringrift_evidence"),
        ("INSERT INTO games SELECT * FROM games", "columns"),
        ("INSERT INTO games (work_id, config) VALUES ('x', 'square8_2p')", "no such function: ringrift_"),
        ("UPDATE OR REPLACE games SET record = x'00'", "never changes"),
        ("UPDATE games SET plies = 0", "never changes"),
        ("UPDATE games SET worker = 'somebody'", "never changes"),
        ("DELETE FROM games", "never deleted"),
        ("UPDATE games SET rowid = 9", "never changes"),
        ("UPDATE OR REPLACE games SET oid = 2 WHERE id = 1", "never changes"),
    ],
)
def test_statements_from_elsewhere_are_refused(run: RunDirectory, statement: str, said: str) -> None:
    GameStore(run).add(finished(0).to_bytes(), "a")
    assert said in shell(run, statement)
    assert [(game.work_id, game.record) for game in GameStore(run).iter_waiting()] == [("a", finished(0).to_bytes())]
    assert validate(run).valid == 1
    assert said in shell(run, statement)


@pytest.mark.parametrize(
    "lost", ["problem = NULL", "quarantined_at = NULL", "quarantined_by = NULL", "quarantined_by = ''"]
)
def test_a_quarantined_game_says_why_when_and_by_whom(run: RunDirectory, lost: str) -> None:
    GameStore(run).add(finished(0).to_bytes(), "a")
    GameStore(run).judge([(1, "bad")])
    assert re.search("CHECK|who put it there", shell(run, f"UPDATE games SET {lost}"))


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("plies", 0, "CHECK"),
        ("winner", 0, "CHECK"),
        ("reason", "it looked over", "CHECK"),
        ("validated_by", "host:1:ab", "CHECK"),
        ("record", finished(0).to_bytes()[:-1], "a whole record"),
        ("record", b"RRGAME", "a whole record"),
        ("evidence", "f" * 32, "only once another process"),
    ],
)
def test_no_game_is_valid_without_moves_a_true_end_and_a_judge(
    run: RunDirectory, column: str, value: Any, said: str
) -> None:
    """Not even for statements of this package, with the evidence that would fit."""
    record = finished(0)
    row = GameRow.of(record, record.to_bytes(), "a", Provenance("host:1:ab")).judged(None)
    bad = row._replace(**{column: value})
    if column != "evidence":
        bad = bad._replace(evidence=evidence(bad.record, str(bad.validated_by), bad.plies, bad.winner, bad.reason))
    with pytest.raises(sqlite3.IntegrityError, match=said):
        GameStore(run).add_judged([bad])
    assert GameStore(run).add_judged([row]) == [True]


def test_states_have_one_way(run: RunDirectory) -> None:
    store = GameStore(run)
    store.add(finished(0).to_bytes(), "a")
    validate(run)
    back = "UPDATE games SET state = 'received', validated_by = NULL, evidence = NULL"
    with pytest.raises(sqlite3.IntegrityError, match="a valid one valid"), run.database.transaction() as connection:
        connection.execute(back)


def test_counts_are_what_is_there(run: RunDirectory) -> None:
    store = GameStore(run)
    store.add_many([(finished(seed).to_bytes(), str(seed)) for seed in range(5)])
    store.judge([(5, "bad")])
    validate(run)
    export(run, CONFIG)
    store.add(finished(7).to_bytes(), "7")
    kept = {
        (row["config"], row["place"]): (row["games"], row["plies"])
        for row in run.database.rows("SELECT * FROM game_counts WHERE games > 0")
    }
    there = run.database.rows("SELECT config, place, count(*) AS games, sum(plies) AS plies FROM games GROUP BY 1, 2")
    assert kept == {(row["config"], row["place"]): (row["games"], row["plies"]) for row in there}
    assert {place for _, place in kept} == {"exported", "quarantined", "waiting"}
    assert store.flow(CONFIG).valid == 0
    assert json.loads(run.database.rows("SELECT engines FROM games")[0][0]) == ["random", "random"]


def test_a_run_that_is_only_read_is_not_brought_up(tmp_path: Path) -> None:
    old_run(tmp_path / "old", 2)
    before = (tmp_path / "old" / "games.db").read_bytes()
    for more in ((), ("--dry-run",)):
        done = CliRunner().invoke(app, ["data", "merge", str(tmp_path / "old"), "--run", str(tmp_path / "new"), *more])
        assert "games.db has format 1, which `ringrift data check DIR` brings up to 4" in str(done.exception)
    assert (tmp_path / "old" / "games.db").read_bytes() == before


@pytest.mark.parametrize("left", ["a log", "a journal"])
def test_merge_reads_what_a_killed_writer_left_and_leaves_it(tmp_path: Path, left: str) -> None:
    code = """
import os, signal, sqlite3, sys
from ringrift.store import GameStore, RunDirectory
run = RunDirectory.open(sys.argv[1])
if sys.argv[2] == "a log":
    GameStore(run).judge([(1, "last words")])
    os.kill(os.getpid(), signal.SIGKILL)
run.close()
connection = sqlite3.connect(sys.argv[1] + "/games.db", isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE half AS SELECT hex(randomblob(200000)) FROM games")
os.kill(os.getpid(), signal.SIGKILL)
"""
    with RunDirectory.create(tmp_path / "run") as run:
        GameStore(run).add_many([(finished(seed).to_bytes(), f"work/{seed}") for seed in range(3)])
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run"), left], check=False)
    assert killed.returncode == -signal.SIGKILL
    names = ("games.db", f"games.db-{'wal' if left == 'a log' else 'journal'}")
    before = [(tmp_path / "run" / name).read_bytes() for name in names]
    assert before[1]
    for more in (["--dry-run"], []):
        done = CliRunner().invoke(
            app, ["data", "merge", str(tmp_path / "run"), "--run", str(tmp_path / "new"), "--json", *more]
        )
        (report,) = json.loads(done.stdout)["runs"]
        assert (report["games"], report["merged"], report["quarantined"]) == (3, 3, 1 if left == "a log" else 0)
    assert [(tmp_path / "run" / name).read_bytes() for name in names] == before
    assert not list(Path(tempfile.gettempdir()).glob("ringrift-scratch-*/games.db"))


@pytest.mark.parametrize("database", ["games.db", "fabric.db"])
def test_a_database_with_other_tables_is_damaged(tmp_path: Path, database: str) -> None:
    RunDirectory.create(tmp_path / "run").close()
    table = "game_counts" if database == "games.db" else "jobs"
    with closing(sqlite3.connect(tmp_path / "run" / database)) as connection, connection:
        connection.executescript(
            f"DROP TABLE {table}; CREATE VIEW {table} AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1"
            " FROM n) SELECT 'square8_2p' AS config, 'valid' AS place, x AS games, x AS plies, 'queued' AS state FROM n"
        )
    with pytest.raises(CorruptBlob, match=rf"{database}: its (table|view|trigger|index) '\w+' is not that of format"):
        RunDirectory.open(tmp_path / "run")
    (found,) = find([tmp_path])
    assert isinstance(found, Unreadable) and "is not that of format" in found.reason
    done = CliRunner().invoke(app, ["data", "check", str(tmp_path / "run"), "--json"])
    assert done.exit_code == 1
    assert any("is not that of format" in str(one) for one in json.loads(done.stdout)["problems"])
