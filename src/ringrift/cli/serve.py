"""`ringrift serve`: the AI service of the game server."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ringrift.cli.options import Assign, Json, SettingsFile

app = typer.Typer()


@app.command()
def serve(
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="Whose promoted models play; default: shipped ones.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Where to listen; default: this machine alone.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: 8001; 0 for any free one.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether it would start and play; status 1 where it would not.")
    ] = False,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Answer the game server's requests for moves, choices and evaluations, until SIGTERM.

    \b
    ringrift serve
    ringrift serve --run runs/loop --port 8001 --set serve.overload=quick
    ringrift serve --run runs/loop --check --json
    """
    from dataclasses import asdict, replace
    from json import dumps

    from ringrift.settings import load
    from ringrift.web.app import create_app
    from ringrift.web.server import address, listen, serve_until_stopped
    from ringrift.web.service import Service

    given = load(file=settings, assign=assign).serve
    given = replace(given, host=host or given.host, port=given.port if port is None else port)
    if check:
        from ringrift.cli.printing import print_json
        from ringrift.web.check import findings

        found = list(findings(given, run))
        if json:
            print_json({"findings": [asdict(one) for one in found], "ok": all(one.ok for one in found)})
        for one in () if json else found:
            typer.echo(f"{'ok  ' if one.ok else 'fail'}  {one.name:20} {one.said}")
        raise typer.Exit(not all(one.ok for one in found))
    with ExitStack() as opened:
        directory = None
        if run is not None:
            from ringrift.store.run import RunDirectory

            directory = opened.enter_context(RunDirectory.open(run))
        listening = listen(given.host, given.port, "serve.port")
        where = address(listening)
        service = Service(given, directory)

        def started() -> None:
            about = {"url": where, "networks": service.networks.table(), "problems": service.networks.problems}
            said = f"serving {where}, documented at {where}/docs; Ctrl-C ends it"
            typer.echo(dumps(about) if json else said)

        serve_until_stopped(create_app(service), given.limits, given.drain, listening, started)
    if stuck := service.room.stuck:
        typer.echo(f"players that do not stop are ended with the process: {stuck}", err=True)
        sys.stdout.flush()
        os._exit(0)
