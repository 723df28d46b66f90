"""`ringrift data import`: games of the earlier service, played again move by move, into a run.

What becomes of a game is said in `store.retold`. What is there is not added again, so an import that was killed is
simply repeated.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ringrift.earlier.games import EarlierDatabase, game_chunks, kind_of, read_game, unpacked, why_not
from ringrift.errors import CorruptBlob, DataError
from ringrift.fabric.scratch import scratch
from ringrift.rules.record import EARLY
from ringrift.store.far_ls import walk
from ringrift.store.games import GameStore
from ringrift.store.retold import Judged, judge

AHEAD = 3  #: chunks in work or waiting, for each process


@dataclass(frozen=True)
class Problem:
    """A game that was not imported as valid."""

    game: str
    reason: str


@dataclass
class FileReport:
    """What came of one file."""

    path: str
    games: int = 0
    imported: int = 0
    """new and valid"""
    early: int = 0
    """of them, ended within a turn"""
    known: int = 0
    """already there"""
    quarantined: int = 0
    """new, and not valid"""
    unfinished: int = 0
    """of them, games that were not played to their end"""
    refused: int = 0
    """of which nothing can be kept"""
    plies: int = 0
    """of all games that were read"""
    problems: list[Problem] = field(default_factory=list)
    """of the quarantined and refused ones"""
    error: str = ""
    """why the file was not read, or not to its end"""
    passed_over: str = ""
    """why it was not looked into"""

    @property
    def unread(self) -> bool:
        """It was to be read, and nothing could be kept of it, or not all of it was there."""
        return bool(self.error) or (not self.passed_over and self.refused == self.games)


def import_files(
    paths: Sequence[Path | FileReport],
    store: GameStore | None,
    *,
    processes: int = 1,
    dry_run: bool = False,
    strict: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[FileReport]:
    """Imports databases and files of JSON; a report of each, in their order, with those that are given.

    Without a store, or with `dry_run`, everything is read and judged, and nothing stored. With `strict` nothing at all
    is stored where a file cannot be read or a game is not valid. `progress` gets the games done and those found so far.

    Raises `DataError` with `strict` for the first such file or game.
    """
    if strict and not dry_run:
        import_files(paths, store, processes=processes, dry_run=True, strict=True, progress=progress)
    reports, seen, done, found = [], set[str](), 0, 0
    with ExitStack() as stack:
        into = stack.enter_context(scratch())
        pool = None
        if processes > 1:
            pool = stack.enter_context(ProcessPoolExecutor(processes, get_context("spawn")))
        for path in paths:
            if isinstance(path, FileReport):
                reports.append(path)
                _refuse(path, strict=strict)
                continue
            report = FileReport(str(path))
            reports.append(report)
            try:
                with unpacked(path, into, indexed=True) as source:
                    work, games, orphans = _work(path, source)
                    found += games
                    if orphans:
                        report.refused += orphans
                        report.problems.append(
                            Problem("", f"{orphans} games have moves, but no row in the table of games")
                        )
                    for judged in _carried_out(work, pool, processes * AHEAD):
                        _take(judged, store, seen, report, dry_run=dry_run)
                        done += len(judged)
                        progress(done, found)
            except DataError as error:
                report.error = str(error)
            except BrokenProcessPool as error:
                raise DataError(f"{path}: a process that read it ended; what was imported stays: repeat it") from error
            _refuse(report, strict=strict)
    return reports


def _refuse(report: FileReport, *, strict: bool) -> None:
    """Raises `DataError`, where that is asked for, for a file that was not read whole or has a game that is unsound."""
    if strict and report.error:
        raise DataError(f"{report.error}; nothing was imported")
    if strict and report.problems:
        one = report.problems[0]
        raise DataError(f"{report.path}, {one.game or 'moves'}: {one.reason}; nothing was imported")


def sources(places: Iterable[Path]) -> list[Path | FileReport]:
    """The files that are meant: each one named, and those in directories; a report of what is passed over there."""
    found: list[Path | FileReport] = []
    for place in places:
        if place.is_dir():
            found += _inside(place)
        elif place.exists():
            found.append(place)
        else:
            raise DataError(f"{place} does not exist: give databases (.db, .db.gz), JSON lines, or directories of them")
    return found


def _inside(place: Path) -> Iterator[Path | FileReport]:
    wrong: list[OSError] = []
    for directory, _, files in walk(place, wrong.append):
        for path in (directory / name for name in files):
            if is_source(path) or kind_of(path) == "database":
                yield path
            elif is_named(path) or not path.is_file():
                said = why_not(path) if path.is_file() else f"{path} is no file"
                yield FileReport(str(path), error=said)
            else:
                yield FileReport(str(path), passed_over="neither its name nor its beginning is one of a file of games")
    for error in wrong:
        yield FileReport(str(error.filename), error=f"{error.filename} cannot be read: {error.strerror}")


def is_source(path: Path) -> bool:
    """True for a file that can hold games of the earlier service."""
    return is_named(path) and kind_of(path) is not None


def is_named(path: Path) -> bool:
    """True for the name of a file of games."""
    names = [suffix for suffix in path.suffixes if suffix != ".gz"]
    return bool(names) and names[-1] in (".db", ".sqlite", ".sqlite3", ".jsonl", ".ndjson", ".json")


def _work(path: Path, source: Path) -> tuple[Iterator[Callable[[], list[Judged]]], int, int]:
    """The pieces of a file's work, how many games it has, and how many orphans."""
    match kind_of(source):
        case "database":
            database = EarlierDatabase(source, str(path))
            chunks, orphans = database.chunks(), database.orphans()
            database.close()
            token = secrets.token_hex(8)
            pieces = (partial(_judge_rows, source, str(path), token, chunk) for chunk in chunks)
            return iter(pieces), sum(map(len, chunks)), orphans
        case "json lines":
            counted = 0
            with suppress(CorruptBlob):  # what there is to its damage is read
                counted = sum(map(len, game_chunks(source)))
            return (partial(_judge_texts, str(path), chunk) for chunk in game_chunks(source)), counted, 0
    raise DataError(why_not(path))


