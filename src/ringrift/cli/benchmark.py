"""`ringrift benchmark`: how many games at a time suit this machine."""

from pathlib import Path
from typing import Annotated

import typer

from ringrift.cli.options import Config, Json, Run
from ringrift.cli.printing import print_json, print_table

app = typer.Typer(no_args_is_help=True)


@app.command("benchmark")
def benchmark(
    config: Config = "square8_2p",
    run: Run = None,
    model: Annotated[str, typer.Option(help="With --run: best, initial or a model id.")] = "best",
    network: Annotated[Path | None, typer.Option(metavar="FILE", help="Exported network or checkpoint.")] = None,
    arch: Annotated[str, typer.Option(help="Without --run and --network: initial weights of it.")] = "tiny",
    simulations: Annotated[int, typer.Option(min=1, max=1_000_000, help="Of each search.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of measuring, in all.")] = 12.0,
    json: Json = False,
) -> None:
    """Measure self-play over numbers of games and processes, and keep the best for this machine and kind of network.

    Self-play and matches use it wherever selfplay.play.processes or selfplay.play.concurrent is 0.

    Example: ringrift benchmark --config hex8_3p --arch small

    Example: ringrift benchmark --config square8_2p --run runs/square8_2p
    """
    from dataclasses import asdict

    from rich.progress import Progress

    from ringrift.fabric.scratch import scratch
    from ringrift.pipeline.display import wide_console
    from ringrift.selfplay.benchmark import benchmark as measure

    with scratch() as folder, Progress(console=wide_console(stderr=True), transient=True) as bars:
        bar = bars.add_task("preparing the network", total=None)
        file = network or _network(config, run, model, arch, folder)

        def show(done: int, total: int) -> None:
            bars.update(bar, completed=done, total=total, description="playing")

        found = measure(config, file, seconds=seconds, simulations=simulations, progress=show)
    kept, best = found.keep(), found.best
    if json:
        print_json({**asdict(found), "best": asdict(best), "kept": str(kept)})
        return
    columns = {
        "processes": "processes",
        "concurrent": "games each",
        "mean_batch": "mean batch",
        "evaluations_per_s": "evaluations/s",
        "network_share": "in the network",
    }
    typer.echo(f"{found.network.rpartition(' ')[0]} on {config}, {found.processor}, {found.cores} cores")
    print_table([asdict(row) for row in found.stretches], columns=columns)
    typer.echo(
        f"recommended: processes={best.processes}, concurrent={best.concurrent}"
        f" ({best.evaluations_per_s:,.0f} evaluations/s); kept in {kept}"
    )


def _network(config: str, run: Path | None, model: str, arch: str, folder: Path) -> Path:
    """The file of a run's model, or the initial weights of an architecture, exported to the folder."""
    if run is not None:
        from ringrift.pipeline.models import choose_player
        from ringrift.store import RunDirectory

        with RunDirectory.open(run) as opened:
            found = choose_player(opened, config, model).network
        if found is not None:
            return found
    from ringrift.nets import export_onnx, initial_checkpoint

    file = folder / "initial.onnx"
    file.write_bytes(export_onnx(initial_checkpoint(arch, config))[0])
    return file
