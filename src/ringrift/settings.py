"""One `Settings`: the layers' own structs side by side, each value with a known origin.

A value comes from the last of these that names it:

1. the default in the layer's struct
2. the settings file (TOML): `--settings FILE`, else `$RINGRIFT_SETTINGS`, else `ringrift.toml` where it exists
3. the environment: `RINGRIFT_TRAINING__STEPS=500` is `training.steps = 500`
4. `--set training.steps=500`
5. an option of the command that is for it: `--steps 500`

Within each of 2 to 4, `config.hex8_2p.training.steps` holds for that config alone and goes before the general value.
Unknown keys are refused. Values are converted and checked by the field's type and by the struct's `__post_init__`.
"""

import ast
import dataclasses
import inspect
import os
import re
import reprlib
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from ringrift.errors import SettingsError, unknown
from ringrift.pipeline.settings import Recipe
from ringrift.texts import decoded
from ringrift.web.settings import ServeSettings

PREFIX = "RINGRIFT_"
#: Environment variables with our prefix that are not settings.
OTHER_VARIABLES = {
    "RINGRIFT_SETTINGS": "the settings file, where it is not `ringrift.toml`",
    "RINGRIFT_VECTORS": "the folder of recorded games that the parity tests replay",
    "RINGRIFT_API_KEY": "the key that requests to the service, the page and the loop's port need, on this machine too",
    "ADMIN_API_KEY": "the key of its admin requests",
}
#: Environment variables of the earlier service, and the settings that they are.
EARLIER_VARIABLES = {
    "CORS_ORIGINS": "serve.cors_origins",
    "RINGRIFT_AI_TIMEOUT": "serve.time_limit",
    "RINGRIFT_ENV": "serve.environment",
}


@dataclass(frozen=True)
class Places:
    """Where things are kept."""

    data: Path = Path("runs")
    """Folder of the run directories; a command without `--run` uses `DATA/CONFIG`."""
    models: Path | None = None
    """Folder where the loop puts each promoted network too, as `CONFIG.onnx` for programs; none: only in the run."""
    logs: Path | None = None
    """Folder of the loop's log, `loop-CONFIG.jsonl` with a line per round; none: `logs` in the run directory."""


@dataclass(frozen=True)
class Settings(Recipe):
    """Everything that can be set: the stages' structs and the places; each layer receives its own part."""

    places: Places = field(default_factory=Places)
    serve: ServeSettings = field(default_factory=ServeSettings)


@dataclass(frozen=True)
class Leaf:
    """One settable value."""

    key: str  #: dotted: `training.steps`
    type: Any
    type_text: str
    default: Any
    struct: Any  #: whose field it is

    @property
    def doc(self) -> str:
        """The docstring under the field; read from the source, so only where it is asked for."""
        return _field_docs(self.struct).get(self.key.rpartition(".")[2], "")


@dataclass(frozen=True)
class Setting:
    """A value in force and where it comes from."""

    key: str
    value: Any
    source: str  #: `default`, the file, the variable or `--set`, with the config where the value is for it alone


