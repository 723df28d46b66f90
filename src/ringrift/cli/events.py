"""`ringrift events`: what has happened in a run, why, and what could not be delivered."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ringrift.cli.models import opened
from ringrift.cli.options import AnyConfig, Json, Run
from ringrift.cli.printing import cell, print_json, print_table
from ringrift.errors import SettingsError, unknown

if TYPE_CHECKING:
    from rich.tree import Tree

    from ringrift.fabric import Job, LogEntry
    from ringrift.pipeline.trace import Cause

app = typer.Typer()
events_app = typer.Typer(
    help="The events of a run: what happened, why, and what was not delivered.", no_args_is_help=True
)
app.add_typer(events_app, name="events")

FOLLOW_SECONDS = 1.0
PATH_SHOWN = 12  #: of what led to something, the last so many
Types = Annotated[str, typer.Option("--type", metavar="TYPES", help="Only these, with commas between them.")]
Limit = Annotated[int, typer.Option(min=0, help="At most so many, the newest.")]


@events_app.command("ls")
def events_ls(
    run: Run = None, config: AnyConfig = None, type_: Types = "", limit: Limit = 30, json: Json = False
) -> None:
    """List the last events.

    Example: ringrift events ls --run runs/two --type MatchFinished
    """
    with opened(run, config) as directory:
        found = directory.fabric.log.tail(limit, types=_types(type_), key=config)
    if json:
        print_json([dataclasses.asdict(entry) for entry in found])
    for entry in found if not json else ():
        typer.echo(line(entry))


@events_app.command("tail")
def events_tail(
    run: Run = None, config: AnyConfig = None, type_: Types = "", limit: Limit = 10, json: Json = False
) -> None:
    """Show the last events, and the next ones as they come, until Ctrl-C; with --json a line of JSON each."""
    import json as writer

    types, ended = _types(type_), threading.Event()
    signal.signal(signal.SIGINT, lambda *_: ended.set())  # not an exception in the midst of a query
    with opened(run, config) as directory:
        log = directory.fabric.log
        after = log.last()
        found = [entry for entry in log.tail(limit, types=types, key=config) if entry.sequence <= after]
        while not ended.is_set():
            for entry in found:
                typer.echo(writer.dumps(dataclasses.asdict(entry)) if json else line(entry))
            while not ended.is_set() and not log.wait(after, FOLLOW_SECONDS):
                pass
            last = log.last()
            found = log.read(after, types=types, key=config)
            after = max(after, found[-1].sequence) if len(found) == 1000 else max(after, last)


@events_app.command("trace")
def events_trace(
    name: Annotated[str, typer.Argument(metavar="ID", help="An event's number; the id of a job, a model or a game.")],
    run: Run = None,
    config: AnyConfig = None,
    json: Json = False,
) -> None:
    """Show what led to something, from the root, and all that came of it.

    Example: ringrift events trace m-0123abcd --run runs/two
    """
    from rich.tree import Tree

    from ringrift.pipeline.display import wide_console
    from ringrift.pipeline.trace import trace

    with opened(run, config) as directory:
        traces = trace(directory.fabric, name)
    if json:
        print_json([dataclasses.asdict(found) for found in traces])
        return
    for found in traces:
        root = Tree(f"{name}")
        hidden = len(found.path) - PATH_SHOWN
        if hidden > 0:
            root.add(f"… {hidden} earlier ones, from {line(found.path[0])}")
        at = root
        for entry in found.path[max(0, hidden) :]:
            at = at.add(line(entry), style="dim")
        _grow(at, found.tree)
        wide_console(soft_wrap=True, highlight=False).print(root)


@events_app.command("dead")
def events_dead(
    run: Run = None,
    config: AnyConfig = None,
    effect: Annotated[str, typer.Option(metavar="EFFECT", help="Only this one's.")] = "",
    json: Json = False,
) -> None:
    """List the events that an effect could not take; --json has the tracebacks."""
    from ringrift.kernel.effects import dead_letters

    _check_effect(effect)
    with opened(run, config) as directory:
        letters = dead_letters(directory.fabric.registry, effect)
    if json:
        print_json([dataclasses.asdict(letter) for letter in letters])
        return
    print_table(
        [
            {
                "effect": letter.effect, "event": letter.entry.sequence, "type": letter.entry.type,
                "attempts": letter.attempts, "last": _clock(letter.last), "error": letter.error.split("\n")[-2],
            }
            for letter in letters
        ],
        "no dead letters",
    )  # fmt: skip


@events_app.command("replay")
def events_replay(
    effect: Annotated[str, typer.Argument(metavar="EFFECT", help="The effect that failed.")],
    event: Annotated[int, typer.Argument(metavar="EVENT", help="Number of the event, as `events dead` shows it.")],
    run: Run = None,
    config: AnyConfig = None,
) -> None:
    """Run the effect that failed again for a dead letter, and nothing else; the letter goes when that succeeds."""
    from ringrift.fabric.workers import process_name
    from ringrift.kernel.bus import Bus
    from ringrift.kernel.effects import replay
    from ringrift.pipeline.effects import EFFECTS
    from ringrift.pipeline.service import Context
    from ringrift.settings import load

    with opened(run, config) as directory:
        services = load(config).services
        ctx = Context(directory, Bus(directory.fabric.log, process_name()), services)
        replay(effect, event, ctx, EFFECTS)
    typer.echo(f"{effect} has taken event {event}")


@events_app.command("purge")
def events_purge(
    run: Run = None,
    config: AnyConfig = None,
    days: Annotated[
        float | None, typer.Option(min=0, help="Events older than this; none that an effect lacks.")
    ] = None,
    dead: Annotated[str, typer.Option(metavar="EFFECT[/EVENT]", help="Dead letters of an effect, or one; `all`.")] = "",
) -> None:
    """Forget old events, or dead letters that nobody will replay."""
    from ringrift.kernel.effects import purge_dead, purge_events
    from ringrift.pipeline.effects import EFFECTS

    if days is None and not dead:
        raise SettingsError("what is to be purged? give --days DAYS for old events, or --dead EFFECT")
    with opened(run, config) as directory:
        if days is not None:
            gone = purge_events(directory.fabric, EFFECTS, time.time() - days * 86400)
            typer.echo(f"{gone} events forgotten")
        if dead:
            effect, _, event = dead.partition("/")
            if event and not event.isdigit():
                raise SettingsError(f"--dead {dead}: EFFECT or EFFECT/EVENT, with an event's number, is right")
            effect = "" if effect == "all" else effect
            _check_effect(effect)
            gone = purge_dead(directory.fabric.registry, effect, int(event) if event else None)
            typer.echo(f"{gone} dead letters forgotten")


@events_app.command("graph")
def events_graph(
    dot: Annotated[bool, typer.Option("--dot", help="For Graphviz, instead of Mermaid.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The reference, docs/events.md.")] = False,
    json: Json = False,
) -> None:
    """Draw who publishes which event and who hears it."""
    from ringrift.kernel.topology import topology
    from ringrift.pipeline.table import WHOLE
    from ringrift.pipeline.topology import dot as graphviz
    from ringrift.pipeline.topology import mermaid, reference

    found = topology(WHOLE)
    if json:
        print_json(dataclasses.asdict(found))
    else:
        draw = graphviz if dot else reference if markdown else mermaid
        typer.echo(draw(found), nl=not markdown)


def line(entry: LogEntry) -> str:
    """An event on one line."""
    fields = {name: value for name, value in entry.payload.items() if name != "config" and value not in ("", None)}
    said = " ".join(f"{name}={_short(value)}" for name, value in fields.items())
    return f"#{entry.sequence} {_clock(entry.at)} {entry.type} {entry.key} {said}".replace("  ", " ").rstrip()


def _short(value: Any) -> str:
    text = cell(value) if not isinstance(value, str) else value.strip().partition("\n")[0]
    return text if len(text) <= 60 else text[:59] + "…"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%m-%d %H:%M:%S")


def _types(given: str) -> list[str]:
    from ringrift.pipeline.events import EVENTS

    names = [name for name in given.split(",") if name]
    for name in names:
        if name not in EVENTS:
            raise SettingsError(unknown("event", name, EVENTS))
    return names


def _check_effect(name: str) -> None:
    from ringrift.pipeline.effects import EFFECTS

    if name and name not in (names := [effect.name for effect in EFFECTS]):
        raise SettingsError(unknown("effect", name, names))


def _grow(at: Tree, cause: Cause) -> None:
    branch = at.add(_said(cause.what), style="bold" if cause.asked else "")
    for one in cause.led_to:
        _grow(branch, one)
    if cause.more:
        branch.add(f"… {cause.more} more")


def _said(what: LogEntry | Job) -> str:
    from ringrift.fabric import LogEntry

    return line(what) if isinstance(what, LogEntry) else f"job {what.id} {what.state.value}"
