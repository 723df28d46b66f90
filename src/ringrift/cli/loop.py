"""`ringrift selfplay | export | train | gate | learn | loop | worker`: the stages by hand, and all by services."""

from __future__ import annotations

import dataclasses
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringrift.cli.options import (
    Assign,
    Config,
    Json,
    Run,
    SettingsFile,
    directory_of,
    known_config,
    settings_of,
)
from ringrift.cli.printing import print_json
from ringrift.errors import SettingsError, unknown

if TYPE_CHECKING:
    from ringrift.kernel.service import Step
    from ringrift.pipeline.loop import LoopResult

app = typer.Typer()

Engine = Annotated[str | None, typer.Option(help="A row of PLAYERS: gumbel, heuristic, …; or mixed:NAME,NAME,…")]
Seed = Annotated[int | None, typer.Option(help="Of everything random.")]
Simulations = Annotated[int | None, typer.Option(min=1, help="Of each search.")]
Games = Annotated[int | None, typer.Option(min=1, help="How many games.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Optimiser steps.")]
Epochs = Annotated[float, typer.Option(min=0, help="Passes over the replay window, in place of steps.")]
ProfileName = Annotated[
    str, typer.Option(metavar="PROFILE", help="Which services to run: laptop (all), coordinator, worker or trainer.")
]


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
    from ringrift.pipeline import models, selfplay
    from ringrift.pipeline.display import Bars
    from ringrift.pipeline.loop import elo_of
    from ringrift.store import RunDirectory

    given = settings_of(config, settings, assign, **{"selfplay.engine": engine, "loop.games": games,
                      "selfplay.search.simulations": simulations, "loop.seed": seed})  # fmt: skip
    with RunDirectory.open_or_create(directory_of(run, config, given)) as opened:
        name = given.selfplay.engine
        if models.engine_name(name, model) != name:
            newest = models.newest_model(opened, config, given.training, given.loop.seed).id
            name = models.engine_name(name, newest if model == "newest" else model)
        player = models.choose_player(opened, config, name, given.selfplay.search)
        with selfplay.claimed_batch(opened, config, given.loop.games, player) as batch:
            played = selfplay.play_games(
                opened, config, batch, given.loop.games, given.selfplay, player, seed=given.loop.seed,
                elo=elo_of(opened, config, player.name), show=Bars(),
            )  # fmt: skip
    if json:
        print_json(dataclasses.asdict(played))
    else:
        typer.echo(f"{played.new} games of {played.player} played, {played.plies} plies; next: ringrift export")


@app.command()
def export(
    config: Config, run: Run = None, assign: Assign = None, settings: SettingsFile = None, json: Json = False
) -> None:
    """Replay the games that came in, set aside what does not replay, and make samples of the others."""
    from ringrift.pipeline import export, ingest
    from ringrift.pipeline.display import Bars
    from ringrift.store import RunDirectory

    given = settings_of(config, settings, assign)
    with RunDirectory.open(directory_of(run, config, given)) as opened:
        replayed = ingest.ingest_games(opened, show=Bars())
        made = export.export_games(opened, config, given.export, show=Bars())
    if json:
        print_json({"replayed": dataclasses.asdict(replayed), "exported": dataclasses.asdict(made)})
        return
    typer.echo(f"{replayed.valid} games replayed, {replayed.quarantined} quarantined")
    whole = made.symmetric / max(1, made.samples)
    typer.echo(
        f"{made.games} games made {made.samples} samples in {len(made.shards)} shards, {whole:.1%} of them keep every"
        " symmetry; next: ringrift train"
    )


