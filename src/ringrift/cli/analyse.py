"""`ringrift analyse` and `ringrift replay`: what a search sees in a position, and in a recorded game."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringrift.cli.options import AnyConfig, Json, Run
from ringrift.cli.printing import print_json

if TYPE_CHECKING:
    from ringrift.analysis import Analysis
    from ringrift.evaluators import Evaluator
    from ringrift.rules import Game, Record

app = typer.Typer()

Model = Annotated[
    str | None,
    typer.Option(help="best, initial or a model id of --run; shipped; heuristic. Default: best or shipped."),
]
Ply = Annotated[int | None, typer.Option(min=0, help="Ply of the record, from 0; default: its end.")]
Simulations = Annotated[int, typer.Option(min=1, max=1_000_000, help="Of the search.")]
LINE = 8  #: plies of a line that the table shows


@app.command()
def analyse(
    config: AnyConfig = None,
    position: Annotated[str | None, typer.Option("--from", metavar="TEXT", help="Position text.")] = None,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="A game record, at --ply.")] = None,
    ply: Ply = None,
    run: Run = None,
    model: Model = None,
    network: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An exported network, in place of --run.")
    ] = None,
    simulations: Simulations = 150,
    top: Annotated[int, typer.Option(min=0, help="Moves that are told of; 0: all that were visited.")] = 10,
    engine: Annotated[
        bool, typer.Option("--engine", help="Answer queries on standard input, see docs/analysis.md.")
    ] = False,
    together: Annotated[int, typer.Option(min=1, help="Of --engine: queries that are searched at a time.")] = 32,
    json: Json = False,
) -> None:
    """Best lines, visits and each seat's probability of winning, by a search over a network.

    By default it is the network that comes with the package; --model heuristic: the hand-written evaluation.

    \b
    ringrift analyse --config square8_2p --simulations 400
    ringrift analyse --config square8_2p --run runs/square8_2p
    """
    from ringrift.analysis import AnalysisSettings, Engine
    from ringrift.analysis import analyse as look
    from ringrift.errors import SettingsError
    from ringrift.rules import Game
    from ringrift.search import GumbelSettings

    settings = AnalysisSettings(GumbelSettings(simulations=simulations, gumbel_scale=0.0), 0 if engine else top)
    with ExitStack() as stack:
        if engine:
            if isinstance(sys.stdin, io.TextIOWrapper):
                sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # JSON, whatever the terminal has
            evaluators = _evaluators(stack, run, model, network)
            Engine(evaluators, settings, together).run(iter(sys.stdin.readline, ""), _write)
            return
        if sum(one is not None for one in (position, record)) > 1 or (ply is not None and record is None):
            raise SettingsError("give --from, or --record with --ply, or --config alone")
        if record is not None:
            game = _at(_read(record), ply)
        else:
            game = Game.parse(position) if position else Game(config or "square8_2p")
        (found,) = look([game], _evaluators(stack, run, model, network)(game.config), settings)
    if json:
        print_json(found.to_dict())
    else:
        typer.echo(game.ascii(sys.stdout.isatty()))
        print_analysis(found)


@app.command()
def replay(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record file, or a run directory with GAME.")],
    game: Annotated[str | None, typer.Argument(metavar="[GAME]", help="Id or work id of a game of the run.")] = None,
    ply: Ply = None,
    search: Annotated[bool, typer.Option("--search", help="Run the recorded search at --ply again.")] = False,
    network: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The model's network; default: the run's.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a recorded game at a ply; with --search, run its search again: status 1 where it comes out differently.

    Example: ringrift replay runs/square8_2p 17 --ply 30 --search
    """
    from ringrift.analysis import position_at, rerun
    from ringrift.analysis.replay import decision_at

    found = _read(record, game)
    at = len(found.moves) if ply is None else ply
    position = position_at(found, at)
    told: dict[str, Any] = {
        "config": found.config, "players": found.players, "seed": found.seed, "meta": dict(found.meta), "ply": at,
        "position": position.text(), "moves": [move.text for move in position.moves], "recorded": None, "again": None,
        "played": position.move(int(found.moves[at])).text if at < len(found.moves) else None,
    }  # fmt: skip
    decision = decision_at(found, at)
    if decision is not None and (kept := found.search):
        policy = kept.policy[kept.offsets[decision] : kept.offsets[decision + 1]].astype(float)
        moves = [move.text for move in position.playable_moves()]
        best = sorted(zip(policy.tolist(), moves, strict=True), reverse=True)
        told["recorded"] = {"decision": decision, "value_by_seat": kept.root_value[decision].astype(float).tolist(),
                            "policy": {move: round(share, 4) for share, move in best[:10]}}  # fmt: skip
    if search:
        with ExitStack() as stack:
            model = found.players[position.to_move - 1] if not position.is_over else "heuristic"
            run = record if record.is_dir() and network is None else None
            again = rerun(found, at, _evaluators(stack, run, model, network)(found.config))
        told["again"] = {
            "move": again.move.text, "simulations": again.simulations, "drawn": again.drawn,
            "same": again.same, "same_move": again.same_move,
            "same_policy": again.same_policy, "same_value": again.same_value,
            "policy_difference": again.policy_difference, "value_difference": again.value_difference,
        }  # fmt: skip
    if json:
        print_json(told)
    else:
        _show_replay(position, told)
    if told["again"] and not told["again"]["same"]:
        raise typer.Exit(1)


