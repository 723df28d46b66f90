"""`ringrift data merge`: the games of several runs in one, each once, whatever it was called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ringrift.errors import DataError
from ringrift.store.games import PAGE, GameRow, GameStore, StoredGame
from ringrift.store.quality import TWIN
from ringrift.store.run import RunDirectory
from ringrift.store.validate import game_problem

FOREIGN = ("import/", "merged/")  #: what work ids that are the same in every run begin with


@dataclass
class MergeReport:
    """What came of one run."""

    path: str
    games: int = 0
    merged: int = 0
    """new in the target"""
    known: int = 0
    """already there"""
    quarantined: int = 0
    """of the new ones: quarantined there as here"""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(work id, reason) of games that are unsound, taken back, or quarantined in one of the runs only"""


def merge(
    target: RunDirectory,
    sources: Sequence[RunDirectory],
    *,
    strict: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[MergeReport]:
    """Adds the games of other runs to the target, with who played and who validated them.

    Every game is replayed. With `strict` nothing at all is merged where a game would be left out. Repeated, or after
    being killed, it adds what is missing. `progress` gets games done and in total.

    Raises `DataError` for a run merged into itself, and with `strict` for the first game that would be left out.
    """
    for source in sources:
        if source.identity == target.identity and source.path.resolve() == target.path.resolve():
            raise DataError(f"{source.path} is the run to merge into: name it only once")
    if strict and not dry_run:
        merge(target, sources, strict=True, dry_run=True, progress=progress)
    total = sum(row.games + row.quarantined for source in sources for row in GameStore(source).counts())
    states = {
        row["content"]: str(row["problem"] or "")
        for row in target.database.rows(
            "SELECT content, problem FROM games WHERE ifnull(problem, '') NOT LIKE ? ORDER BY state = 'valid', id",
            [f"{TWIN}%"],
        )
    }
    reports, done = [], 0
    for source in sources:
        report = MergeReport(str(source.path))
        reports.append(report)
        page: list[GameRow] = []
        for game, row, retraction in _games(source):
            report.games += 1
            taken = f"taken back by retraction {retraction}" if retraction else _taken(game, row, states, source)
            if isinstance(taken, str):
                if strict:
                    raise DataError(f"{source.path}, game {game.id} ({game.work_id}): {taken}; nothing was merged")
                report.left_out.append((game.work_id, taken))
            elif taken is None:
                report.known += 1
            else:
                page.append(taken)
            if len(page) == PAGE:
                _add(target, page, report, dry_run=dry_run)
                page = []
            progress(done := done + 1, total)
        _add(target, page, report, dry_run=dry_run)
    return reports


def _games(run: RunDirectory) -> Iterator[tuple[StoredGame, GameRow, int | None]]:
    """Every game of a run with its row, and by which retraction it is taken back."""
    last = 0
    columns = f"id, retraction, {', '.join(GameRow._fields)}"
    while rows := run.database.rows(f"SELECT {columns} FROM games WHERE id > ? ORDER BY id LIMIT {PAGE}", [last]):
        for row in rows:
            yield StoredGame(row["id"], row["work_id"], row["record"]), GameRow(*tuple(row)[2:]), row["retraction"]
        last = rows[-1]["id"]


def _taken(game: StoredGame, row: GameRow, states: dict[str, str], source: RunDirectory) -> GameRow | str | None:
    """The row that the target gets; none for a game that it has, or will have from this run; or why the game is left
    out."""
    if row.problem is None and (unsound := game_problem(source, game)) is not None:
        return unsound
    if row.problem is not None and row.problem.startswith(TWIN):
        return None
    other = states.get(row.content)
    if other is not None and (not other) == (row.problem is None):
        return None
    if other is not None:
        where = "here" if row.problem is not None else "in the run to merge into"
        return f"the same game is quarantined {where} only: {row.problem or other}"
    name = row.work_id if row.work_id.startswith(FOREIGN) else f"merged/{source.identity}/{row.work_id}"
    states[row.content] = row.problem or ""
    return row._replace(work_id=name)


def _add(target: RunDirectory, page: list[GameRow], report: MergeReport, *, dry_run: bool) -> None:
    new = [True] * len(page) if dry_run else GameStore(target).add_judged(page)
    report.merged += sum(new)
    report.known += len(page) - sum(new)
    report.quarantined += sum(row.problem is not None for row, is_new in zip(page, new, strict=True) if is_new)
