"""Bits that change in the databases of a run, and databases that are lost: found, named, and mended where it can be."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from stored import CONFIG, finished
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.errors import CorruptBlob, FormatTooNew, JobError
from ringrift.fabric import Database, Job, LogEntry, local
from ringrift.store import GameStore, ModelStore, RunDirectory, schema
from ringrift.store.check import Problem, check
from ringrift.store.provenance import retract
from ringrift.store.repair import repair
from ringrift.store.samples import export
from ringrift.store.validate import validate

DATABASES = ("games.db", "fabric.db")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has something of everything, closed."""
    path = tmp_path_factory.mktemp("made") / "run"
    with RunDirectory.create(path) as run:
        store, models = GameStore(run), ModelStore(run)
        store.add_many([(finished(seed).to_bytes(), f"work/{seed}") for seed in range(9)])
        store.judge([(9, "not sound")])
        validate(run)
        retract(run, worker="", games=[1], reason="bad")
        export(run, CONFIG)
        store.add(finished(10).to_bytes(), "work/10")
        for number in range(2):
            one = models.register(CONFIG, run.fabric.blobs.put(b"weights %d" % number, ".bin"), None, {"x": number})
            models.promote(one, over=models.promoted(CONFIG), evidence={"by": "test"})
        run.fabric.registry.set("settings/none", {"x": 1})
        run.fabric.registry.set("node/a", {"x": 1}, ttl=60.0)
        run.fabric.jobs.put([Job(f"export/{i}", "export", CONFIG, {"x": i}) for i in range(3)])
        run.fabric.log.append([LogEntry("Tried", {"x": i}, f"e{i}", CONFIG) for i in range(3)])
        run.fabric.jobs.claim("me", {})
        with run.loop_lease():
            pass
    return path


