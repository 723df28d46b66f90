"""`ringrift models`: the models of a run directory."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringrift.cli.options import AnyConfig, Json, Run, moment, print_json
from ringrift.errors import DataError, SettingsError

if TYPE_CHECKING:
    from ringrift.store import ModelInfo, ModelStore, RunDirectory

app = typer.Typer()
models_app = typer.Typer(help="Models of a run, and which one is promoted.", no_args_is_help=True)
app.add_typer(models_app, name="models")

#: Fields of rows that are Unix times.
TIMES = frozenset(
    "at added created audited quarantined_at pruned undone since until created_at finished_at started ended".split()
)
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Run directory.", show_default=False)]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="best, initial, or the beginning of a model's id.")]


@models_app.command("ls")
def models_ls(run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """All models, oldest first."""
    with opened(run, config) as directory:
        models = _store(directory)
        found, unreadable = models.look(config)
        promoted = set[str | None]()
        for name in {model.config for model in found}:
            try:
                promoted.add(models.promoted(name))
            except DataError as error:
                unreadable.append(str(error))
        rows = [dataclasses.asdict(model) | {"promoted": model.id in promoted} for model in found]
    if json:
        print_json({"rows": rows} | ({"unreadable": unreadable} if unreadable else {}))
    else:
        columns = ("id", "config", "role", "promoted", "pruned", "parents", "metrics")
        print_table([{name: row[name] for name in columns} for row in rows], "no models yet")
    tell_unreadable(unreadable)


@models_app.command("show")
def models_show(model: Model, run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """One model: settings, parents, metrics, files, and its promotions."""
    with opened(run, config) as directory:
        models = _store(directory)
        found = meant(models, config, model)
        history = [entry for entry in models.history(found.config) if entry.model == found.id]
        row = described(models, found) | {"promotions": [dataclasses.asdict(entry) for entry in history]}
    print_row(row, json=json)


@models_app.command("history")
def models_history(run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """Every change of the promoted model, with the whole record of why in --json.

    Example: ringrift models history --run runs/square8_2p --json
    """
    with opened(run, config) as directory:
        models = _store(directory)
        rows = [dataclasses.asdict(entry) for entry in models.history(one_config(models, config))]
    if json:
        print_json({"rows": rows})
    else:
        print_table([row | {"evidence": row["evidence"].get("reason", "")} for row in rows], "nothing promoted yet")


@models_app.command("milestones")
def models_milestones(run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """What promoted models have reached: opponents mastered, tiers of Elo, transfers from other configs.

    Example: ringrift models milestones --run runs/square8_2p
    """
    with opened(run, config) as directory:
        entries = directory.fabric.registry.ls(f"milestone/{config}/" if config else "milestone/")
        rows = [
            {"config": entry.key.split("/")[1], "milestone": entry.key.split("/", 2)[2], **entry.value}
            for entry in sorted(entries, key=lambda entry: float(str(entry.value["at"])))
        ]
    if json:
        print_json({"rows": rows})
    else:
        print_table(rows, "no milestones yet")


@models_app.command("promote")
def models_promote(model: Model, run: Run = None, config: AnyConfig = None) -> None:
    """Make a model the one that plays, whatever its score."""
    from ringrift.pipeline.by_hand import promote

    with opened(run, config) as directory:
        found = meant(_store(directory), config, model)
        changed = promote(directory, found)
    typer.echo(f"{found.id} is promoted for {found.config}" + ("" if changed else ", and was before"))


@models_app.command("rollback")
def models_rollback(
    run: Run = None,
    config: AnyConfig = None,
    to: Annotated[str | None, typer.Option(metavar="MODEL", help="Go back to this one.")] = None,
) -> None:
    """Go back to the model that the promoted one had replaced."""
    from ringrift.pipeline.by_hand import roll_back

    with opened(run, config) as directory:
        models = _store(directory)
        target = meant(models, config, to) if to else None
        chosen = target.config if target else one_config(models, config)
        now = roll_back(directory, chosen, target.id if target else None)
    typer.echo(f"{now} is promoted for {chosen}")


@models_app.command("prune")
def models_prune(
    run: Run = None,
    config: AnyConfig = None,
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest to keep besides.")] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
) -> None:
    """Delete the files of old models; never initial or promoted ones, earlier promoted ones, or their parents."""
    from ringrift.pipeline.by_hand import context
    from ringrift.pipeline.events import CleanedUp

    with opened(run, config) as directory:
        models = _store(directory)
        chosen = one_config(models, config)
        gone = models.prune(chosen, keep, dry_run=dry_run)
        if gone and not dry_run:
            told = CleanedUp(config=chosen, blobs=0, models=len(gone), jobs=0, events=0, freed_bytes=0)
            context(directory).publish(told, id_=f"pruned/{gone[-1].id}/{len(gone)}")
    for model in gone:
        typer.echo(model.id)
    typer.echo(f"{len(gone)} models {'would be ' if dry_run else ''}pruned")


def tell_unreadable(reasons: Sequence[str]) -> None:
    """Says what could not be read beside what was; status 2 then."""
    for reason in reasons:
        typer.echo(f"unreadable: {reason}", err=True)
    if reasons:
        raise typer.Exit(2)


def opened(run: Path | None, config: str | None) -> "RunDirectory":
    """The run meant by `--run`, or else by `--config`."""
    from ringrift.settings import load
    from ringrift.store import RunDirectory

    if run is None and config is None:
        raise SettingsError("which run is meant? give --run DIR, or --config CONFIG for the run of that name")
    return RunDirectory.open(run or load(config).places.data / str(config))


def one_config(models: "ModelStore", config: str | None) -> str:
    """The config given, or the only one of which the run has models."""
    configs = sorted({model.config for model in models.ls()})
    if config is None and len(configs) != 1:
        raise DataError(f"{models.run.path} has models of {len(configs)} configs {configs}: give --config CONFIG")
    return config or configs[0]


def meant(models: "ModelStore", config: str | None, name: str) -> "ModelInfo":
    """The model of that name: `best` and `initial` need a config where the run has several, an id does not."""
    several = len({model.config for model in models.ls()}) > 1
    if config is not None or not several or name in ("", "best", "initial"):
        return models.resolve(one_config(models, config), name)
    found = [model for model in models.ls() if model.id.startswith(name) or model.id[2:].startswith(name)]
    if len(configs := {model.config for model in found}) > 1:
        among = ", ".join(f"{model.id} of {model.config}" for model in found)
        raise DataError(f"{name!r} means {len(found)} models of {models.run.path}: {among}; give more of the id")
    return models.resolve(configs.pop(), name) if configs else models.show(name)


def described(models: "ModelStore", model: "ModelInfo") -> dict[str, Any]:
    """A model as a row."""
    return dataclasses.asdict(model) | {"promoted": models.promoted(model.config) == model.id}


def print_row(row: dict[str, Any], *, json: bool) -> None:
    """One thing, a line for each of its fields."""
    if json:
        print_json(row)
        return
    for name, value in row.items():
        shown = cell(value) if isinstance(value, list | tuple) else value
        typer.echo(f"{name:14} {dated(name, value) or shown}")


def print_table(rows: list[dict[str, Any]], otherwise: str) -> None:
    """Rows of the same keys, in aligned columns; where there are none, what is said instead."""
    if not rows:
        typer.echo(otherwise)
        return
    lines = [list(rows[0]), *([dated(name, value) or cell(value) for name, value in row.items()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip())


def dated(name: str, value: Any) -> str | None:
    """What is shown of a time; none for other fields, or where there is no time."""
    return moment(value) if name in TIMES and isinstance(value, float) and value else None


def cell(value: Any) -> str:
    """A value as a table shows it; of a mapping, its single values."""
    if isinstance(value, dict):
        return " ".join(
            f"{key}={dated(key, item) or cell(item)}"
            for key, item in value.items()
            if isinstance(item, str | float | int)
        )
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple):
        return " ".join(map(cell, value))
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _store(run: "RunDirectory") -> "ModelStore":
    from ringrift.store import ModelStore

    return ModelStore(run)
