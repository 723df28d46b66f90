"""`ringrift simulate`: a cluster's days in minutes, with everything that can go wrong."""

from typing import Annotated

import typer

from ringrift.cli.options import Json

app = typer.Typer()


@app.command()
def simulate(
    nodes: Annotated[int, typer.Option(min=1, help="Machines that do jobs.")] = 40,
    days: Annotated[float, typer.Option(min=0.01, help="Virtual days.")] = 1.0,
    faults: Annotated[bool, typer.Option(help="Let machines, connections, clocks and the loop fail.")] = True,
    broken: Annotated[int, typer.Option(min=0, help="Machines that fail every job after a second, all the time.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same report.")] = 0,
    json: Json = False,
) -> None:
    """Run the loop's services and workers in virtual time on simulated machines; status 1 where a promise broke.

    Example: ringrift simulate --nodes 40 --days 1 --seed 7
    """
    from ringrift.simulation import Plan, Simulation

    report = Simulation(Plan(nodes, days, faults, seed, broken)).run()
    typer.echo(report.to_json() if json else report.text())
    if not report.sound:
        raise typer.Exit(1)