@app.command()
def train(
    config: Config = "square8_2p",
    configs: Annotated[str, typer.Option(metavar="A,B", help="Several configs of one run, in one network.")] = "",
    run: Run = None,
    steps: Steps = None,
    epochs: Epochs = 0.0,
    parent: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Whose weights to start from: of any config, or a file; or an architecture, for new weights.",
        ),
    ] = "newest",
    seed: Seed = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Train a candidate on the replay window. After a crash, the same command goes on.

    Example: ringrift train --config square8_3p --run runs/square8_3p --from runs/best.safetensors

    Example: ringrift train --from small --set training.schedule=cosine

    Example: ringrift train --configs square8_2p,hex8_2p --run runs/loop --set training.schedule=cosine

    Two devices: torchrun --nproc-per-node 2 -m -- ringrift train --config square8_2p --run runs/loop
    """
    from ringrift.kernel.kind import quiet
    from ringrift.pipeline import models, train
    from ringrift.pipeline.display import Bars
    from ringrift.store import RunDirectory

    names = [str(known_config(name)) for name in dict.fromkeys(configs.split(","))] if configs else [config]
    given = settings_of(names[0], settings, assign, **{"loop.steps": steps, "loop.seed": seed})
    leads = os.environ.get("RANK", "0") == "0"  # of the processes of a torchrun, one speaks
    with RunDirectory.open(directory_of(run, names[0] if len(names) == 1 else "loop", given)) as opened:
        start = None if parent == "newest" else models.starting_model(opened, names[0], parent, given.loop.seed)
        model = train.train_model(
            opened, names[0], given.training, window=given.window, beside=names[1:], steps=given.loop.steps,
            epochs=epochs, parent=start, precision=given.loop.precision, seed=given.loop.seed,
            show=Bars() if leads else quiet,
        )  # fmt: skip
    if json and leads:
        print_json(dataclasses.asdict(model))
    elif leads:
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
    """Let a candidate run its gauntlet, and promote it if it passes; status 1 if it does not.

    What was stated for it before holds, whatever is given now: `gauntlet` in `ringrift models show MODEL`.

    \b
    ringrift gate --run runs/square8_2p
    ringrift gate m-20 --games 800 --set gate.early=[0,35] --set 'gate.gates={random=0.85}' --no-promote
    """
    from ringrift.pipeline import gate, models
    from ringrift.pipeline.by_hand import tell_verdict
    from ringrift.pipeline.display import Bars
    from ringrift.store import ModelStore, RunDirectory

    given = settings_of(config, settings, assign, **{"gate.games": games, "loop.seed": seed})
    with RunDirectory.open(directory_of(run, config, given)) as opened:
        newest = models.newest_model(opened, config, given.training, given.loop.seed)
        model = newest if candidate == "newest" else ModelStore(opened).resolve(config, candidate)
        verdict = gate.gate_model(
            opened, config, model.id, given.gate, given.match, seed=given.loop.seed, promote=promote, show=Bars()
        )
        tell_verdict(opened, model.id)
    if json:
        print_json({"model": model.id, "promoted": verdict.passes and promote, **verdict.to_dict()})
    else:
        word = "promoted" if verdict.passes and promote else "passes" if verdict.passes else "not promoted"
        typer.echo(f"{model.id} {word}: {verdict.reason}")
    if not verdict.passes:
        raise typer.Exit(1)


@app.command()
def learn(
    config: Config = "square8_2p",
    run: Run = None,
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="default, conservative, aggressive or tournament.")
    ] = "default",
    seed: Seed = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Learn from the games that people won against the service: a candidate beside the promoted model, which takes its
    place only through the gate. After a crash, the same command goes on.

    Example: ringrift learn --config square8_2p --run runs/square8_2p --profile conservative
    """
    from ringrift.pipeline.by_hand import tell_verdict
    from ringrift.pipeline.display import Bars
    from ringrift.pipeline.online import PROFILES, learn_stage
    from ringrift.store import RunDirectory

    if profile not in PROFILES:
        raise SettingsError(unknown("profile", profile, PROFILES))
    given = settings_of(config, settings, assign, **{"loop.seed": seed})
    with RunDirectory.open(directory_of(run, config, given)) as opened:
        done = learn_stage(opened, config, PROFILES[profile], given, seed=given.loop.seed, show=Bars())
        if done.candidate:
            tell_verdict(opened, done.candidate)
    if json:
        print_json(dataclasses.asdict(done))
        return
    typer.echo(f"{done.taken} new games of people taken in, {done.refused} do not replay")
    word = "promoted" if done.promoted else "not promoted"
    typer.echo(f"{done.candidate} {word}: {done.reason}" if done.candidate else f"nothing learned: {done.reason}")


