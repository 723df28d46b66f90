"""`ringrift selfplay | export | train | gate | loop`: the stages by hand, and all of them in rounds."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringrift.cli.options import Assign, Config, Json, Run, SettingsFile, directory_of, print_json, settings_of

if TYPE_CHECKING:
    from ringrift.pipeline import Round

app = typer.Typer()

Engine = Annotated[str | None, typer.Option(help="A row of PLAYERS: gumbel, heuristic, …; or mixed:NAME,NAME,…")]
Seed = Annotated[int | None, typer.Option(help="Of everything random.")]
Simulations = Annotated[int | None, typer.Option(min=1, help="Of each search.")]
Games = Annotated[int | None, typer.Option(min=1, help="How many games.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")]
Epochs = Annotated[float, typer.Option(min=0, help="Passes over the replay window, in place of steps.")]


@app.command()
def selfplay(
    config: Config,
    run: Run = None,
    games: Games = None,
    engine: Engine = None,
    model: Annotated[str, typer.Option(help="Of an engine with a network: newest, best, initial or an id.")] = "newest",
    simulations: Simulations = None,
    seed: Seed = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Play training games; each is stored as it ends. After a crash, the same command plays the missing ones."""
    from ringrift.pipeline import stages
    from ringrift.pipeline.display import Bars
    from ringrift.store import RunDirectory

    given = settings_of(config, settings, assign, **{"selfplay.engine": engine, "loop.games": games,
                      "selfplay.search.simulations": simulations, "loop.seed": seed})  # fmt: skip
    with RunDirectory.open_or_create(directory_of(run, config, given)) as opened:
        name = given.selfplay.engine
        if stages.engine_name(name, model) != name:
            newest = stages.newest_model(opened, config, given.training, given.loop.seed).id
            name = stages.engine_name(name, newest if model == "newest" else model)
        player = stages.choose_player(opened, config, name, given.selfplay.search)
        batch = stages.batch_name(opened, config, given.loop.games, player)
        played = stages.selfplay_stage(
            opened, config, batch, given.loop.games, given.selfplay, player, seed=given.loop.seed, show=Bars()
        )
    if json:
        print_json(dataclasses.asdict(played))
    else:
        typer.echo(f"{played.new} games of {played.player} played, {played.plies} plies; next: ringrift export")


@app.command()
def export(
    config: Config, run: Run = None, assign: Assign = None, settings: SettingsFile = None, json: Json = False
) -> None:
    """Replay the games that came in, set aside what does not replay, and make samples of the others."""
    from ringrift.pipeline import stages
    from ringrift.pipeline.display import Bars
    from ringrift.store import RunDirectory

    given = settings_of(config, settings, assign)
    with RunDirectory.open(directory_of(run, config, given)) as opened:
        replayed = stages.ingest_stage(opened, show=Bars())
        made = stages.export_stage(opened, config, given.export, show=Bars())
    if json:
        print_json({"replayed": dataclasses.asdict(replayed), "exported": dataclasses.asdict(made)})
        return
    typer.echo(f"{replayed.valid} games replayed, {replayed.quarantined} quarantined")
    typer.echo(f"{made.games} games made {made.samples} samples in {len(made.shards)} shards; next: ringrift train")


