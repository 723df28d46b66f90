"""Validation: another process than the one that played a game plays it again from its moves alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ringrift import _core
from ringrift.errors import DataError, RingRiftError
from ringrift.fabric import Parcel
from ringrift.fabric.scratch import scratch
from ringrift.fabric.workers import process_name
from ringrift.rules import Record
from ringrift.store.games import GameStore, StoredGame
from ringrift.store.quality import score
from ringrift.store.run import RunDirectory
from ringrift.store.schema import content_id, evidence

T = TypeVar("T")
BATCH = 64  #: games judged in one transaction
CARRIED = 4096  #: games in a parcel, so many that the start of a judge is little beside them
SERVE = "import sys; from ringrift.store.validate import serve; serve(*sys.argv[1:])"
#: Ends of the judging process that a game can be blamed for; running out of memory (SIGKILL) is none.
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)
COLUMNS = "config, plies, winner, reason, content, state, validated_by, evidence"  #: of a row, compared with its record


@dataclass(frozen=True)
class Judged:
    """Games as they were judged."""

    by: str
    """The process that did it; not the one that played them."""
    games: list[tuple[int, str | None, float | None]]
    """Each game's id, why it is not sound, and its quality if it is."""


@dataclass(frozen=True)
class Validated:
    """What one validation did."""

    valid: int
    quarantined: int


def validate(run: RunDirectory, progress: Callable[[int], object] = lambda _: None) -> Validated:
    """Judges every waiting game in a process of its own; `progress` gets the number of games done.

    Games that were judged stay judged whatever happens to either process. A game on which that process crashes, also
    when it judges that game alone, is quarantined.
    """
    store, valid, bad = GameStore(run), 0, 0
    with scratch() as place:
        while parcel := next(waiting(store), None):
            (file := place / "games").write_bytes(parcel.to_bytes())
            for judged in judge(file):
                quarantined = keep(store, judged)
                valid, bad = valid + len(judged.games) - quarantined, bad + quarantined
                progress(valid + bad)
    score_all(store)
    return Validated(valid, bad)


def waiting(store: GameStore) -> Iterator[Parcel]:
    """The games that nobody has judged yet."""
    for games in in_batches(store.iter_waiting(), CARRIED):
        yield parcel_of(store.run, games)


def parcel_of(run: RunDirectory, games: Sequence[StoredGame], **about: object) -> Parcel:
    """Games with what their rows say of them, for whoever has no database."""
    query = f"SELECT id, {COLUMNS} FROM games WHERE id IN (SELECT value FROM json_each(?))"
    rows = {id_: told for id_, *told in run.database.rows(query, [json.dumps([game.id for game in games])])}
    told = [(game.id, game.work_id, rows[game.id]) for game in games]
    return Parcel({"games": told, **about}, [game.record for game in games])


def games_in(parcel: Parcel) -> list[tuple[StoredGame, list[Any]]]:
    """The games of a parcel that `parcel_of` made, each with its row."""
    return [
        (StoredGame(id_, work_id, record), row)
        for (id_, work_id, row), record in zip(parcel.about["games"], parcel.parts, strict=True)
    ]


def judge(path: Path) -> Iterator[Judged]:
    """Judges the games of the parcel in a file, in a process of its own, some at a time.

    Raises `DataError` where that process cannot be started, or gave up.
    """
    done, batch = 0, BATCH
    while True:
        before, begun, crash = done, 0, None
        for said in _served(path, done, batch):
            if isinstance(said, str):
                crash = said
            elif isinstance(said, int):
                begun = said
            else:
                done += len(said.games)
                yield said
        if crash is None:
            return
        if not begun and done == before:
            raise DataError(f"validating games crashes with {crash} before it looks at a game: no game is to blame")
        if batch == 1 and done == before:
            yield Judged(process_name(), [(begun, f"the process that judged it crashed with {crash}", None)])
            done, batch = done + 1, BATCH
        else:
            batch = 1


def _served(path: Path, start: int, batch: int) -> Iterator[int | str | Judged]:
    """What the other process says: the first game of the batch that it begins, what it has judged; at last the signal
    of its crash, if that was its end. Raises `DataError` where it gave up."""
    command = [sys.executable, "-c", SERVE, str(path), str(start), str(batch)]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:  # a pipe that nobody reads would fill up
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as server:
            try:
                for line in server.stdout or ():
                    said = json.loads(line)
                    yield said if isinstance(said, int) else Judged(**said)
            except BaseException:
                server.terminate()
                raise
        errors.seek(0)
        last = (errors.read().strip().splitlines() or ["it said nothing"])[-1]
    if -server.returncode in CRASHES:
        yield signal.Signals(-server.returncode).name
    elif server.returncode != 0:
        raise DataError(f"validating games stopped with status {server.returncode}: {last}")


def serve(path: str, start: str, batch: str) -> None:
    """The other process: of each batch, prints the first game that it is about to judge, and then the judgements."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent too, which then ends this process
    games = games_in(Parcel.from_bytes(Path(path).read_bytes()))[int(start) :]
    for some in in_batches(iter(games), int(batch)):
        print(some[0][0].id, flush=True)
        judged = [(game, problem(game) or row_problem(game, row)) for game, row in some]
        scored = [(game.id, why, None if why else score(game.read())) for game, why in judged]
        print(json.dumps({"by": process_name(), "games": scored}), flush=True)


def keep(store: GameStore, judged: Judged) -> int:
    """Stores what was judged; how many games it quarantined."""
    scores = {game: quality for game, _, quality in judged.games if quality is not None}
    return store.judge([(game, why) for game, why, _ in judged.games], scores, judged.by)


def score_all(store: GameStore) -> None:
    """Scores the valid games of before scores were kept."""
    while unscored := store.unscored():
        store.rate({game.id: score(game.read()) for game in unscored})


def game_problem(run: RunDirectory, game: StoredGame) -> str | None:
    """Why a game that is not quarantined is not sound, its row included; none if it is."""
    if why := problem(game):
        return why
    return row_problem(game, run.database.rows(f"SELECT {COLUMNS} FROM games WHERE id = ?", [game.id])[0])


def row_problem(game: StoredGame, row: Iterable[object]) -> str | None:
    """What a row says otherwise than the record of its game; none where nothing."""
    record = game.read()
    *told, state, judge, proof = row
    if told != [record.config, len(record.moves), record.winner, record.reason, content_id(record)]:
        return f"its row {told} differs from its record"
    if state == "valid" and proof != evidence(game.record, str(judge), len(record.moves), record.winner, record.reason):
        return "it is valid without the evidence of a judge: its row was changed by hand"
    return None


def problem(game: StoredGame) -> str | None:
    """Why a game is not sound; none if it is."""
    try:
        return _problem(game.read())
    except RingRiftError as error:
        return str(error)


def _problem(record: Record) -> str | None:
    record.replay()
    if not record.winner:
        return f"the game is not over after its {len(record.moves)} plies"
    if (search := record.search) is None:
        return None
    lengths = dict(zip(search.ply.tolist(), np.diff(search.offsets).tolist(), strict=True))
    for ply, playable in zip(*map(np.ndarray.tolist, _core.decisions(record._first(), record.moves)), strict=True):
        if (length := lengths.pop(ply, None)) not in (None, playable):
            return f"ply {ply} has {playable} playable moves and a policy over {length}"
    return f"it has policies for plies {sorted(lengths)}, where nothing was decided" if lengths else None


def in_batches(games: Iterator[T], size: int) -> Iterator[list[T]]:
    """So many at a time."""
    while batch := list(islice(games, size)):
        yield batch