@app.command()
def loop(
    config: Config = "square8_2p",
    configs: Annotated[str, typer.Option(metavar="A,B", help="Several configs in one run, in fair rotation.")] = "",
    run: Run = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="End after so long, once a candidate was judged; 0: do not end.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Judged candidates that each config is to have.")] = None,
    until: Annotated[
        str, typer.Option(metavar="LIMITS", help="elo=…,hours=…,models=…,promoted=…: the first ends.")
    ] = "",
    profile: ProfileName = "laptop",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and why; do nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show everything, also of a loop that runs already.")] = False,
    games: Games = None,
    engine: Engine = None,
    simulations: Simulations = None,
    steps: Steps = None,
    epochs: Annotated[
        float | None, typer.Option(min=0, help="Passes over the replay window, in place of steps.")
    ] = None,
    skip_selfplay: Annotated[
        bool | None, typer.Option("--skip-selfplay", help="Train on the games that are there.")
    ] = None,
    promote: Annotated[bool | None, typer.Option(help="Promote candidates that pass the gate.")] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One small candidate; without --run, nothing of it is kept.")
    ] = False,
    seed: Seed = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Self-play, replay, samples, training, matches and promotion, all at once. Goes on where it stopped.

    Example: ringrift loop --config hex8_3p --run runs/hex8_3p --minutes 30

    Example: ringrift loop --configs square8_2p,hex8_2p --run runs/two --until elo=1500,hours=8 --watch
    """
    from ringrift import app as service
    from ringrift.cli.places import keep_round
    from ringrift.fabric.scratch import scratch
    from ringrift.kernel.service import Profile
    from ringrift.pipeline.loop import Round, Until
    from ringrift.pipeline.watch import screen_for

    names = list(dict.fromkeys(configs.split(","))) if configs else [config]
    if profile not in list(Profile):
        raise SettingsError(unknown("profile", profile, list(Profile)))
    limit, role = Until.parse(until), Profile(profile)
    open_end = rounds is not None or bool(until)
    given = {name: settings_of(str(known_config(name)), settings, assign, **{
        "loop.minutes": 0.0 if minutes is None and open_end else minutes, "loop.rounds": rounds,
        "loop.games": games, "loop.first_games": games, "loop.first_engine": '""' if engine else None,
        "loop.steps": steps, "loop.epochs": epochs, "loop.skip_selfplay": skip_selfplay, "loop.promote": promote,
        "loop.seed": seed, "selfplay.engine": engine, "selfplay.search.simulations": simulations,
    }) for name in names}  # fmt: skip
    first = given[names[0]]
    with ExitStack() as stack:
        directory = directory_of(run, names[0] if len(names) == 1 else "loop", first)
        if smoke and run is None:
            directory = stack.enter_context(scratch()) / "run"
        recipes = service.recipes_of(directory, given, smoke=smoke)
        if dry_run:
            print_steps(service.dry_run(directory, recipes, role), json=json)
            return
        screen = screen_for(watch=watch)
        if watch and service.is_running(directory):
            service.watch(directory, screen)
            return

        def after_round(done: Round) -> None:
            keep_round(first.places, directory, done)

        done = service.Loop(directory, recipes, role, limit, screen, after_round).run()
        print_result(done, directory, json=json, smoke=smoke)
    if smoke and any(one.loss_after >= one.loss_before for one in done.rounds[-1:]):
        raise typer.Exit(1)


@app.command()
def worker(
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="Run directory of the loop to work for.")],
    trainer: Annotated[bool, typer.Option("--trainer", help="Only trainings.")] = False,
    assign: Assign = None,
    settings: SettingsFile = None,
) -> None:
    """Do jobs of a loop that another process decides about, until Ctrl-C.

    Example: ringrift worker --run runs/two --set worker.cores=1
    """
    from ringrift import app as service
    from ringrift.kernel.service import Profile
    from ringrift.pipeline.watch import screen_for
    from ringrift.settings import load

    profile = Profile.TRAINER if trainer else Profile.WORKER
    recipe = load(file=settings, assign=["services.port=0", *(assign or [])])  # the loop may be on this machine
    service.Loop(run, {}, profile, screen=screen_for(watch=False), process=recipe).run()


def print_steps(plans: list[tuple[str, list[Step]]], *, json: bool) -> None:
    """What each service would do, and why."""
    if json:
        print_json({name: [{"what": step.what, "why": step.why} for step in steps] for name, steps in plans})
        return
    for name, steps in plans:
        for step in steps:
            typer.echo(f"{name}: would {step.what}\n    because {step.why}")
        if not steps:
            typer.echo(f"{name}: nothing to do")


def print_result(done: LoopResult, directory: Path, *, json: bool, smoke: bool) -> None:
    """What came of a loop."""
    from ringrift.pipeline.display import print_rounds

    for name in done.promoted:
        if done.new and (past := [one for one in done.rounds if one.config == name]):
            print_rounds(past, quiet=json)
    if json:
        print_json({"rounds": [dataclasses.asdict(one) for one in done.rounds], "new": done.new,
                    "promoted": done.promoted, "reason": done.reason, "run": str(directory)})  # fmt: skip
        return
    typer.echo(f"ended: {done.reason}" if done.new else f"nothing new: {done.reason}; more with --rounds or --minutes")
    for name, model in done.promoted.items():
        if model and not smoke:
            typer.echo(f"{model} is promoted. Play against it: ringrift play --config {name} --run {directory}")
