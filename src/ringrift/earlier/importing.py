"""`ringrift data import`: games of the earlier service, played again move by move, into a run.

A game is valid only if every move is legal, the right seat makes it, and the end is the one that its file tells; else
it is quarantined with the reason, up to the move that differs. Games that the earlier service ended within a turn are
valid with a reason that begins with `early_`. Work ids are made from content: what is there is not added again, so an
import that was killed is simply repeated.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from ringrift._core import push_recorded
from ringrift.earlier.games import (
    EarlierDatabase,
    Recorded,
    Refused,
    document,
    game_chunks,
    kind_of,
    read_game,
    unix_time,
    unpacked,
    why_not,
)
from ringrift.errors import CorruptBlob, DataError, IllegalMove, InvalidNotation, RingRiftError, RulesError
from ringrift.fabric.scratch import scratch
from ringrift.rules import Game, Record, config_info
from ringrift.rules.record import EARLY, early_outcome
from ringrift.store import quality
from ringrift.store.far_ls import walk
from ringrift.store.games import GameRow, GameStore
from ringrift.store.provenance import Provenance
from ringrift.store.schema import content_id
from ringrift.texts import shown
from ringrift.wire.moves import PLAIN, plain_keys, told, wire_meanings, wire_texts

AHEAD = 3  #: chunks in work or waiting, for each process
TRIES = 256  #: ways tried through a game that does not say which stacks paid for its slides
#: Texts of recorded moves by type, of their fields; types that are not here need more to be told.
PATTERNS = PLAIN | {
    "place_ring": "P{to}*{placementCount}",
    "move_stack": "M{from}>{to}",
    "overtaking_capture": "C{from}x{captureTarget}>{to}",
    "continue_capture_segment": "K{from}x{captureTarget}>{to}",
    "process_line": "L{formedLines}{collapsedMarkers}{collapsePositions}",  # the latter two are null
    "choose_line_option": "O{formedLines}:{collapsedMarkers}",
    "choose_territory_option": "T{disconnectedRegions}",
    "eliminate_rings_from_stack": "E{to}:{eliminationContext}",
    "forced_elimination": "F{to}",
}
GIVEN_UP = ("resign", "timeout", "abandon")
#: Words of the earlier service for how a game ended, by what they contain.
ENDS = {
    "ring": "ring_elimination",
    "territory": "territory_control",
    "lps": "last_player",
    "last_player": "last_player",
}


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


class Judged(NamedTuple):
    """A game as it is to be stored, or why nothing can be."""

    name: str
    row: GameRow | None
    problem: str | None
    unfinished: bool = False
    """every move is right, and the file does not say either that the game is over"""


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


def judge(game: Recorded | Refused | Record, file: str) -> Judged:
    """Plays a game again and compares its end with what its file, of this name, tells."""
    if isinstance(game, Refused):
        return Judged(game.id, None, game.reason)
    try:
        if isinstance(game, Record):
            return _judge_record(game, file)
        return _judge(game, file)
    except RingRiftError as error:  # of a start or of options that cannot be
        return Judged(game.id if isinstance(game, Recorded) else "", None, str(error))


def _judge_record(record: Record, file: str) -> Judged:
    record.replay()
    problem = None if record.winner else f"the game is not over after its {len(record.moves)} plies"
    return _judged(record.final_hash, record, problem, file, unfinished=not record.winner)


def _judge(recorded: Recorded, file: str) -> Judged:
    record, problem, unfinished = play_again(recorded, file)
    return _judged(recorded.id, record, problem, file, unfinished=unfinished)


def play_again(recorded: Recorded, file: str) -> tuple[Record, str | None, bool]:
    """The record of a game, played again as far as it goes; what is wrong with it, or none; and whether that is only
    that it does not claim to be over. Raises `RingRiftError` for a start or options that cannot be."""
    game = Game.parse(recorded.start) if recorded.start else Game(recorded.config, recorded.options)
    replay = _Replay(game, recorded)
    problem = replay.play(0)
    outcome = game.outcome() or early_outcome(game)
    about = {"file": file, "game": recorded.id, **(recorded.about or {})}
    about |= {name: value for name, value in (("end", recorded.end), ("filled", replay.filled)) if value}
    seats = config_info(recorded.config).players
    players = (*recorded.players, *("",) * seats)[:seats]
    record = Record.from_game(game, seed=recorded.seed, players=players, meta=about)
    if outcome is not None and not game.is_over:
        record = replace(record, winner=outcome.winner, reason=outcome.reason, ranks=outcome.ranks)
    cut = problem is not None and outcome is None and problem == _end_problem(recorded, game)
    return record, problem, cut and not recorded.claims_end


def _judged(name: str, record: Record, problem: str | None, file: str, *, unfinished: bool = False) -> Judged:
    content = content_id(record)
    if problem is not None:  # what does not replay is told apart by its name
        record = replace(record, winner=0, reason="", ranks=()) if record.reason.startswith(EARLY) else record
        content = hashlib.sha256(f"{content}/{name}/{problem}".encode()).hexdigest()[:32]
    work_id = f"import/{record.config}/{content}"
    made, about = Provenance(f"import:{file}"), record.meta
    row = GameRow.of(
        record, record.to_bytes(), work_id, made, created=unix_time(about.get("created")) or 0.0,
        origin={"file": file, "id": str(about.get("game", name))},
    )  # fmt: skip
    return Judged(name, row.judged(problem, None if problem else quality.score(record)), problem, unfinished)


def _end_problem(recorded: Recorded, game: Game) -> str | None:
    """Why the end is not the one that the file tells; none if it is."""
    outcome = game.outcome() or early_outcome(game)
    plies, said = game.ply, f"seat {recorded.winner} won" if recorded.winner else "it is over"
    if recorded.end:
        said += f" ({recorded.end})"
    if outcome is None:
        missing = f" of the {recorded.count} moves that it counts" if recorded.count > plies else ""
        told_over = f", although its file says that {said}" if recorded.claims_end else ""
        return f"the game is not over after its {plies} plies{missing}{told_over}"
    if recorded.count > len(recorded.moves):
        return f"its file counts {recorded.count} moves and has {len(recorded.moves)}"
    if recorded.winner not in (0, outcome.winner):
        return f"seat {outcome.winner} won by {outcome.reason} after {plies} plies, but its file says that {said}"
    word = re.sub(r"\W+", "_", recorded.end.lower())
    named = next((end for part, end in ENDS.items() if part in word), "")
    reason = outcome.reason.removeprefix(EARLY).replace("lps_rounds", "last_player_standing")
    if named and outcome.detail == "threshold" and not reason.startswith(named):
        return f"seat {outcome.winner} won by {outcome.reason} after {plies} plies, but its file says {recorded.end}"
    for seat, (finals, score) in enumerate(zip(recorded.finals, game.scores(), strict=False), start=1):
        names = ("eliminated rings", "territory", "rings in hand")
        for what, theirs, ours in zip(names, finals, (score.elim, score.terr, score.hand), strict=True):
            if theirs is not None and theirs != ours:
                return f"seat {seat} ends with {ours} as its {what}, but its file says {theirs}"
    return None


NO_ACTION = ("NP", "NM", "NL", "NT")


class _Replay:
    """Plays recorded moves on a game."""

    def __init__(self, game: Game, recorded: Recorded) -> None:
        self.game, self.recorded, self.moves = game, recorded, list(recorded.moves)
        self.filled = 0
        """moves without action that were played though not recorded"""
        self._tries = TRIES

    def play(self, at: int) -> str | None:
        """Plays the moves from that index on; what is wrong, or none. The game stays before the move that is wrong."""
        game = self.game
        while (index := push_recorded(game, self.moves, at, PATTERNS)) < len(self.moves):
            at = index + 1
            try:
                found = self._meanings(index)
            except RulesError as error:
                again: list[list[int]] = []
                if not (self._fillable and self._fill(lambda: self._means(index, again))):  # noqa: B023
                    return f"ply {game.ply}: {error}"
                found = again[0]
            if len(found) > 1:
                return self._try(found, index)
            game._push(found[0])
        if self.recorded.problem:
            return self.recorded.problem
        if not game.is_over and self._fillable:
            self._fill(lambda: game.is_over)  # what ends the last turn
        return _end_problem(self.recorded, game)

    def _try(self, moves: Sequence[int], index: int) -> str | None:
        """Goes on with each of the moves in turn, until the rest can be played and ends as it should."""
        ply, filled, problem = self.game.ply, self.filled, None
        for bits in moves:
            if self._tries == 0:
                break
            self._tries -= 1
            while self.game.ply > ply:
                self.game._pop()
            self.filled = filled
            self.game._push(bits)
            problem = self.play(index + 1)
            if problem is None:
                return None
        return problem or f"ply {ply}: it does not say which stacks pay, and {TRIES} ways were tried"

    def _meanings(self, index: int) -> list[int]:
        """The playable moves, packed, that a recorded one can mean. Raises RulesError where there is none."""
        game, (seat, move, *more) = self.game, self.moves[index]
        if isinstance(move, bytes) or (isinstance(move, str) and move.lstrip()[:1] in ("{", '"')):
            try:
                move = document(move, "move")
            except ValueError as error:
                raise InvalidNotation(str(error)) from error
        if (outcome := game.outcome()) is not None:
            left = len(self.moves) - index
            raise IllegalMove(f"seat {outcome.winner} had won by {outcome.reason}, but {left} more moves follow")
        if isinstance(move, str):
            return [game._parse_move(move)]
        if not isinstance(move, Mapping):
            raise InvalidNotation(f"{shown(move)} is not a move")
        if more and more[0] and not {"type", "movetype"} & plain_keys(move).keys():
            move = {**move, "type": more[0]}
        about = plain_keys(move)
        if (kind := str(about.get("type", about.get("movetype")))) in GIVEN_UP:
            raise IllegalMove(f"the game was broken off ({kind})")
        for one in (seat, about.get("player")):
            if one is not None and str(one) != str(game.to_move):
                raise IllegalMove(f"{told(move)} is of seat {shown(one)}, but seat {game.to_move} is to move")
        if len(texts := wire_texts(move)) == 1:
            try:
                return [game._parse_move(texts[0])]
            except IllegalMove:
                pass  # said below in other words
        return [game._parse_move(text) for text in wire_meanings(move, game._texts(True))]

    def _means(self, index: int, found: list[list[int]]) -> bool:
        try:
            found.append(self._meanings(index))
        except RulesError:
            return False
        return True

    @cached_property
    def _fillable(self) -> bool:
        """True for a recording without the moves that only say that nothing can be done: they are forced."""
        return not any(given in NO_ACTION or re.search(r"\bno_\w+_action", str(given)) for _, given, *_ in self.moves)

    def _fill(self, until: Callable[[], bool]) -> bool:
        """Plays moves without action while they are the only ones, until something holds; none where it never does."""
        ply = self.game.ply
        while (texts := self.game._texts(True)) and texts[0] in NO_ACTION and self.game.ply - ply < 16:
            self.game._push_text(texts[0])
            if until():
                self.filled += self.game.ply - ply
                return True
        while self.game.ply > ply:
            self.game._pop()
        return False
