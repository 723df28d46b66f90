"""`ringrift play`: a person at the terminal against a player."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringrift.cli.options import Config, Run

if TYPE_CHECKING:
    from ringrift.players import Player
    from ringrift.rules import Game

app = typer.Typer()
HELP = """\
a number   plays that move of the list            l        lists the legal moves
a move     such as P3,4*2 is played as written    l TEXT   those that begin with TEXT, such as `l M3,4`
b          draws the board                        u        takes your last decision back
t          prints the position text               r, q     resign, leave
A board is drawn with `2:5` for a stack of 5 rings that seat 2 controls (`2:5c3`: its top 3 are of that colour), `+1`
for a marker of seat 1 and `#1` for its territory. Plies without a choice are played for you."""
SHOWN = 24  #: moves listed without being asked


class Left(Exception):
    """The person has gone."""


@app.command()
def play(
    config: Config = "square8_2p",
    against: Annotated[
        str | None, typer.Option(help="A player, shipped, best, initial or a model id; default: heuristic.")
    ] = None,
    level: Annotated[
        int | None, typer.Option(min=1, max=10, help="A difficulty of the service, in place of --against.")
    ] = None,
    seat: Annotated[int, typer.Option(min=1, max=4, help="Your seat.")] = 1,
    run: Run = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the opponent's choices.")] = None,
    position: Annotated[str | None, typer.Option("--from", metavar="TEXT", help="Position text to begin with.")] = None,
) -> None:
    """Play against the machine in the terminal.

    Levels are those of `ringrift ladder show`, by the networks of --run or else by those that come with the package.

    \b
    ringrift play --level 4
    ringrift play --config hex8_2p --against shipped
    ringrift play --against best --run runs/square8_2p
    """
    import numpy as np

    from ringrift.errors import RulesError, SettingsError
    from ringrift.rules import Game

    game = Game.parse(position) if position else Game(config)
    if seat > game.num_seats:
        raise RulesError(f"{game.config} has seats 1 to {game.num_seats}, not {seat}")
    if level is not None and against is not None:
        raise SettingsError("give --against or --level, not both")
    opponent = _level(level, game.config, run) if level else _opponent(against or "heuristic", game.config, run)
    rng = np.random.default_rng(seed)
    typer.echo(HELP)
    try:
        while not game.is_over:
            if len(moves := game.playable_moves()) == 1:
                game.push(moves[0])
            elif game.to_move == seat:
                _turn(game)
            else:
                mover, move = game.to_move, opponent.decide([game], rng)[0].move
                game.push(move)
                typer.echo(f"seat {mover} plays {move}")
    except Left as left:
        typer.echo(str(left))
        return
    typer.echo(game.ascii(sys.stdout.isatty()))


def _opponent(name: str, config: str, run: Path | None) -> Player:
    from ringrift.pipeline.models import choose_player
    from ringrift.players import needs_run
    from ringrift.settings import load
    from ringrift.store import RunDirectory

    if run is None and not needs_run(name):
        return choose_player(None, config, name).make()
    with RunDirectory.open(run or load().places.data / config) as opened:
        return choose_player(opened, config, name).make()


def _level(level: int, config: str, run: Path | None) -> Player:
    """The player of a difficulty; who it is, is told."""
    from ringrift.cli.ladder import found_models
    from ringrift.players.ladder import choose_level

    with found_models(run, config) as models:
        found = choose_level(config, level, models)
        typer.echo(found.fallback or f"{found.choice.name} plays level {level}")
        return found.choice.make()


def _turn(game: Game) -> None:
    """Asks until a move was played or taken back."""
    from ringrift.errors import RulesError

    typer.echo("\n" + game.ascii(sys.stdout.isatty()))
    _list(game, "", SHOWN)
    while True:
        try:
            words = input(f"seat {game.to_move}> ").strip()
        except EOFError:
            raise Left("no more input") from None
        command, _, rest = words.partition(" ")
        if command in ("r", "q"):
            words = f"seat {game.to_move} resigns" if command == "r" else "left; go on with --from and this text:"
            raise Left(f"{words}\n{game.text()}")
        if command == "u":
            if not _take_back(game):
                typer.echo("there is nothing to take back")
                continue
            return
        if command in ("", "?", "h", "help"):
            typer.echo(HELP)
        elif command == "l":
            _list(game, rest, len(game.playable_moves()))
        elif command == "b":
            typer.echo(game.ascii(sys.stdout.isatty()))
        elif command == "t":
            typer.echo(game.text())
        else:
            try:
                moves = game.playable_moves()
                game.push(moves[int(words) - 1] if words.isdecimal() and 0 < int(words) <= len(moves) else words)
            except RulesError as error:
                typer.echo(f"{error}; ? for help")
            else:
                return


def _list(game: Game, prefix: str, most: int) -> None:
    """The playable moves that begin with `prefix`, numbered."""
    found = [f"{i:4} {move}" for i, move in enumerate(game.playable_moves(), start=1) if move.text.startswith(prefix)]
    wide = max(map(len, found), default=0) + 2
    columns = max(1, 120 // wide)
    for i in range(0, min(len(found), most), columns):
        typer.echo("".join(f"{entry:{wide}}" for entry in found[i : min(i + columns, most)]).rstrip())
    if len(found) > most:
        typer.echo(f"     and {len(found) - most} more: l lists them all")
    elif not found:
        typer.echo(f"no legal move begins with {prefix!r}")


def _take_back(game: Game) -> bool:
    """Back to the last decision of the seat to move; False, and nothing changed, where it had none."""
    mover, probe = game.to_move, game.copy()
    while probe.ply:
        probe.pop()
        if probe.to_move == mover and len(probe.playable_packed()) > 1:
            while game.ply > probe.ply:
                game.pop()
            return True
    return False
