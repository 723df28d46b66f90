"""What a person sees of stages and their results: bars with rates and times left, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from ringrift.evaluation import MatchResult, Pool
from ringrift.kernel.kind import Advance
from ringrift.pipeline.loop import Round


class PlainConsole(Console):
    """A console that shows texts as they are: brackets and colons in a name are its own, and no markup."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, markup=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """The reader of the output is gone: for the command line to answer, as anywhere else."""
        raise BrokenPipeError


def wide_console(*, stderr: bool = False, **options: Any) -> Console:
    """A console that keeps lines whole where they go to a file."""
    console = PlainConsole(stderr=stderr, **options)
    return console if console.is_terminal else PlainConsole(stderr=stderr, width=160, **options)


FULL_BAR, LEAST_BAR = 24, 4  #: cells


class Words(ProgressColumn):
    """The title of a task, or a field of it: what is cut where the figures need the room."""

    def __init__(self, name: str, column: Column, style: str = "") -> None:
        super().__init__(column)
        self._name, self._style = name, style

    def render(self, task: Task) -> Text:
        text = task.description if self._name == "description" else str(task.fields[self._name])
        return Text(text, style=self._style, no_wrap=True, overflow="ellipsis")


def whole_column() -> Column:
    """A column of figures, which are never cut."""
    return Column(no_wrap=True)


class FieldColumn(ProgressColumn):
    """A field of a task that holds figures."""

    def __init__(self, name: str) -> None:
        super().__init__(whole_column())
        self._name = name

    def render(self, task: Task) -> Text:
        return Text(str(task.fields[self._name]))


class RateColumn(ProgressColumn):
    """How many per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        digits = 0 if speed is None or speed >= 10 else 1
        return Text("" if speed is None else f"{speed:,.{digits}f}/s", style="progress.data.speed")


class Fitting(Progress):
    """Title, bar, how many of how many, the given figures and a remark, in a line of the terminal.

    Where it is too short for all, the bar shrinks first, then remark and title are cut; figures keep their room.
    """

    def __init__(self, *figures: ProgressColumn, console: Console) -> None:
        self._console, self._bar = console, BarColumn(FULL_BAR, table_column=whole_column())
        self._remark = Column()
        many = MofNCompleteColumn(table_column=whole_column())
        ends = Words("description", Column()), Words("remark", self._remark, "dim")
        super().__init__(ends[0], self._bar, many, *figures, ends[1], console=console)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        tasks = list(tasks)
        self._bar.bar_width, self._remark.max_width = FULL_BAR, None
        unbounded = self._console.options.update(max_width=1000)
        over = Measurement.get(self._console, unbounded, super().make_tasks_table(tasks)).maximum - self._console.width
        if over > 0:
            self._bar.bar_width = max(LEAST_BAR, FULL_BAR - over)
            remark = max((len(str(task.fields["remark"])) for task in tasks), default=0)
            self._remark.max_width = max(1, remark - max(0, over - FULL_BAR + LEAST_BAR))
        return super().make_tasks_table(tasks)


class Bars:
    """A `Show` on standard error."""

    def __init__(self) -> None:
        self.console = wide_console(stderr=True)

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Advance]:
        figures = (
            RateColumn(whole_column()), TimeElapsedColumn(whole_column()), TextColumn("left"),
            TimeRemainingColumn(table_column=whole_column()),
        )  # fmt: skip
        with Fitting(*figures, console=self.console) as progress:
            bar = progress.add_task(title, total=total, remark="")
            yield lambda done, remark: progress.update(bar, completed=done, remark=remark)


def rounds_table(rounds: Sequence[Round]) -> Table:
    """A row per round: what came of it."""
    opponents = list(dict.fromkeys(name for one in rounds for name in one.matches))
    title = f"{rounds[0].config}: share of games that each candidate won, and its interval" if rounds else ""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("round", "games", "samples", "loss", *(f"vs {name}" for name in opponents), "promoted"):
        table.add_column(column, justify="left" if column.startswith(("vs", "promoted")) else "right")
    for one in rounds:
        table.add_row(
            str(one.round),
            str(one.games),
            str(one.samples),
            f"{one.loss_before:.3f} → {one.loss_after:.3f}",
            *(score_text(one.matches.get(name)) for name in opponents),
            "yes" if one.promoted else "",
        )
    return table


