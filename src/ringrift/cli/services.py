"""`ringrift services`: what keeps a run going, and how it does."""

import time
from typing import Annotated

import typer

from ringrift.cli.models import opened
from ringrift.cli.options import AnyConfig, Json, Run
from ringrift.cli.printing import print_json, print_table
from ringrift.errors import DataError, unknown

app = typer.Typer()
services_app = typer.Typer(help="The services of a run: their state, their order, and restarts.", no_args_is_help=True)
app.add_typer(services_app, name="services")

COLUMNS = ("process", "name", "state", "ticks", "steps", "failures", "backlog", "ago", "address", "note")


@services_app.command("ls")
def services_ls(run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """List the services that run, of all processes; status 1 where one fails or has stalled."""
    with opened(run, config) as directory:
        found = [(entry.key.split("/")[1], entry.value) for entry in directory.fabric.registry.ls("service/")]
    rows = [{"process": process} | value for process, value in found]
    if json:
        print_json(rows)
    else:
        now = time.time()
        for row in rows:
            last = float(str(row["last_tick"]))
            row["ago"] = f"{now - last:.0f} s" if last else ""
            row["address"] = row.get("address", "")  # earlier releases tell none
            row["note"] = str(row["note"]).partition("\n")[0]
        print_table(rows, "no loop is running", COLUMNS)
    if any(row["state"] in ("failing", "stalled") for row in rows):
        raise typer.Exit(1)


@services_app.command("graph")
def services_graph() -> None:
    """Draw the services as Mermaid: which comes after which, and who wakes whom by which event."""
    from ringrift.pipeline.topology import service_graph

    typer.echo(service_graph())


@services_app.command("restart")
def services_restart(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `ringrift services ls` shows it.")],
    run: Run = None,
    config: AnyConfig = None,
) -> None:
    """Ask the loop to end a service's tick at its next step, forget its failures, and begin anew."""
    from ringrift.kernel.supervisor import ask_restart

    with opened(run, config) as directory:
        registry = directory.fabric.registry
        known = sorted({entry.key.rpartition("/")[2] for entry in registry.ls("service/")})
        if not known:
            raise DataError(f"no loop is running in {directory.path}: `ringrift loop` starts one")
        if name not in known:
            raise DataError(unknown("service", name, known))
        ask_restart(registry, name)
    typer.echo(f"{name} will be restarted within seconds")