def load(
    config: str | None = None,
    *,
    file: Path | None = None,
    assign: Iterable[str] | None = None,
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings in force, for `config` if one is named.

    Raises SettingsError for a file that cannot be read, an unknown key, and a value of the wrong type or out of range.
    """
    return _build(resolve(config, file=file, assign=assign, options=options, environ=environ))


def resolve(
    config: str | None = None,
    *,
    file: Path | None = None,
    assign: Iterable[str] | None = None,
    options: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[Setting]:
    """Every setting with its value and origin, in the order of the reference. Raises as `load`."""
    known = leaves()
    found = {key: Setting(key, leaf.default, "default") for key, leaf in known.items()}
    sources = _from_file(file, environ), _from_environment(environ), _from_assignments(assign or ())
    for given in (*sources, _from_options(options or {})):
        special: list[Setting] = []
        for one in given:
            of_config, key = _split(one)
            setting = Setting(key, _convert(known, key, one), one.source)
            if of_config is None:
                found[key] = setting
            elif of_config == config:
                special.append(dataclasses.replace(setting, source=f"{one.source} for {config}"))
        found |= {one.key: one for one in special}
    resolved = list(found.values())
    _build(resolved)
    return resolved


def to_dict(settings: Settings) -> dict[str, Any]:
    """`settings` as JSON can hold it, to be stored with a run or a model."""
    return dict(TypeAdapter(Settings).dump_python(settings, mode="json"))


@cache
def leaves() -> dict[str, Leaf]:
    """Every settable value by its dotted key."""
    return {leaf.key: leaf for leaf in _walk(Settings())}


def reference() -> str:
    """The settings reference in Markdown, made from the structs."""
    lines = [
        "# Settings",
        "",
        "Generated by `make docs` (`ringrift config reference`) from the structs of the layers; do not edit.",
        "",
        *inspect.getdoc(inspect.getmodule(Settings)).partition("\n\n")[2].splitlines(),  # type: ignore[union-attr]
    ]
    section = None
    for leaf in leaves().values():
        if (name := leaf.key.partition(".")[0]) != section:
            section = name
            doc = inspect.getdoc(_struct(name)) or ""
            head = doc.partition("\n\n")[0].replace("\n", " ")
            lines += ["", f"## `{name}`", "", head, "", "| key | type | default | meaning |", "|---|---|---|---|"]
        type_text = leaf.type_text.replace("|", "\\|")
        lines.append(f"| `{leaf.key}` | {type_text} | `{_text(leaf.default)}` | {leaf.doc} |")
    lines += ["", "## Other environment variables", "", "| variable | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {doc} |" for name, doc in OTHER_VARIABLES.items()]
    lines += [f"| `{name}` | `{key}`, as the earlier service has it |" for name, key in EARLIER_VARIABLES.items()]
    return "\n".join(lines) + "\n"


# -- the structs, read -------------------------------------------------------------------------------------------------


def _struct(section: str) -> type:
    struct = get_type_hints(Settings)[section]
    assert isinstance(struct, type)
    return struct


def _walk(struct: Any, prefix: str = "") -> Iterator[Leaf]:
    """The values of a struct made with its defaults; a layer may give a nested struct other defaults than its own."""
    hints = get_type_hints(type(struct))
    for item in dataclasses.fields(struct):
        key, type_, value = prefix + item.name, hints[item.name], getattr(struct, item.name)
        if dataclasses.is_dataclass(type_):
            yield from _walk(value, key + ".")
        else:
            type_text = type_.__name__ if isinstance(type_, type) else re.sub(r"\bpathlib\.(_local\.)?", "", str(type_))
            yield Leaf(key, type_, type_text, value, type(struct))


@cache
def _field_docs(struct: type) -> dict[str, str]:
    """The docstring under each field, which Python itself drops."""
    docs = _field_docs(struct.__base__) if dataclasses.is_dataclass(struct.__base__) else {}
    body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0].body  # type: ignore[attr-defined]
    for above, below in pairwise(body):
        match above, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = " ".join(text.split())
    return docs


def _build(resolved: Iterable[Setting]) -> Settings:
    values = {one.key: one for one in resolved}

    def make(struct: Any, prefix: str) -> Any:
        hints = get_type_hints(struct)
        arguments = {}
        for item in dataclasses.fields(struct):
            key, hint = prefix + item.name, hints[item.name]
            arguments[item.name] = make(hint, key + ".") if dataclasses.is_dataclass(hint) else values[key].value
        try:
            return struct(**arguments)
        except ValueError as error:
            given = {one.key.removeprefix(prefix): one.source for one in values.values() if one.key.startswith(prefix)}
            given = {name: source for name, source in given.items() if source != "default"}
            said = set(re.findall(r"\w+", str(error)))
            blamed = {source for name, source in given.items() if name in said} or set(given.values())
            raise SettingsError(f"{prefix.rstrip('.')} ({', '.join(sorted(blamed))}): {error}") from error

    settings = make(Settings, "")
    assert isinstance(settings, Settings)
    return settings


# -- where values come from --------------------------------------------------------------------------------------------


def _from_file(file: Path | None, environ: Mapping[str, str]) -> list[Setting]:
    named = file or environ.get("RINGRIFT_SETTINGS")
    path = Path(named or "ringrift.toml")
    if not named and not path.exists():
        return []
    try:
        tree = tomllib.loads(decoded(path.read_bytes()))
        return list(_flattened(tree, "", str(path)))
    except RecursionError as error:
        raise SettingsError(f"settings file {path} is nested deeper than any setting") from error
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise SettingsError(f"settings file {path} is not TOML: {error}") from error


def _flattened(tree: Mapping[str, Any], prefix: str, source: str) -> Iterator[Setting]:
    for name, value in tree.items():
        key = prefix + name
        if isinstance(value, dict) and _general(key) not in leaves():
            yield from _flattened(value, key + ".", source)
        else:
            yield Setting(key, value, source)


def _from_environment(environ: Mapping[str, str]) -> list[Setting]:
    earlier = [Setting(key, environ[name], f"${name}") for name, key in EARLIER_VARIABLES.items() if name in environ]
    return earlier + [
        Setting(name.removeprefix(PREFIX).lower().replace("__", "."), text, f"${name}")
        for name, text in sorted(environ.items())
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES.keys() | EARLIER_VARIABLES.keys()
    ]


def _from_assignments(assign: Iterable[str]) -> list[Setting]:
    given = []
    for text in assign:
        key, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"--set {text}: a value is given as KEY=VALUE")
        given.append(Setting(key.strip(), value.strip(), "--set"))
    return given


def _from_options(options: Mapping[str, Any]) -> list[Setting]:
    """What options of a command give, by key: `match.timeout` by `--timeout`, `loop.first_games` by `--games`."""
    names = {key: key.rpartition(".")[2].removeprefix("first_").replace("_", "-") for key in options}
    return [Setting(key, value, f"--{names[key]}") for key, value in options.items() if value is not None]


def _general(key: str) -> str:
    """`config.hex8_2p.training.steps` → `training.steps`."""
    return key.split(".", 2)[-1] if key.startswith("config.") else key


def _split(one: Setting) -> tuple[str | None, str]:
    """The config that a given key is for, or None, and the key; both must exist."""
    config = None
    if one.key.startswith("config."):
        from ringrift.rules import CONFIGS

        config = one.key.split(".")[1]
        if config not in CONFIGS:
            raise SettingsError(f"{one.source}: {unknown('config', config, CONFIGS)}")
    key = _general(one.key)
    if key not in leaves():
        near = [name for name in leaves() if name.rpartition(".")[2] == key.rpartition(".")[2]]
        near = near or get_close_matches(key, leaves(), n=1, cutoff=0)
        raise SettingsError(f"{one.source}: unknown key {one.key!r}; did you mean {near[0]!r}?")
    return config, key


def _convert(known: Mapping[str, Leaf], key: str, one: Setting) -> Any:
    """The given value in the field's type; a text may be written as TOML would write it."""
    readings = [one.value]
    if isinstance(one.value, str) and one.source.startswith(("$", "--")):
        with suppress(ValueError, RecursionError):  # no TOML, a number of absurd length, or nested without end
            readings.insert(0, tomllib.loads(f"value = {one.value}")["value"])
    for reading in readings:
        try:
            return TypeAdapter(known[key].type).validate_python(reading)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
    wanted = known[key].type_text
    raise SettingsError(
        f"{one.source}: {one.key} = {reprlib.repr(one.value)} is not {wanted}: {problem[:1].lower()}{problem[1:]}"
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)
