"""`ringrift models`: the models of a run directory."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringrift.cli.options import AnyConfig, Json, Run
from ringrift.cli.printing import print_row, print_table
from ringrift.errors import DataError, SettingsError

if TYPE_CHECKING:
    from ringrift.store import ModelInfo, ModelStore, RunDirectory

app = typer.Typer()
models_app = typer.Typer(help="Models of a run, and which one is promoted.", no_args_is_help=True)
app.add_typer(models_app, name="models")

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
    columns = ("id", "config", "role", "promoted", "pruned", "parents", "metrics")
    print_table(rows, "no models yet", columns, json=json, unreadable=unreadable)


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
    if not json:
        rows = [row | {"evidence": row["evidence"].get("reason", "")} for row in rows]
    print_table(rows, "nothing promoted yet", json=json)


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
    print_table(rows, "no milestones yet", json=json)


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


def _store(run: "RunDirectory") -> "ModelStore":
    from ringrift.store import ModelStore

    return ModelStore(run)