def _show_replay(position: Game, told: dict[str, Any]) -> None:
    typer.echo(position.ascii(sys.stdout.isatty()))
    typer.echo(f"players {', '.join(told['players'])}; seed {told['seed']}; {told['meta']}")
    typer.echo("moves " + (" ".join(told["moves"]) or "none yet"))
    if told["played"]:
        typer.echo(f"played at ply {told['ply']}: {told['played']}")
    if kept := told["recorded"]:
        values = ", ".join(f"{value:.3f}" for value in kept["value_by_seat"])
        best = ", ".join(f"{move} {share:.3f}" for move, share in list(kept["policy"].items())[:5])
        typer.echo(f"recorded search {kept['decision']}: seats win with {values}; policy {best}")
    if again := told["again"]:
        words = [f"{what} {'same' if again[f'same_{what}'] else 'DIFFERENT'}" for what in ("move", "policy", "value")]
        gaps = f"{again['policy_difference']:.2g} and {again['value_difference']:.2g}"
        drawn = " (it was drawn by temperature)" if again["drawn"] else ""
        typer.echo(f"searched again, {again['simulations']} simulations: {', '.join(words)}{drawn}; differences {gaps}")


def print_analysis(found: Analysis) -> None:
    """An analysis as a table."""
    from rich.table import Table

    from ringrift.pipeline.display import wide_console

    table = Table(
        "move", "visits", "prior", "policy", *(f"seat {s + 1}" for s in range(len(found.value_by_seat))), "line"
    )
    for one in found.moves:
        values = [f"{value:.3f}" for value in one.value_by_seat]
        ahead = " ".join(move.text for move in one.line[:LINE]) + (" …" if len(one.line) > LINE else "")
        table.add_row(one.move.text, str(one.visits), f"{one.prior:.3f}", f"{one.policy:.3f}", *values, ahead)
    said = ", ".join(f"seat {seat} {value:.3f}" for seat, value in enumerate(found.value_by_seat, start=1))
    wide_console().print(table)
    typer.echo(f"{found.simulations} simulations choose {found.best}; probability of winning: {said}")
    if found.ownership is not None:
        typer.echo("likely territory at the end, by seat:")
        for row in found.ownership.argmax(0).T:
            typer.echo("  " + " ".join(".1234"[owner] for owner in row))


def _write(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _read(path: Path, game: str | None = None) -> Record:
    """A record from a file of either form, or from a run."""
    from ringrift.errors import CorruptBlob, RulesError, SettingsError
    from ringrift.rules import Record
    from ringrift.rules.record import MAGIC
    from ringrift.store import GameStore, RunDirectory
    from ringrift.texts import decoded

    if path.is_dir():
        if game is None:
            raise SettingsError(f"{path} is a run: name one of its games by id or work id")
        with RunDirectory.open(path) as run:
            return GameStore(run).find(game).read()
    try:
        content = path.read_bytes()
        return Record.from_bytes(content) if content.startswith(MAGIC) else Record.from_json(decoded(content))
    except OSError as error:
        raise CorruptBlob(f"{path}: {error.strerror or error}") from error
    except RulesError:
        raise
    except ValueError as error:
        raise CorruptBlob(f"{path} is not a game record: neither its binary form nor a line of JSON") from error


def _at(record: Record, ply: int | None) -> Game:
    from ringrift.analysis import position_at

    return position_at(record, len(record.moves) if ply is None else ply)


def _evaluators(stack: ExitStack, run: Path | None, model: str | None, network: Path | None) -> Any:
    """Gives the evaluator of a config: a network file, a run's model, or the network that comes with the package.

    Where none comes for the config, it is the hand-written evaluation; which of these two it is, is told on standard
    error. A model that is a player without a network asks for the hand-written one.
    """
    from ringrift.errors import DataError, SettingsError
    from ringrift.evaluators import HeuristicEvaluator
    from ringrift.pipeline.models import choose_player
    from ringrift.players import PLAYERS, PlayerChoice, needs_run
    from ringrift.players.table import EVALUATORS, SHIPPED
    from ringrift.store import RunDirectory

    opened = stack.enter_context(RunDirectory.open(run)) if run else None

    def evaluator(config: str) -> Evaluator:
        if network:
            return EVALUATORS["network"](PlayerChoice(str(network), config, "gumbel", network=network))
        if model in PLAYERS:
            return HeuristicEvaluator(config)
        name = model or ("best" if opened else SHIPPED)
        if opened is None and needs_run(name):
            raise SettingsError(f"{name} is found in a run: give --run, or its network with --network")
        try:
            choice = choose_player(opened, config, name)
        except DataError as error:
            if model or opened:
                raise
            typer.echo(f"{config} is evaluated without a network: {error}", err=True)
            return HeuristicEvaluator(config)
        if not (model or opened):
            typer.echo(f"{config} is evaluated by {choice.name}, the network that comes with the package", err=True)
        return EVALUATORS["network"](choice)

    return evaluator
