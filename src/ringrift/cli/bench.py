"""`ringrift bench …`: throughputs of the parts on this machine."""

from typing import Annotated, Any

import typer

from ringrift.cli.options import AnyConfig, Json, print_json

app = typer.Typer(no_args_is_help=True)
bench = typer.Typer(no_args_is_help=True, help="Throughputs of the parts on this machine.")
app.add_typer(bench, name="bench")


def print_table(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
    """Rows as a table; `columns` maps keys to headings."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v := row.get(k), int | float) else str(v or "-") for k in columns))
    Console().print(table)


@bench.command("rules")
def rules(
    config: AnyConfig = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads; repeat for several rows.")] = None,
    games: Annotated[int | None, typer.Option(help="Games per run; default 400, on the large boards 40.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs; the median counts.")] = 5,
    json: Json = False,
) -> None:
    """Uniformly random play to the end, with random play of python-chess beside it.

    Example: ringrift bench rules --config square8_2p --threads 1 --threads 2
    """
    from ringrift.rules import CONFIGS
    from ringrift.rules import bench as measure

    found = list(measure.rows((config,) if config else CONFIGS, threads or (1,), games=games, repeats=repeats))
    chess = measure.python_chess()
    signature = measure.signature([row["checksum"] for row in found])
    if json:
        print_json({"rows": found, "reference": chess, "signature": signature})
        return
    columns = {
        "config": "config",
        "threads": "threads",
        "plies_per_s": "plies/s",
        "decisions_per_s": "decisions/s",
        "games_per_s": "games/s",
        "decision_share": "decisions",
    }
    print_table("random play", found, columns)
    if chess:
        least = min(row["plies_per_s"] for row in found)
        typer.echo(f"{chess['engine']}: {chess['plies_per_s']:,} plies/s; the slowest row is {least / chess['plies_per_s']:.0f}x that")
    typer.echo(f"Signature: {signature}")
