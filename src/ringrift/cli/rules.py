"""`ringrift show`, `perft` and `parity`."""

from pathlib import Path
from typing import Annotated

import typer

from ringrift.cli.options import Config, Json
from ringrift.cli.printing import print_json

app = typer.Typer()


@app.command()
def parity(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Recorded games, or with --emit the one to write.")
    ],
    emit: Annotated[bool, typer.Option("--emit", help="Write random games of our own instead.")] = False,
    config: Config = "square8_2p",
    games: Annotated[int, typer.Option(min=1, help="With --emit: how many games.")] = 10,
    seed: Annotated[int, typer.Option(help="With --emit: seed of the first game.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes to share the files among.")] = 1,
    json: Json = False,
) -> None:
    """Replay recorded games and compare every ply with this engine; status 1 on any difference."""
    from ringrift import parity as recorded
    from ringrift.errors import SettingsError

    if emit:
        if len(files) != 1:
            raise SettingsError(f"--emit writes one file, not {len(files)}")
        plies = recorded.emit(files[0], config, games, seed)
        typer.echo(f"{files[0]}: {games} games, {plies} plies of {config}")
        return
    reports = []
    for report in recorded.compare_files(files, jobs):
        reports.append(report)
        if not json:
            typer.echo(str(report))
    differences = sum(report.differences for report in reports)
    if json:
        print_json({"files": [report.to_dict() for report in reports], "differences": differences})
    elif len(reports) > 1:
        games, plies = (sum(getattr(report, name) for report in reports) for name in ("games", "plies"))
        typer.echo(f"{len(reports)} files, {games} games, {plies} plies: {differences} differences")
    if differences:
        raise typer.Exit(1)


@app.command()
def perft(
    depth: Annotated[int, typer.Argument(min=0, help="Plies to look ahead.")],
    position: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Position text; default: the start.")] = None,
    config: Config = "square8_2p",
    divide: Annotated[bool, typer.Option("--divide", help="A count for each move.")] = False,
) -> None:
    """Count the sequences of moves that can be played; `make perft` compares them with the golden tables."""
    from ringrift.rules import Game

    game = Game.parse(position) if position else Game(config)
    if divide and depth > 0:
        for move, nodes in sorted(game.divide(depth).items()):
            typer.echo(f"{move} {nodes}")
    typer.echo(str(game.perft(depth)))


@app.command()
def show(
    position: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Position text; default: the start.")] = None,
    config: Config = "square8_2p",
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write a picture instead.")] = None,
) -> None:
    """Draw a position."""
    import sys

    from ringrift.rules import Game

    game = Game.parse(position) if position else Game(config)
    if svg:
        svg.write_text(game._repr_svg_(), encoding="utf-8")
        return
    typer.echo(game.ascii(colour=sys.stdout.isatty()))
    typer.echo(game.text())
