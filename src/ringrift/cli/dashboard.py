"""`ringrift dashboard`: the page in the browser."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated

import typer

from ringrift.cli.options import Run

app = typer.Typer()


@app.command()
def dashboard(
    run: Run = None,
    host: Annotated[str, typer.Option(help="Address to serve; everybody who reaches it may play.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve; 0: any free one.")] = 8080,
    pace: Annotated[float, typer.Option(min=0.01, help="Seconds between two plies of engines.")] = 0.25,
) -> None:
    """Play in the browser, look at stored games, and watch a running loop.

    With --run, by the networks of that run, whose games and loop it shows; it only reads there.

    Example: ringrift dashboard --run runs/square8_2p --port 8080
    """
    from ringrift.store import RunDirectory
    from ringrift.web.dashboard.app import serve

    with RunDirectory.open(run) if run else nullcontext() as opened:
        serve(opened, host, port, pace, lambda address: typer.echo(f"the page is at {address}"))
