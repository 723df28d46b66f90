"""The command line, one module per group of commands, so that each stays on a page.

| module | commands |
|---|---|
| `ground` | `config show`, `config reference`, `doctor` |
| `rules` | `show`, `perft`, `parity` |
| `play` | `play` |
| `analyse` | `analyse`, `replay` |
| `ladder` | `ladder …` |
| `loop` | `selfplay`, `export`, `train`, `gate`, `loop`, `worker` |
| `jobs` | `jobs …` |
| `match` | `match`, `rate` |
| `data` | `data …` |
| `quarantine` | `quarantine …` |
| `store` | `models …` |
| `runs` | `runs …`, `models card`, `models import` |
| `events` | `events …` |
| `services` | `services …` |
| `dashboard` | `dashboard` |
| `simulate` | `simulate` |
| `serve` | `serve` |
| `backup` | `backup …`, `restore` |
| `bench` | `bench …` |
| `benchmark` | `benchmark` |

A command is a function with typed options from `options`; its body imports the layer that it calls, so that `--help`
and completion load nothing heavy. Bad input is raised as an error of `ringrift.errors` and answered here, once.
"""

import errno
import os
import sys
from typing import Annotated

import typer

from ringrift import __version__
from ringrift.cli import (
    analyse,
    backup,
    bench,
    benchmark,
    dashboard,
    data,
    events,
    ground,
    jobs,
    ladder,
    loop,
    match,
    play,
    quarantine,
    rules,
    runs,
    serve,
    services,
    simulate,
    store,
)
from ringrift.errors import RingRiftError

app = typer.Typer(
    help="RingRift: exact rules, self-play training and opponents.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    ground,
    rules,
    play,
    analyse,
    ladder,
    loop,
    jobs,
    match,
    data,
    quarantine,
    store,
    runs,
    events,
    services,
    dashboard,
    simulate,
    serve,
    backup,
    bench,
    benchmark,
):
    app.add_typer(group.app)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ringrift {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """RingRift: exact rules, self-play training and opponents."""


def sentence(error: BaseException) -> str | None:
    """What to tell the user instead of a traceback; None for an error that is a fault of the program."""
    if isinstance(error, RingRiftError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" for {error.filename}" if error.filename else ""
        return f"no space left on the device{where}; what was stored before is intact: free some space and repeat"
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return "no space left for the database; what was stored before is intact: free some space and repeat"
    return None


def main() -> None:
    """Run the command line; status 0 when done, 1 when the answer is no, 2 for input that cannot be used."""
    try:
        app()
    except BrokenPipeError:  # `ringrift … | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # answered with a sentence, or raised again
        if (text := sentence(error)) is None:
            raise
        typer.echo(f"ringrift: {text}", err=True)
        sys.exit(2)
