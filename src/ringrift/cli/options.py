"""Options that commands share, so that each means the same everywhere. A command takes them by their names:

    @app.command()
    def train(config: Config, run: Run = None, assign: Assign = None, json: Json = False) -> None:

The metavars and help texts are said here once.
"""

import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ringrift.settings import Settings


def time_option(said: str) -> Any:
    """An option that takes a time, see `parse_time`."""
    return typer.Option(
        parser=parse_time, metavar="TIME", help=f"{said}: 2026-11-22T08:30, with Z or +02:00, or 6h ago."
    )


def config_names(incomplete: str) -> Iterator[str]:
    """Completions of a config name."""
    from ringrift.rules import CONFIGS

    return (name for name in CONFIGS if name.startswith(incomplete))


def known_config(name: str | None) -> str | None:
    """`name` itself; an unknown one raises RulesError, which lists the known ones."""
    if name is not None:
        from ringrift.rules import config_info

        config_info(name)
    return name


_config = typer.Option(
    "--config",
    "-c",
    metavar="CONFIG",
    help="Board and seats: {square8,hex8,square19,hexagonal}_{2,3,4}p.",
    autocompletion=config_names,
    callback=known_config,
)

Config = Annotated[str, _config]
AnyConfig = Annotated[str | None, _config]
Run = Annotated[Path | None, typer.Option("--run", metavar="DIR", help="Run directory; default: runs/CONFIG.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, nothing else.")]
Assign = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value for this command; see `ringrift config reference`."),
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="Settings file; default: ringrift.toml if it exists.")
]


def parse_time(text: str) -> float:
    """Unix time of a date or time, local where it names no zone; of a time of today; or of so many hours ago.

    Raises `SettingsError` for a text that is none of these.
    """
    from ringrift.errors import SettingsError

    try:
        if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?h?", text, re.ASCII):
            return time.time() - 3600 * float(text.removesuffix("h"))
        today = f"{datetime.now().astimezone():%Y-%m-%d}T"
        return datetime.fromisoformat(today + text if re.match("[0-9]{2}:", text) else text).timestamp()
    except (ValueError, OverflowError, OSError):
        right = (
            "2026-11-22, 2026-11-22T08:30, 2026-11-22T08:30Z, 2026-11-22T08:30+02:00, 08:30 of today, or hours ago, 6h,"
        )
        raise SettingsError(f"{text!r} is no time: {right} is right") from None


def picture(out: Path, *endings: str) -> Path:
    """The file that a picture goes to, before the work for it begins. Raises SettingsError where it cannot."""
    from importlib.util import find_spec

    from ringrift.errors import SettingsError

    if out.suffix not in endings:
        raise SettingsError(f"{out} ends in {out.suffix!r}; {' or '.join(endings)} is right")
    if not out.parent.is_dir():
        raise SettingsError(f"{out.parent} is no directory for the picture {out.name}: make it first")
    if find_spec("matplotlib") is None:
        raise SettingsError("pictures need matplotlib: pip install 'ringrift[track]'")
    return out


def settings_of(config: str, file: Path | None, assign: list[str] | None, **given: Any) -> "Settings":
    """The settings in force; what an option gives goes before all else."""
    from ringrift.settings import load

    return load(config, file=file, assign=assign, options=given)


def directory_of(run: Path | None, config: str, settings: "Settings") -> Path:
    """The run directory that is meant."""
    return run if run is not None else settings.places.data / config
