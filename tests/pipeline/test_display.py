"""What a person sees of a loop: bars that fit the terminal, what lies ahead."""

import io

import pytest
from rich.progress import TimeElapsedColumn

from ringrift.pipeline.display import FieldColumn, Fitting, PlainConsole, whole_column
from ringrift.pipeline.outlook import ahead, duration, opening
from ringrift.pipeline.settings import Recipe, keep_recipe
from ringrift.store import RunDirectory

TITLE = "selfplay square8_2p paranoid plays batch 12"
FIGURES = ("1,234/s", "1856/18000", "0:00:00")


def drawn(width: int) -> list[str]:
    """Lines of two bars in a terminal of so many columns."""
    console = PlainConsole(width=width, force_terminal=True, color_system=None, file=io.StringIO())
    bars = Fitting(FieldColumn("rate"), TimeElapsedColumn(whole_column()), console=console)
    for title in (TITLE, "train [/x]"):
        bars.add_task(title, total=18000, completed=1856, rate="1,234/s", remark="policy 1.234, value 0.345")
    console.print(bars.make_tasks_table(bars.tasks))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_figures_have_their_room_and_the_bar_shrinks_first(width: int) -> None:
    lines = drawn(width)
    assert len(lines) == 2
    for line in lines:
        assert len(line) <= width
        assert all(figure in " ".join(line.split()) for figure in FIGURES), line
    assert "train [/x]" in lines[1]
    bar = lines[0].count("━") + lines[0].count("╸")
    assert (TITLE in lines[0]) == (width >= 80)  # nothing is cut while the bar can give way
    assert bar <= 4 or TITLE in lines[0]


def test_the_opening_says_what_will_happen_and_how_long(run: RunDirectory) -> None:
    said = opening(run, "square8_2p", Recipe(), cores=2)
    assert "paranoid plays 4,000 games" in said
    assert "random, heuristic" in said
    assert said.endswith("on 2 idle cores this takes about 3 min")


def test_an_empty_run_has_all_games_before_it(run: RunDirectory) -> None:
    keep_recipe(run.fabric.registry, "square8_2p", Recipe())
    assert ahead(run, "square8_2p") == "first candidate: 0 of 4,000 games (0%)"


def test_durations_are_rounded_up() -> None:
    assert [duration(s) for s in (3, 41, 61, 3600, 7261)] == ["10 s", "50 s", "2 min", "60 min", "2 h 02 min"]