@pytest.fixture
def directory(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def problems(path: Path) -> list[Problem]:
    run, wrong = RunDirectory.open_parts(path)
    with run:
        return [*(Problem(*one) for one in wrong.items()), *check(run)]


def told(path: Path) -> set[str]:
    return {problem.what for problem in problems(path)}


def content(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [f"{connection.execute('PRAGMA user_version').fetchone()}", *connection.iterdump()]


@pytest.mark.parametrize("name", DATABASES)
def test_a_changed_bit_is_found_unless_it_carries_nothing(directory: Path, name: str) -> None:
    file, rng, found, before = directory / name, np.random.default_rng(5), 0, told(directory)
    good, whole = file.read_bytes(), content(file)
    for _ in range(60):
        byte, bit = int(rng.integers(len(good))), int(rng.integers(8))
        file.write_bytes(good[:byte] + bytes([good[byte] ^ 1 << bit]) + good[byte + 1 :])
        if told(directory) - before:
            found += 1
        else:
            assert content(file) == whole, f"bit {bit} of byte {byte}"
        for ending in ("-wal", "-shm"):
            (directory / f"{name}{ending}").unlink(missing_ok=True)
    assert found > 5


def forged(file: Path, *statements: str, version: int | None = None) -> None:
    """Changes a closed database as no damage to its structure would show: without its triggers, which come back."""
    with closing(sqlite3.connect(file)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)
        if version is not None:
            connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()


@pytest.mark.parametrize(
    ("name", "row", "statement"),
    [
        ("fabric.db", "registry settings/none", "UPDATE registry SET value = '{\"x\": 2}' WHERE key = 'settings/none'"),
        ("fabric.db", "registry settings/none", "UPDATE registry SET value = '{\"x\"' WHERE key = 'settings/none'"),
        ("fabric.db", "log 3", "UPDATE log SET at = at + 1e-6 WHERE sequence = 3"),
        ("fabric.db", "log 3", "DELETE FROM log WHERE sequence = 3"),
        ("fabric.db", "jobs 2", "UPDATE jobs SET error = CAST(x'ff' AS TEXT) WHERE number = 2"),
        ("fabric.db", "leases loop", "UPDATE leases SET fence = 7"),
        ("fabric.db", "revision 1", "UPDATE revision SET last = 1"),
        ("fabric.db", "the last number of log", "UPDATE sqlite_sequence SET seq = 9 WHERE name = 'log'"),
        ("games.db", "game 9", "UPDATE games SET problem = 'sound' WHERE id = 9"),
        ("games.db", "game 4", "UPDATE games SET work_id = CAST(x'80' AS TEXT) WHERE id = 4"),
        ("games.db", "game 4", "UPDATE games SET quality = quality / 2 WHERE id = 4"),
        ("games.db", "retractions 1", "UPDATE retractions SET undone = 1"),
        (
            "games.db",
            f"promotions {CONFIG}/2",
            "UPDATE promotions SET value = replace(value, 'test', 'rest') WHERE revision = 2",
        ),
        (
            "games.db",
            "sqlite_master index games_by_model",
            "UPDATE sqlite_master SET sql = sql || ' ' WHERE name = 'games_by_model'",
        ),
    ],
)
def test_a_changed_row_is_named(directory: Path, name: str, row: str, statement: str) -> None:
    before = told(directory)
    forged(directory / name, statement)
    found = problems(directory)
    what = row if row.startswith("game ") else f"{name}, {row}"
    assert any(one.startswith(what) for one in {problem.what for problem in found} - before)
    assert sum(problem.what.startswith("game ") for problem in found) <= 1  # the others were looked at


def told_by(*arguments: object) -> tuple[int, str]:
    """Status and output of a command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.output


def lost(directory: Path, name: str, how: str) -> None:
    for ending in ("-wal", "-shm"):
        (directory / f"{name}{ending}").unlink(missing_ok=True)
    (directory / name).unlink()
    if how != "missing":
        (directory / name).write_bytes(b"" if how == "empty" else b"SQLite format 3\0" + bytes(range(256)) * 20)


@pytest.mark.parametrize("how", ["missing", "empty", "damaged"])
@pytest.mark.parametrize("name", DATABASES)
def test_a_lost_database_is_found_and_never_made_anew(directory: Path, name: str, how: str) -> None:
    lost(directory, name, how)
    with pytest.raises(CorruptBlob, match=name.replace(".", r"\.")):
        RunDirectory.open(directory)
    assert name in told(directory)
    status, said = told_by("data", "check", directory)
    assert (status, str(directory / name) in said) == (1, True)
    assert (directory / name).exists() == (how != "missing")


@pytest.mark.parametrize("how", ["missing", "empty", "damaged", "one row", "older"])
def test_repair_promotes_what_was_promoted(directory: Path, tmp_path: Path, how: str) -> None:
    before = told(directory)
    with RunDirectory.open(directory) as run:
        history, best = ModelStore(run).history(CONFIG), ModelStore(run).promoted(CONFIG)
        last = run.fabric.log.last()
        if how == "older":
            shutil.copytree(directory, tmp_path / "older")
            first, second = ModelStore(run).ls()
            ModelStore(run).rollback(CONFIG, evidence={})
            history, best = ModelStore(run).history(CONFIG), first.id
            assert best != second.id
    if how == "older":
        lost(directory, "fabric.db", "missing")
        with RunDirectory.open(tmp_path / "older") as run:
            run.fabric.registry.set("x", {})  # the revision of what was lost is taken
        shutil.copy(tmp_path / "older" / "fabric.db", directory / "fabric.db")
        assert f"promoted model of {CONFIG}" in told(directory) - before
    elif how == "one row":
        forged(directory / "fabric.db", f"UPDATE registry SET value = '{{}}' WHERE key = 'promoted/{CONFIG}'")
        assert told_by("models", "ls", "--run", directory)[0] == 2
    else:
        lost(directory, "fabric.db", how)
    status, said = told_by("data", "repair", directory)
    assert (status, f"{best} is promoted for {CONFIG} again" in said) == (0, True)
    with RunDirectory.open(directory) as run:
        models = ModelStore(run)
        assert models.promoted(CONFIG) == best
        again = models.history(CONFIG)
        assert again[: len(history)] == history
        if how == "one row":
            assert [job.id for job in run.fabric.jobs.ls()] == ["export/2", "export/1", "export/0"]
            assert run.fabric.log.last() == last
            entry = run.fabric.registry.get("settings/none")
            assert entry is not None
            assert entry.value == {"x": 1}
        models.promote(models.ls()[how != "older"].id, over=best)
        run.fabric.jobs.put([Job("export/9", "export", CONFIG)])
        run.fabric.log.append([LogEntry("Tried", {}, "e9", CONFIG)])
    assert told(directory) == before
    assert "nothing to repair" in told_by("data", "repair", directory)[1]


def test_a_run_in_use_is_not_repaired(directory: Path) -> None:
    with RunDirectory.open(directory) as run, run.loop_lease():
        forged(directory / "fabric.db", "UPDATE revision SET last = 99")
        with pytest.raises(JobError, match="in use by another process"):
            repair(directory)


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("version", [0, 1, 2, 3, 99, -1, 2**31 - 1])
def test_a_forged_format_is_a_sentence(directory: Path, name: str, version: int) -> None:
    if name == "fabric.db" and version == 3:
        version = 4
    forged(directory / name, version=version)
    with pytest.raises((CorruptBlob, FormatTooNew), match=name.replace(".", r"\.")):
        RunDirectory.open(directory)
    status, said = told_by("data", "check", directory)
    assert (status, f"{name}: " in said) == (1, True)


def test_older_formats_get_sums_when_they_are_brought_up(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run").close()
    for name in DATABASES:
        lost(tmp_path / "run", name, "missing")
    games = Database(tmp_path / "run" / "games.db", {n: schema.SCHEMA[n] for n in (1, 2, 3)}, schema.FUNCTIONS)
    with games.transaction() as connection:
        connection.execute("INSERT INTO retractions VALUES (1, 2.5, 'a', '{}', 'c', NULL)")
    games.close()
    fabric = Database(tmp_path / "run" / "fabric.db", {n: local.SCHEMA[n] for n in (1, 2)})
    with fabric.transaction() as connection:
        connection.execute("INSERT INTO registry VALUES ('a', '{}', 1, NULL, '')")
        connection.execute("INSERT INTO log VALUES (7, 'a', 'b', 'c', NULL, 1, 'd', 0, '{}')")
    fabric.close()
    assert problems(tmp_path / "run") == []
    with RunDirectory.open(tmp_path / "run") as run:
        run.fabric.log.append([LogEntry("Tried", {}, "e")])
    assert problems(tmp_path / "run") == []
    forged(tmp_path / "run" / "games.db", "UPDATE retractions SET at = 2")
    forged(tmp_path / "run" / "fabric.db", "UPDATE log SET id = 'x' WHERE sequence = 7")
    assert told(tmp_path / "run") == {"games.db, retractions 1", "fabric.db, log 7"}