@app.command()
def train(
    config: Config,
    run: Run = None,
    steps: Steps = None,
    epochs: Epochs = 0.0,
    parent: Annotated[str, typer.Option("--from", metavar="MODEL", help="Whose weights to start from.")] = "newest",
    seed: Seed = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Train a candidate on the replay window."""
    from ringrift.pipeline import stages
    from ringrift.pipeline.display import Bars
    from ringrift.store import ModelStore, RunDirectory

    given = settings_of(config, settings, assign, **{"loop.steps": steps, "loop.seed": seed})
    with RunDirectory.open(directory_of(run, config, given)) as opened:
        start = None if parent == "newest" else ModelStore(opened).resolve(config, parent)
        model = stages.train_stage(
            opened, config, given.training, steps=given.loop.steps, epochs=epochs, parent=start,
            precision=given.loop.precision, seed=given.loop.seed, show=Bars(),
        )  # fmt: skip
    if json:
        print_json(dataclasses.asdict(model))
    else:
        loss = [float(str(model.metrics[f"loss_{when}"])) for when in ("before", "after")]
        typer.echo(f"{model.id}: loss {loss[0]:.3f} → {loss[1]:.3f}; next: ringrift gate {model.id}")


@app.command()
def gate(
    candidate: Annotated[str, typer.Argument(metavar="[MODEL]", help="Default: the newest model.")] = "newest",
    config: Config = "square8_2p",
    run: Run = None,
    promote: Annotated[bool, typer.Option(help="Promote it if it passes.")] = True,
    games: Games = None,
    seed: Seed = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Let a candidate play the promoted model, and promote it if it is better by the rule; status 1 if it is not."""
    from ringrift.pipeline import stages
    from ringrift.pipeline.display import Bars
    from ringrift.store import ModelStore, RunDirectory

    given = settings_of(config, settings, assign, **{"gate.games": games, "loop.seed": seed})
    with RunDirectory.open(directory_of(run, config, given)) as opened:
        newest = stages.newest_model(opened, config, given.training, given.loop.seed)
        model = newest if candidate == "newest" else ModelStore(opened).resolve(config, candidate)
        opponent = stages.gate_opponent(opened, config)
        rule = dataclasses.replace(given.match, games=given.gate.games)
        result = stages.match_stage(opened, config, model.id, opponent, rule, seed=given.loop.seed, show=Bars())
        verdict = stages.gate_stage(opened, config, model.id, given.gate, result, promote=promote)
    if json:
        print_json({"model": model.id, "promoted": verdict.passes and promote, **verdict.to_dict()})
    else:
        word = "promoted" if verdict.passes and promote else "passes" if verdict.passes else "not promoted"
        typer.echo(f"{model.id} {word}: {verdict.reason}")
    if not verdict.passes:
        raise typer.Exit(1)


@app.command()
def loop(
    config: Config = "square8_2p",
    run: Run = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no round that would end later; 0: none.")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds that the run is to have in the end.")] = None,
    games: Games = None,
    engine: Engine = None,
    simulations: Simulations = None,
    steps: Steps = None,
    epochs: Epochs = 0.0,
    skip_selfplay: Annotated[bool, typer.Option("--skip-selfplay", help="Train on the games that are there.")] = False,
    promote: Annotated[bool | None, typer.Option(help="Promote candidates that pass the gate.")] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One small round; without --run, nothing of it is kept.")
    ] = False,
    seed: Seed = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Self-play, replay, samples, training, matches and promotion, round after round. Goes on where it stopped."""
    from ringrift.cli.places import keep_round
    from ringrift.pipeline import run_loop
    from ringrift.pipeline import smoke as smoke_recipe
    from ringrift.pipeline.display import Bars, print_round
    from ringrift.rules import config_info

    config_info(config)
    given = settings_of(config, settings, assign, **{
        "loop.minutes": minutes if minutes is not None or not rounds else 0.0, "loop.rounds": rounds,
        "loop.games": games, "loop.first_games": games, "loop.first_engine": '""' if engine else None,
        "loop.steps": steps, "loop.promote": promote, "loop.seed": seed,
        "selfplay.engine": engine, "selfplay.search.simulations": simulations,
    })  # fmt: skip
    bars = Bars()
    with ExitStack() as stack:
        directory = directory_of(run, config, given)
        if smoke and run is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringrift-smoke-"))) / config
        recipe = smoke_recipe(given) if smoke else given

        def after_round(past: list[Round]) -> None:
            keep_round(given.places, directory, config, past[-1])
            print_round(config, past, quiet=json)

        done = run_loop(
            directory, config, recipe, skip_selfplay=skip_selfplay, epochs=epochs, at_most=int(smoke), show=bars,
            after_round=after_round,
        )  # fmt: skip
    last: Round | None = done.rounds[-1] if done.rounds else None
    if json:
        print_json({"rounds": [dataclasses.asdict(one) for one in done.rounds], "new": done.new,
                    "promoted": done.promoted, "run": str(directory)})  # fmt: skip
    elif not done.new:
        typer.echo(f"nothing to do: {directory} has its {len(done.rounds)} rounds; more with --rounds or --minutes")
    elif done.promoted and not smoke:
        typer.echo(f"{done.promoted} is promoted. Play against it: ringrift play --config {config} --run {directory}")
    if smoke and last and last.loss_after >= last.loss_before:
        raise typer.Exit(1)
