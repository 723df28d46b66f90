"""`ringrift quarantine`: the games that are not sound."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringrift.cli.models import Directory
from ringrift.cli.options import Json
from ringrift.cli.printing import print_row, print_table
from ringrift.errors import SettingsError

if TYPE_CHECKING:
    from ringrift.store.games import Quarantined

app = typer.Typer()
quarantine_app = typer.Typer(help="Games that are not sound: why, and what becomes of them.", no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine")

Games = Annotated[list[int] | None, typer.Argument(metavar="ID…", help="Ids of quarantined games.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which.")]


@quarantine_app.command("ls")
def quarantine_ls(directory: Directory, json: Json = False) -> None:
    """Every quarantined game: where it came from, when and by whom it was found, and why."""
    from ringrift.store import GameStore, RunDirectory

    with RunDirectory.open(directory) as run:
        _print(GameStore(run).quarantine(), json=json)


@quarantine_app.command("show")
def quarantine_show(directory: Directory, game: int, json: Json = False) -> None:
    """One quarantined game, with its moves as far as they can be played."""
    from ringrift.errors import RingRiftError
    from ringrift.store import GameStore, RunDirectory

    with RunDirectory.open(directory) as run:
        store = GameStore(run)
        store.quarantine([game])
        about: dict[str, Any] = store.about(game)
        try:
            record = store.find(str(game)).read()
            position = record._first()
            for move in record.moves.tolist():
                position.push_packed(move)
        except RingRiftError as error:
            about["unplayable"] = str(error)
        else:
            about["moves"] = position.played_texts()
    print_row(about, json=json)


@quarantine_app.command("restore", epilog="ringrift quarantine restore runs/a 17 18 --dry-run")
def quarantine_restore(
    directory: Directory, games: Games = None, every: All = False, dry_run: DryRun = False, json: Json = False
) -> None:
    """Let games be judged again: what is still unsound comes back."""
    _change(directory, games, every, dry_run, json, "restore")


@quarantine_app.command("purge", epilog="ringrift quarantine purge runs/a --all --dry-run")
def quarantine_purge(
    directory: Directory, games: Games = None, every: All = False, dry_run: DryRun = False, json: Json = False
) -> None:
    """Delete games for good."""
    _change(directory, games, every, dry_run, json, "purge")


def _change(directory: Any, games: list[int] | None, every: bool, dry_run: bool, json: bool, what: str) -> None:
    from ringrift.store import GameStore, RunDirectory

    if bool(games) == every:
        raise SettingsError(f"which games? give ids, or --all: `ringrift quarantine {what} DIR 17 18`")
    with RunDirectory.open(directory) as run:
        store = GameStore(run)
        chosen = store.quarantine(None if every else games)
        if not dry_run:
            (store.restore if what == "restore" else store.purge)([game.id for game in chosen])
    _print(chosen, json=json, dry_run=dry_run)


def _print(games: "list[Quarantined]", *, json: bool, **more: Any) -> None:
    rows = [dataclasses.asdict(game) for game in games]
    print_table(rows, "nothing is quarantined", json=json, **more)
