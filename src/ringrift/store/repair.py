"""`ringrift data repair`: the registry of a run, its jobs and its events, as far as they can be had again.

What is promoted is also known to `games.db`. A `fabric.db` that is missing or unsound is set aside and made again: with
the rows of the old one that are as they were written, and with the promotions.
"""

from __future__ import annotations

import fcntl
import os
from itertools import count
from pathlib import Path

from ringrift.errors import CorruptBlob, DataError, JobError
from ringrift.fabric import Database, LocalFabric
from ringrift.fabric.local import SCHEMA, SUMMED
from ringrift.fabric.sums import MASTER, SUM_FUNCTIONS, Summed, unsound
from ringrift.store.models import ModelStore
from ringrift.store.run import RunDirectory

NAME = "fabric.db"
BESIDE = ("", "-wal", "-shm", "-journal")  #: endings of the files of a database


def repair(path: Path) -> list[str]:
    """What was done to make `fabric.db` of a run whole. Raises `DataError` where `run.json` or `games.db` are not, and
    `JobError` while a process holds a lease of the run."""
    RunDirectory.identity_of(path)
    if missing := RunDirectory.missing(path / "games.db"):
        raise CorruptBlob(missing)
    done = []
    if why := _why_unsound(path):
        _check_unused(path)
        aside = _set_aside(path)
        fabric = LocalFabric(path)
        done.append(f"{path / NAME} was made again: {why}")
        try:
            if aside is not None:
                done += _taken_over(aside, fabric.database)
        finally:
            fabric.close()
    with RunDirectory.open(path) as run:
        return done + _promoted_again(run)


def _why_unsound(path: Path) -> str | None:
    if missing := RunDirectory.missing(path / NAME):
        return missing
    try:
        database = Database(path / NAME, SCHEMA, SUM_FUNCTIONS)
    except DataError as error:
        return str(error)
    try:
        database.check()
        for row, why in unsound(database, (*SUMMED, MASTER)):
            return f"{row}: {why}"
    except DataError as error:
        return str(error)
    finally:
        database.close()
    return None


def _check_unused(path: Path) -> None:
    for lock in (path / "locks").glob("*"):
        descriptor = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobError(f"{path} is in use by another process: stop it first") from None
        finally:
            os.close(descriptor)


def _set_aside(path: Path) -> Path | None:
    """Where the old database is now; none where there was none."""
    if not (path / NAME).exists():
        return None
    aside = next(place for number in count(1) if not (place := path / f"{NAME}.damaged-{number}").exists())
    for ending in BESIDE:
        if (part := path / f"{NAME}{ending}").exists():
            part.rename(f"{aside}{ending}")
    return aside


def _taken_over(aside: Path, new: Database) -> list[str]:
    """Copies the rows that are as they were written."""
    done = [f"the old one is {aside}"]
    try:
        old = Database(aside, SCHEMA, SUM_FUNCTIONS)
    except DataError as error:
        return [*done, f"nothing of it can be had: {error}"]
    for table in SUMMED:
        try:
            done.append(f"{table.table}: {_copied(table, old, new)} rows taken over")
        except DataError as error:
            done.append(f"{table.table}: nothing taken over: {error}")
    old.close()
    return done


def _copied(table: Summed, old: Database, new: Database) -> int:
    columns = f"{table.columns} {table.raw}".split()
    names = ", ".join(columns)
    kept = ", ".join(f"{table.table}.{name}" for name in columns)
    rows = old.rows(f"SELECT {kept} {table.joined()} WHERE {table.problem()} IS NULL")
    with new.transaction() as connection:
        if rows:
            connection.execute(f"DELETE FROM {table.table}")
            places = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table.table} ({names}) VALUES ({places})", map(tuple, rows))
        if table.counts:
            last = old.rows("SELECT seq FROM sqlite_sequence WHERE name = ?", [table.table])
            told = old.rows("SELECT sum FROM sums WHERE of = ?", [f"last of {table.table}"])
            if last and told and last[0][0] == told[0][0]:  # numbers of entries that were purged never come again
                connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", [table.table])
                connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", [table.table, last[0][0]])
                connection.execute(
                    "INSERT INTO sums VALUES (?, 0, ?) ON CONFLICT (of, key) DO UPDATE SET sum = excluded.sum",
                    [f"last of {table.table}", last[0][0]],
                )
    return len(rows)


def _promoted_again(run: RunDirectory) -> list[str]:
    models, done = ModelStore(run), []
    registry = run.fabric.registry
    assert isinstance(run.fabric, LocalFabric)
    for config, entry in models.last_known().items():
        if not _is_promoted(models, config, entry.revision):
            if not run.fabric.registry.restore(entry):
                registry.set(entry.key, entry.value)
            done.append(f"{entry.value['model']} is promoted for {config} again")
    return done


def _is_promoted(models: ModelStore, config: str, revision: int) -> bool:
    """Whether the registry has that promotion, or a later one."""
    try:
        return models.promoted(config) is not None and models.revision(config) >= revision
    except CorruptBlob:
        return False