def _carried_out(
    work: Iterator[Callable[[], list[Judged]]], pool: Executor | None, ahead: int
) -> Iterator[list[Judged]]:
    """The results in order, a few pieces ahead of the one that is asked for."""
    if pool is None:
        yield from (piece() for piece in work)
        return
    waiting: list[Future[list[Judged]]] = []
    try:
        for piece in work:
            waiting.append(pool.submit(piece))
            if len(waiting) >= ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def _take(judged: list[Judged], store: GameStore | None, seen: set[str], report: FileReport, *, dry_run: bool) -> None:
    """Stores what is new and counts it."""
    kept = [one for one in judged if one.row is not None]
    rows = [one.row for one in kept if one.row is not None]
    if store is not None and not dry_run:
        new = store.add_judged(rows)
    else:
        known = store.known([row.work_id for row in rows]) if store is not None else set()
        new = []
        for row in rows:
            new.append(row.work_id not in known and row.work_id not in seen)
            seen.add(row.work_id)
    report.games += len(judged)
    report.plies += sum(row.plies for row in rows)
    report.refused += len(judged) - len(kept)
    for one, row, is_new in zip(kept, rows, new, strict=True):
        report.known += not is_new
        report.imported += is_new and one.problem is None
        report.early += is_new and one.problem is None and row.reason.startswith(EARLY)
        report.quarantined += is_new and one.problem is not None
        report.unfinished += is_new and one.unfinished
    fresh = {id(one) for one, is_new in zip(kept, new, strict=True) if is_new}
    report.problems += [
        Problem(one.name, one.problem)
        for one in judged
        if one.problem is not None and (one.row is None or id(one) in fresh)
    ]


@lru_cache(1)
def _opened(source: Path, name: str, token: str) -> EarlierDatabase:  # noqa: ARG001
    """Stays open for all chunks of a file; `token` tells one import of it from the next."""
    return EarlierDatabase(source, name)


def _judge_rows(source: Path, name: str, token: str, ids: Sequence[Any]) -> list[Judged]:
    file = Path(name).name
    return [judge(game, file) for game in _opened(source, name, token).games(ids)]


def _judge_texts(name: str, games: Sequence[tuple[str, str]]) -> list[Judged]:
    file = Path(name).name
    return [judge(read_game(place, text, name), file) for place, text in games]
