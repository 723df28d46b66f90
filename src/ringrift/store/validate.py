"""Validation: another process than the one that played a game plays it again from its moves alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ringrift import _core
from ringrift.errors import DataError, RingRiftError
from ringrift.rules import Record
from ringrift.store.games import GameStore, StoredGame
from ringrift.store.quality import score
from ringrift.store.run import RunDirectory
from ringrift.store.schema import content_id, evidence

BATCH = 64  #: games judged in one transaction
SERVE = "import sys; from ringrift.store.validate import serve; serve(*sys.argv[1:])"
#: Ends of the judging process that a game can be blamed for; running out of memory (SIGKILL) is none.
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


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
    store, done, batch = GameStore(run), [0, 0], BATCH
    while next(store.iter_waiting(), None) is not None:
        before = list(done)

        def tell(valid: int, quarantined: int, before: list[int] = before) -> None:
            done[:] = before[0] + valid, before[1] + quarantined
            progress(sum(done))

        crash, begun = _judge(run, batch, tell)
        if crash is None:
            break
        if not begun and done == before:
            raise DataError(
                f"validating {run.path} crashes with {crash} before it looks at a game: no game is to blame"
            )
        if batch == 1 and done == before:
            done[1] += store.judge([(begun, f"the process that judged it crashed with {crash}")])
            batch = BATCH
        else:
            batch = 1
    while unscored := store.unscored():
        store.rate({game.id: score(game.read()) for game in unscored})
    return Validated(*done)


def _judge(run: RunDirectory, batch: int, tell: Callable[[int, int], object]) -> tuple[str | None, int]:
    """Runs the other process; the signal of its crash, or none, and the first game of the last batch that it began, or
    0. Raises `DataError` where it gave up."""
    begun = 0
    command = [sys.executable, "-c", SERVE, str(run.path), str(batch)]
    with tempfile.TemporaryFile("w+", errors="replace") as errors:  # a pipe that nobody reads would fill up
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as judge:
            try:
                for line in judge.stdout or ():
                    valid, quarantined, begun = map(int, line.split())
                    tell(valid, quarantined)
            except BaseException:
                judge.terminate()
                raise
        errors.seek(0)
        said = errors.read()
    if -judge.returncode in CRASHES:
        return signal.Signals(-judge.returncode).name, begun
    if judge.returncode != 0:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise DataError(f"validating {run.path} stopped with status {judge.returncode}: {last}")
    return None, begun


def serve(path: str, batch: str) -> None:
    """The other process: prints the numbers of valid and of quarantined games so far, and the first game of the batch
    that it is about to judge; 0 after the last one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent too, which then ends this process
    with RunDirectory.open(Path(path)) as run:
        store, valid, quarantined = GameStore(run), 0, 0
        for games in _batches(store.iter_waiting(), int(batch)):
            print(valid, quarantined, games[0].id, flush=True)
            judged = [(game.id, game_problem(run, game)) for game in games]
            sound = [game for game, (_, reason) in zip(games, judged, strict=True) if reason is None]
            bad = store.judge(judged, {game.id: score(game.read()) for game in sound})
            valid, quarantined = valid + len(judged) - bad, quarantined + bad
        print(valid, quarantined, 0, flush=True)


def game_problem(run: RunDirectory, game: StoredGame) -> str | None:
    """Why a game that is not quarantined is not sound, its row included; none if it is."""
    return problem(game) or _row_problem(run, game)


def _row_problem(run: RunDirectory, game: StoredGame) -> str | None:
    record = game.read()
    columns = "config, plies, winner, reason, content, state, validated_by, evidence"
    *told, state, judge, proof = run.database.rows(f"SELECT {columns} FROM games WHERE id = ?", [game.id])[0]
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


def _batches(games: Iterator[StoredGame], size: int) -> Iterator[list[StoredGame]]:
    while batch := list(islice(games, size)):
        yield batch
