"""`ringrift runs`: what each training was and how it went; `ringrift models card | import`."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringrift.cli.models import Model, meant, models_app, opened
from ringrift.cli.options import AnyConfig, Config, Json, Run, directory_of, picture, settings_of
from ringrift.cli.printing import dated, print_json, print_table

if TYPE_CHECKING:
    from ringrift.training.tracking import TrackedRun

app = typer.Typer()
runs_app = typer.Typer(help="Trainings of a run: what they were, and how they went.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")

Training = Annotated[str, typer.Argument(metavar="ID", help="last, the beginning of an id, or a model's id.")]
Trainings = Annotated[list[str], typer.Argument(metavar="ID…", help="As for `runs show`.", show_default=False)]
Figure = Annotated[str, typer.Option(help="loss, policy_loss, value_loss, held_out, learning_rate or samples_per_s.")]


@runs_app.command("ls")
def runs_ls(run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """All trainings, oldest first."""
    rows = [_row(one) for one in _tracked(run, config)]
    print_table(rows, "no trainings yet", json=json)


@runs_app.command("show")
def runs_show(training: Training = "last", run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """One training: settings, data, result; with --json also its curve."""
    from ringrift.training.tracking import find

    one = find(_tracked(run, config), training)
    if json:
        print_json(dataclasses.asdict(one))
        return
    for name, value in {"id": one.id, **one.about}.items():
        typer.echo(f"{name:10} {dated(name, value) or value}")


@runs_app.command("compare")
def runs_compare(trainings: Trainings, run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """The settings in which trainings differ, and what came of each.

    Example: ringrift runs compare t-01ab t-23cd --run runs/square8_2p
    """
    from ringrift.training.tracking import find

    known = _tracked(run, config)
    chosen = [find(known, name) for name in trainings]
    settings = [one.about["settings"] for one in chosen]
    differing = [name for name in settings[0] if len({str(one.get(name)) for one in settings}) > 1]
    rows = [_row(one) | {name: one.about["settings"].get(name) for name in differing} for one in chosen]
    print_table(rows, json=json, differing=differing)


@runs_app.command("plot")
def runs_plot(
    trainings: Trainings,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ending in .png or .svg.")] = Path("runs.png"),
    figure: Figure = "loss",
    run: Run = None,
    config: AnyConfig = None,
    json: Json = False,
) -> None:
    """A picture of one figure of some trainings, over their steps.

    Example: ringrift runs plot t-01ab t-23cd --figure held_out --out curve.svg --run runs/square8_2p
    """
    from ringrift.training.tracking import curve, find

    picture(out, ".png", ".svg")
    known = _tracked(run, config)
    curves = {one.id: curve(one, figure) for one in (find(known, name) for name in trainings)}
    draw(curves, figure, out)
    if json:
        print_json({"file": str(out), "figure": figure, "curves": curves})
    else:
        typer.echo(f"{out}: {figure} of {len(curves)} trainings")


def draw(curves: dict[str, tuple[list[float], list[float]]], figure: str, out: Path) -> None:
    """Writes the picture."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(8, 4.5), layout="constrained")
    axes = drawing.add_subplot(xlabel="step", ylabel=figure)
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name, linewidth=1.2)
    axes.legend()
    axes.grid(alpha=0.3)
    drawing.savefig(out)


@models_app.command("card")
def models_card(model: Model, run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """The card of a model, in Markdown: where it comes from, what it learned from, how it did; kept in `cards/`, if it
    may be."""
    from ringrift.pipeline.cards import card, write_card
    from ringrift.store import ModelStore

    with opened(run, config) as directory:
        models = ModelStore(directory)
        known = meant(models, config, model).id
        text = card(directory, known)
        file = None if directory.database.read_only else str(write_card(directory, known))
    if json:
        print_json({"file": file, "text": text})
    else:
        typer.echo(text, nl=False)


@models_app.command("import")
def models_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors checkpoint, or a .pth of our tensors.")],
    config: Config,
    run: Run = None,
    json: Json = False,
) -> None:
    """Take in a network from a file. A .pth is read without running any code; see `ringrift train --from`.

    Example: ringrift models import best.safetensors --config square8_3p --run runs/square8_3p
    """
    from ringrift.pipeline import models
    from ringrift.store import RunDirectory

    with RunDirectory.open_or_create(directory_of(run, config, settings_of(config, None, None))) as directory:
        model = models.import_model(directory, config, file)
    if json:
        print_json({"model": model, "config": config})
    else:
        typer.echo(f"{model} is a model of {config}; next: ringrift train --config {config} --from {model}")


def _tracked(run: Path | None, config: str | None) -> "list[TrackedRun]":
    from ringrift.training.tracking import tracked

    with opened(run, config) as directory:
        return [one for one in tracked(directory.path) if config is None or config in one.about["configs"]]


def _row(one: "TrackedRun") -> dict[str, Any]:
    about = one.about
    result = about.get("result", {})
    figures = {name: result.get(name) for name in ("loss_before", "loss_after", "held_out")}
    done = result.get("steps", one.rows[-1]["step"] if one.rows else 0)
    return {"id": one.id, "configs": " ".join(about["configs"]), "status": about["status"],
            "steps": f"{done:.0f}/{about['steps']}", "samples": sum(about["samples"].values()), **figures,
            "models": " ".join(about.get("models", {}).values())}  # fmt: skip