def score_text(match: MatchResult | None) -> str:
    """`0.93 (0.86–0.97)`."""
    return f"{match.score:.2f} ({match.interval[0]:.2f}–{match.interval[1]:.2f})" if match else ""


def match_lines(match: MatchResult) -> list[str]:
    """A match in a few lines: the result, what it rests on, the test, what it cost."""
    low, high = match.elo_interval
    lines = [
        f"{match.a} – {match.b} on {match.config}: {match.wins} wins, {match.losses} losses in {match.games} games from"
        f" {match.openings} openings; score {score_text(match)}, Elo {match.elo:+.0f} ({low:+.0f} to {high:+.0f})"
    ]
    title = "pentanomial" if len(match.pentanomial) == 5 else "openings by games won"
    lines.append(f"{title} {' '.join(map(str, match.pentanomial))}; openings sha256 {match.openings_sha256[:12]}")
    if match.test:
        test = match.test
        said = "undecided" if test["verdict"] == "undecided" else f"accepted {test['verdict']}"
        bounds = "{:.2f} to {:.2f}".format(*test["bounds"])
        lines.append(
            f"test of H0 {test['lo']:+g} against H1 {test['hi']:+g} Elo: {said}; LLR {test['llr']:+.2f} ({bounds})"
        )
    if match.duplicates or any(match.voids):
        a, b, died = match.voids
        void = f"void by {match.a} {a}, by {match.b} {b}, with a dead process {died}"
        lines.append(f"replaced and not counted: {match.duplicates} repeated games; {void}")
        lines += [f"  {count} times: {reason}" for reason, count in match.reasons.items()]
    for name, spent in zip((match.a, match.b), match.spent, strict=True):
        nodes = f"; {spent['nodes']:.0f} positions evaluated" if spent["nodes"] else ""
        lines.append(
            f"{name}: {spent['decisions']:.0f} decisions of {spent['mean_seconds'] * 1000:.2f} ms, at most"
            f" {spent['max_seconds'] * 1000:.1f} ms{nodes}"
        )
    return lines


def print_pool(pool: Pool) -> None:
    """Ratings, the win matrix where more than two met, and what does not fit."""
    console = wide_console(stderr=False)
    table = Table(title=f"{pool.config}: Elo per seat, {pool.confidence:.0%} intervals")
    for title in ("player", "Elo", "interval", "games", "score"):
        table.add_column(title, justify="left" if title == "player" else "right")
    for one in pool.ratings:
        interval = "anchor" if one.anchor else f"{one.low:+.0f} to {one.high:+.0f}"
        table.add_row(one.player, f"{one.elo:+.0f}", interval, str(one.games), f"{one.score:.3f}")
    matrix = Table("player", "against", title="games won of those that one of the two won")
    for title in ("games", "won", "expected", "σ"):
        matrix.add_column(title, justify="right")
    for cell in pool.cells:
        row = (cell.a, cell.b, str(cell.games), str(cell.wins), f"{cell.expected:.1f}", f"{cell.sigmas:+.1f}")
        matrix.add_row(*row, style="bold red" if cell in pool.flagged else None)
    for shown in (table, matrix) if len(pool.ratings) > 2 else (table,):
        shown.box, shown.title_justify = box.SIMPLE_HEAD, "left"
        console.print(shown)
    for cell in pool.flagged:
        console.print(f"not transitive: {cell.a} – {cell.b} is {cell.sigmas:+.1f} σ off what the ratings say")
    for ring in pool.cycles:
        console.print(f"cycle: {' beats '.join((*ring, ring[0]))}")


def print_rounds(rounds: Sequence[Round], *, quiet: bool = False) -> None:
    """The table of a config's rounds and its last verdict; on standard error where the output is for a program."""
    console = wide_console(stderr=quiet)
    console.print(rounds_table(rounds))
    last = rounds[-1]
    word = "promoted" if last.promoted else "not promoted"
    console.print(f"round {last.round}: {last.candidate} {word}: {last.verdict}")
