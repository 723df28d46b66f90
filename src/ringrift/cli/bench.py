"""`ringrift bench …`: throughputs of the parts on this machine."""

from typing import Annotated

import typer

from ringrift.cli.options import AnyConfig, Assign, Json
from ringrift.cli.printing import print_table

app = typer.Typer(no_args_is_help=True)
bench = typer.Typer(no_args_is_help=True, help="Throughputs of the parts on this machine.")
app.add_typer(bench, name="bench")


@bench.command("rules")
def rules(
    config: AnyConfig = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads; repeat for several rows.")] = None,
    games: Annotated[int | None, typer.Option(help="Games per run; default 4000, on the large boards 400.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs; the median counts.")] = 5,
    json: Json = False,
) -> None:
    """Uniformly random play to the end, with random play of python-chess beside it.

    Example: ringrift bench rules --config square8_2p --threads 1 --threads 2
    """
    from ringrift.bench import rules as measure
    from ringrift.rules import CONFIGS

    found = list(measure.rows((config,) if config else CONFIGS, threads or (1,), games=games, repeats=repeats))
    chess = measure.python_chess()
    signature = measure.signature([row["checksum"] for row in found])
    columns = {
        "config": "config",
        "threads": "threads",
        "plies_per_s": "plies/s",
        "decisions_per_s": "decisions/s",
        "games_per_s": "games/s",
        "decision_share": "decisions",
    }
    print_table(found, columns=columns, json=json, reference=chess, signature=signature)
    if json:
        return
    if chess:
        least = min(row["plies_per_s"] for row in found)
        speed = chess["plies_per_s"]
        typer.echo(f"{chess['engine']}: {speed:,} plies/s; the slowest row is {least / speed:.0f}x that")
    else:
        typer.echo("python-chess is not beside it: pip install 'ringrift[bench]'")
    typer.echo(f"Signature: {signature}")


@bench.command("nets")
def nets(
    config: AnyConfig = None,
    arch: Annotated[list[str] | None, typer.Option(help="Architecture; repeat for several; default: all.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Positions per call.")] = 64,
    seconds: Annotated[float, typer.Option(min=0.01, help="CPU seconds per measurement.")] = 1.0,
    json: Json = False,
) -> None:
    """Size, arithmetic and speed of the networks: evaluations per CPU second of one thread, exported as play runs them.

    Example: ringrift bench nets --config square8_2p --arch tiny
    """
    from ringrift.bench import nets as measure
    from ringrift.nets import ARCHITECTURES

    found = list(measure.rows(config or "square8_2p", arch or tuple(ARCHITECTURES), batch=batch, seconds=seconds))
    columns = {
        "architecture": "network",
        "parameters": "parameters",
        "flops": "operations",
        "evals_per_s_float32": "evals/s float32",
        "evals_per_s_int8": "evals/s int8",
    }
    print_table(found, columns=columns, json=json)


@bench.command("search")
def search(
    config: AnyConfig = None,
    simulations: Annotated[int, typer.Option(min=1, max=1_000_000, help="Simulations of each search.")] = 64,
    games: Annotated[int, typer.Option(min=1, help="Searches at a time.")] = 64,
    batch: Annotated[int, typer.Option(min=1, max=2048, help="Positions at a time.")] = 256,
    puct: Annotated[bool, typer.Option(help="PUCT in place of Gumbel.")] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Runs; the median counts.")] = 5,
    json: Json = False,
) -> None:
    """Tree, rules and encoding without a network: CPU time per simulation, from mid-game positions of fixed seeds.

    Example: ringrift bench search --config square8_2p --simulations 150
    """
    from ringrift.bench import search as measure
    from ringrift.search import GumbelSettings, PuctSettings

    configs = (config,) if config else ("square8_2p", "hex8_2p", "square19_2p", "hexagonal_2p")
    settings = PuctSettings(simulations) if puct else GumbelSettings(simulations)
    found = list(measure.rows(configs, settings, games, batch, repeats))
    columns = {
        "config": "config",
        "us_per_simulation": "µs/simulation",
        "encoded_per_s": "encoded/s",
        "evaluations": "evaluations",
        "terminal_visits": "visits of ends",
        "moves_per_position": "moves",
        "signature": "signature",
    }
    print_table(found, columns=columns, json=json)


@bench.command("serve")
def serve(
    config: AnyConfig = None,
    level: Annotated[list[int] | None, typer.Option(min=1, max=10, help="Repeat for several; default 1 to 8.")] = None,
    games: Annotated[list[int] | None, typer.Option(min=1, help="Games at a time; default 1, 16, 64, 256.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each measurement.")] = 5.0,
    assign: Assign = None,
    json: Json = False,
) -> None:
    """Latency of moves over HTTP in real games against a server of its own, for each level and load: requests with at
    least two legal moves, and the share of the levels' simulations that was spent.

    Example: ringrift bench serve --level 8 --games 16 --seconds 20 --json
    """
    from ringrift.bench import serve as measure

    options = [part for one in assign or () for part in ("--set", one)]
    found = list(
        measure.rows(config or "square8_2p", level or range(1, 9), games or (1, 16, 64, 256), seconds, options)
    )
    names = ("level", "games", "requests", "per_s", "p50_ms", "p95_ms", "p99_ms", "errors", "refused", "share")
    print_table(found, columns={name: name.replace("_", " ") for name in names}, json=json)
