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
| `models` | `models …` |
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
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

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
    models,
    play,
    quarantine,
    rules,
    runs,
    serve,
    services,
    simulate,
)
from ringrift.errors import RingRiftError


class Frame(typer.core.TyperGroup):
    """Writes out what a command has said before it has a status: a full disk and a closed pipe are told by it."""

    def invoke(self, ctx: Any) -> Any:
        import numpy  # noqa: F401 # an interrupt while it is loaded would end as an error of numpy

        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # from here on a command can end in order
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:  # `ringrift … | head`: the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(128 + signal.SIGPIPE) from None
        return done


app = typer.Typer(
    cls=Frame,
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
    models,
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


#: What the file system refuses, by the number of the error; `{}` is the path.
REFUSALS = {
    errno.ENOENT: "{} does not exist",
    errno.EACCES: "{} may not be used by this user: change its permissions, or give another place",
    errno.EPERM: "{} may not be used by this user: change its permissions, or give another place",
    errno.EISDIR: "{} is a directory: give a file",
    errno.ENOTDIR: "{} has a file where a directory is right: give another place",
    errno.EEXIST: "{} exists already, as something else: give another place",
    errno.ENAMETOOLONG: "{} is too long for a name: give a shorter one",
    errno.ELOOP: "{} is a link that leads back to itself: give another place",
    errno.EROFS: "{} is on a medium that can only be read: give another place",
    errno.EMFILE: "too many files are open to open {}: raise the limit (`ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine to open {}",
    errno.EIO: "the device failed to read or write {}",
}
#: Of sqlite3, which the frame does not load: its other errors are faults of the program.
DATABASE_ERRORS = (("sqlite3", "OperationalError"), ("sqlite3", "DatabaseError"))
FULL = "what was stored before is intact: free some space and repeat"


def extra_of(module: str) -> str | None:
    """The extra of this package that brings a module; None for one that comes with no extra."""
    from importlib.metadata import requires

    name = re.escape(module.partition(".")[0].replace("_", "-"))
    found = (re.match(rf"{name}\b.*extra == ['\"]([\w-]+)", need) for need in requires("ringrift") or ())
    return next((match[1] for match in found if match and match[1] != "dev"), None)


def sentence(error: BaseException) -> str | None:
    """What to tell the user instead of a traceback; None for an error that is a fault of the program."""
    if isinstance(error, BaseExceptionGroup):  # of tasks that ran side by side
        said = [sentence(one) for one in error.exceptions]
        return "; ".join(dict.fromkeys(filter(None, said))) if all(said) else None
    if isinstance(error, RingRiftError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (extra := extra_of(error.name or "")):
        return f"{error.name} is not installed: pip install 'ringrift[{extra}]'; in a checkout: make setup"
    if isinstance(error, OSError) and error.errno is not None:
        where = "" if error.filename is None else _shortened(os.fsdecode(error.filename))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space left on the device{where and f' for {where}'}; {FULL}"
        otherwise = f"{{}}: {(error.strerror or str(error)).lower()}"
        return REFUSALS.get(error.errno, otherwise).format(where or "a file")
    if isinstance(error, OverflowError):  # of what a database or the core can take
        return f"a number that was given is too large: {str(error)[:1].lower()}{str(error)[1:]}"
    if (type(error).__module__, type(error).__name__) in DATABASE_ERRORS:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return f"no space left for the database; {FULL}"
        return f"a database cannot be used: {error}"
    return None


def _shortened(path: str) -> str:
    return path if len(path) <= 300 else f"{path[:100]}…{path[-100:]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; status 0 when done, 1 when the answer is no, 2 for input that cannot be used."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is shown as `?`
            stream.reconfigure(errors="replace")
    try:
        app(arguments)
    except Exception as error:  # answered with a sentence, or raised again
        if (text := sentence(error)) is None:
            raise
        one_line = re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], text)
        typer.echo(f"ringrift: {one_line}", err=True)
        sys.exit(2)
