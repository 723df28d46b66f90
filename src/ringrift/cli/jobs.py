"""`ringrift jobs ls | show | retry | cancel`: the work of a run, and what became of it."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringrift.cli.models import opened
from ringrift.cli.options import AnyConfig, Json, Run
from ringrift.cli.printing import dated, print_json, print_table
from ringrift.errors import DataError, SettingsError, unknown

if TYPE_CHECKING:
    from ringrift.fabric import Job

app = typer.Typer()
jobs_app = typer.Typer(help="The jobs of a run: what waits, runs, was done, or died.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")

Id = Annotated[str, typer.Argument(metavar="JOB", help="Its id, as `ringrift jobs ls` shows it.")]


@jobs_app.command("ls")
def jobs_ls(
    run: Run = None,
    config: AnyConfig = None,
    state: Annotated[
        str, typer.Option(metavar="STATE", help="waiting, leased, done, dead or cancelled; several with commas.")
    ] = "",
    kind: Annotated[str, typer.Option(metavar="KIND", help="selfplay, ingest, export, train, match or backup.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    json: Json = False,
) -> None:
    """List jobs, newest first.

    Example: ringrift jobs ls --run runs/two --state dead
    """
    from ringrift.fabric import JobState
    from ringrift.pipeline.table import kind_of

    states = [name for name in state.split(",") if name]
    for name in states:
        if name not in list(JobState):
            raise SettingsError(unknown("state", name, list(JobState)))
    if kind:
        kind_of(kind)
    with opened(run, config) as directory:
        found = directory.fabric.jobs.ls(
            states=[JobState(name) for name in states], kind=kind, config=config, limit=limit
        )
    if json:
        print_json([dataclasses.asdict(job) for job in found])
        return
    print_table([row(job) for job in found], "no such jobs")


@jobs_app.command("show")
def jobs_show(id_: Id, run: Run = None, config: AnyConfig = None, json: Json = False) -> None:
    """Everything about one job: what it was told, how far it is, what came of it."""
    with opened(run, config) as directory:
        job = directory.fabric.jobs.get(id_)
    if job is None:
        raise DataError(f"there is no job {id_!r}: `ringrift jobs ls` lists them")
    said = dataclasses.asdict(job)
    if json:
        print_json(said)
        return
    error = said.pop("error")
    for name, value in said.items():
        typer.echo(f"{name:12} {dated(name, value) or (value.value if name == 'state' else value)}")
    if error:
        typer.echo(f"\n{error}")


@jobs_app.command("retry")
def jobs_retry(
    ids: Annotated[list[str], typer.Argument(metavar="JOB…")], run: Run = None, config: AnyConfig = None
) -> None:
    """Give dead or cancelled jobs a new set of attempts."""
    with opened(run, config) as directory:
        for id_ in ids:
            if directory.fabric.jobs.retry(id_) is None:
                raise DataError(f"{id_!r} is no dead or cancelled job: `ringrift jobs ls --state dead` lists them")
            typer.echo(f"{id_} waits again")


@jobs_app.command("cancel")
def jobs_cancel(
    ids: Annotated[list[str], typer.Argument(metavar="JOB…")],
    run: Run = None,
    config: AnyConfig = None,
    give_back: Annotated[bool, typer.Option("--give-back", help="Only end this attempt: others may do it.")] = False,
) -> None:
    """End jobs: at once where they wait, else as soon as their worker hears of it."""
    with opened(run, config) as directory:
        for id_ in ids:
            if directory.fabric.jobs.stop(id_, "preempt" if give_back else "cancel") is None:
                raise DataError(f"{id_!r} is no job that waits or runs: `ringrift jobs ls --state waiting,leased`")
            typer.echo(f"{id_} is to end" + (", and to be done by others" if give_back else ""))


def row(job: Job) -> dict[str, Any]:
    """A job as a line of a table."""
    progress = job.progress
    done = f"{progress['done']}/{progress['total']}" if "done" in progress and job.state.value == "leased" else ""
    return {
        "job": job.id,
        "state": job.state.value,
        "attempts": job.attempts,
        "progress": done,
        "holder": job.holder.partition(":")[0] if job.state.value == "leased" else "",
        "put": time.strftime("%m-%d %H:%M:%S", time.localtime(job.created_at)),
        "error": job.error.partition("\n")[0][:60],
    }
