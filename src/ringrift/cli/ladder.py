"""`ringrift ladder show | cost | measure`: the difficulty levels, what they cost, and how far they are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from ringrift.cli.options import AnyConfig, Assign, Config, Json, Run, SettingsFile
from ringrift.cli.printing import print_table

app = typer.Typer()
ladder_app = typer.Typer(help="The difficulty levels 1 to 10 of each config.", no_args_is_help=True)
app.add_typer(ladder_app, name="ladder")

Models = Callable[[str], tuple[str, Path]]


@contextmanager
def found_models(run: Path | None, config: str, arch: str | None = None) -> Iterator[Models | None]:
    """Where levels find their network: a run, an untrained network of an architecture, or nowhere."""
    if arch:
        from ringrift.fabric.scratch import scratch
        from ringrift.nets import export_onnx, initial_checkpoint, random_positions

        onnx, _ = export_onnx(initial_checkpoint(arch, config, 0), random_positions(config, 64), precision="int8")
        with scratch() as folder:
            path = folder / "untrained.onnx"
            path.write_bytes(onnx)
            yield lambda name: (f"untrained-{arch}", path)
    elif run:
        from ringrift.pipeline.models import choose_player
        from ringrift.store import RunDirectory

        with RunDirectory.open(run) as opened:

            def models(name: str) -> tuple[str, Path]:
                choice = choose_player(opened, config, name)
                assert choice.network is not None
                return choice.name, choice.network

            yield models
    else:
        yield None


@ladder_app.command("show")
def show(config: AnyConfig = None, run: Run = None, json: Json = False) -> None:
    """Who plays each level, and with what; with --run also whether its network is there."""
    from ringrift.players.ladder import LEVELS, choose_level, ladder
    from ringrift.rules import CONFIGS

    rows: list[dict[str, Any]] = []
    for name in (config,) if config else CONFIGS:
        with found_models(run, name) as models:
            for level in LEVELS:
                chosen, row = choose_level(name, level, models), ladder(name)[level - 1]
                rows.append({"config": name, "level": level, "player": row.player, **asdict(row.limit)})
                rows[-1] |= {"randomness": row.randomness, "plays": chosen.choice.name, "fallback": chosen.fallback}
    columns = {"config": "config", "level": "level", "player": "player", "simulations": "simulations",
               "seconds": "seconds", "randomness": "random", "plays": "plays now"}  # fmt: skip
    print_table(rows, columns=columns, json=json)
    for said in dict.fromkeys(row["fallback"].partition(": ")[2] for row in rows if row["fallback"] and not json):
        typer.echo(f"where somebody else plays now: {said}")


@ladder_app.command("cost")
def cost(
    config: AnyConfig = None,
    run: Run = None,
    arch: Annotated[str | None, typer.Option(help="Measure with an untrained network of this architecture.")] = None,
    positions: Annotated[int, typer.Option(min=2, max=10_000, help="Mid-game positions of fixed seeds.")] = 20,
    level: Annotated[list[int] | None, typer.Option(min=1, max=10, help="Only this level; repeat for more.")] = None,
    json: Json = False,
) -> None:
    """CPU milliseconds per decision of each level and board; status 1 where a level up to 8 has a median above 120 ms.

    Example: ringrift ladder cost --arch tiny
    """
    from ringrift.players.ladder import CEILING, LEVELS, choose_level
    from ringrift.players.ladder import cost as measure
    from ringrift.rules import CONFIGS
    from ringrift.search.positions import middle_positions

    rows: list[dict[str, Any]] = []
    for name in (config,) if config else [one for one in CONFIGS if one.endswith("2p")]:
        games = middle_positions(name, positions)
        with found_models(run, name, arch) as models:
            for one in level or LEVELS:
                chosen = choose_level(name, one, models)
                median, high = (round(1000 * seconds, 2) for seconds in measure(chosen.choice, games))
                rows.append({"config": name, "level": one, "player": chosen.choice.name, "median_ms": median,
                             "p95_ms": high, "fallback": chosen.fallback})  # fmt: skip
    slow = [row for row in rows if row["level"] <= 8 and row["median_ms"] > 1000 * CEILING]
    columns = {"config": "config", "level": "level", "player": "player", "median_ms": "median ms", "p95_ms": "95 %"}
    print_table(rows, columns=columns, json=json, too_slow=slow)
    if slow:
        raise typer.Exit(1)


@ladder_app.command("measure")
def measure(
    config: Config,
    games: Annotated[int, typer.Option(min=2, help="Games between neighbouring levels.")] = 100,
    run: Run = None,
    level: Annotated[
        list[int] | None, typer.Option(min=1, max=10, help="Only this level; repeat for more. Default: all.")
    ] = None,
    kept: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Default: ladder-CONFIG.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Let neighbouring levels play each other, and rate them with the lowest at 0 Elo. Every game is kept in DIR as it
    ends: called again, it goes on.

    Example: ringrift ladder measure --config square8_2p --games 200 --run runs/square8_2p
    """
    from dataclasses import replace

    from ringrift.errors import RulesError
    from ringrift.evaluation import Tally, match
    from ringrift.evaluation.match import player_label
    from ringrift.evaluation.ratings import rate, read_pool
    from ringrift.kernel.kind import Advance
    from ringrift.pipeline.display import Bars
    from ringrift.players.ladder import LEVELS, choose_level
    from ringrift.settings import load

    if len(set(level or LEVELS)) < 2:
        raise RulesError("one level alone has nobody to play against; name two or more")
    rule = replace(load(config, file=settings, assign=assign).match, games=games)
    folder = kept or Path(f"ladder-{config}")
    folder.mkdir(parents=True, exist_ok=True)
    files, bars = list[Path](), Bars()
    with found_models(run, config) as models:
        levels = [choose_level(config, one, models) for one in sorted(set(level or LEVELS))]
        players = [replace(one.choice, name=f"level-{one.level}") for one in levels]
        for low, high in pairwise(players):
            files.append(folder / f"{low.name}-{high.name}.jsonl")
            with bars(f"{high.name} against {low.name}", games) as advance:

                def progress(done: int, tally: Tally, advance: Advance = advance) -> None:
                    advance(min(done, games), tally.remark())

                match(high, low, rule, seed=seed, save=files[-1], progress=progress)
    known, played = read_pool(files)
    rated = rate(played, {player_label(players[0]): 0.0}, config=known)
    by_label = {one.player: one for one in rated.ratings}
    rows: list[dict[str, Any]] = []
    for one, player in zip(levels, players, strict=True):
        found = by_label[player_label(player)]
        rows.append({"level": one.level, "player": one.choice.name, "elo": found.elo, "low": found.low,
                     "high": found.high, "games": found.games, "fallback": one.fallback})  # fmt: skip
    columns = {"level": "level", "player": "player", "elo": "Elo", "low": "from", "high": "to", "games": "games"}
    print_table(rows, columns=columns, json=json, config=config, folder=str(folder))
