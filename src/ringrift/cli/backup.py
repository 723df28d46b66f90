"""`ringrift backup` and `ringrift restore`: copies of runs in a directory or an object store."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringrift.cli.models import Directory
from ringrift.cli.options import Json
from ringrift.cli.printing import print_json, print_table

if TYPE_CHECKING:
    from ringrift.store.backup import BackupStore

app = typer.Typer()
backup_app = typer.Typer(help="Copies of a run elsewhere, each as small as what has changed.", no_args_is_help=True)
app.add_typer(backup_app, name="backup")

Place = Annotated[str, typer.Argument(metavar="PLACE", help="A path, or a URL: s3://bucket/prefix, gs://…, az://….")]
Name = Annotated[str, typer.Option("--at", metavar="NAME", help="Beginning of a backup's name; default: the last.")]


@backup_app.command()
def make(
    directory: Directory,
    place: Place,
    keep: Annotated[int, typer.Option(min=0, help="Delete all but the newest so many; 0: keep all.")] = 0,
    json: Json = False,
) -> None:
    """Copy a run while it is in use; only pieces that are not there yet are sent.

    Example: ringrift backup make runs/two s3://bucket/two --keep 24
    """
    from ringrift.pipeline.display import Bars
    from ringrift.store import RunDirectory
    from ringrift.store.backup import BackupStore

    store = BackupStore(place, made=True)
    with RunDirectory.open(directory) as run, Bars()(f"backup of {directory}", 100) as advance:
        made = store.backup(run, lambda done, total: advance(100 * done // max(total, 1), ""))
    gone = store.prune(keep, made.manifest) if keep else []
    _tell_unreadable(store)
    if json:
        print_json({**dataclasses.asdict(made), "pruned": gone})
    else:
        for line in made.left_out:
            typer.echo(f"not copied: {line}", err=True)
        for name in made.lost:
            typer.echo(f"{name}, of a pruned model, is lost: no earlier backup has all of its pieces", err=True)
        typer.echo(
            f"{made.manifest}: {made.files} files, {made.size_bytes / 1e6:.1f} MB, of which {made.sent_bytes / 1e6:.1f}"
            f" MB were sent in {made.seconds:.1f} s" + (f"; {len(gone)} older backups deleted" if gone else "")
        )


@backup_app.command("ls")
def list_(place: Place, json: Json = False) -> None:
    """The backups that a place has."""
    from ringrift.store.backup import BackupStore

    store = BackupStore(place)
    rows = [
        {"name": one.name, "run": one.identity, "files": len(one.files), "MB": round(one.size_bytes / 1e6, 1)}
        for one in store.ls()
    ]
    unreadable = _tell_unreadable(store)
    if json:
        print_json({"rows": rows} | ({"unreadable": unreadable} if unreadable else {}))
    else:
        print_table(rows, "no backups yet")
    if unreadable:
        raise typer.Exit(2)


@backup_app.command()
def check(place: Place, name: Name = "", json: Json = False) -> None:
    """Read a whole backup and compare it with its hashes; status 1 where anything is missing or damaged.

    Manifests of others that cannot be read are told too. Damaged pieces are deleted, so that the next
    backup sends them again.
    """
    from ringrift.store.backup import BackupStore

    store = BackupStore(place)
    found = store.find(name)
    problems = [*store.check(found), *store.look()[1].values()]
    if json:
        print_json({"name": found.name, "problems": problems, "ok": not problems})
    else:
        typer.echo("\n".join([*problems, f"{found.name}: {len(found.files)} files, {len(problems)} unsound"]))
    if problems:
        raise typer.Exit(1)


@app.command()
def restore(
    place: Place,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty directory.", show_default=False)],
    name: Name = "",
) -> None:
    """Write a backup to a new directory, as a run that can go on."""
    from ringrift.pipeline.display import Bars
    from ringrift.store.backup import BackupStore

    store = BackupStore(place)
    found = store.find(name)
    _tell_unreadable(store)
    with Bars()(f"restoring {found.name}", 100) as advance:
        store.restore(found, directory, lambda done, total: advance(100 * done // max(total, 1), ""))
    typer.echo(f"{directory} is the run {found.identity} as it was at {found.name}: ringrift data check {directory}")


def _tell_unreadable(store: BackupStore) -> dict[str, str]:
    """Says which backups cannot be used, and why."""
    found = store.look()[1]
    for reason in found.values():
        typer.echo(f"unreadable: {reason}", err=True)
    return found
