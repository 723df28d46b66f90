"""Every command against every kind of path that it cannot use: status 2 and one sentence, never a traceback."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from ringrift import cli
from ringrift.rules import Game, Record
from ringrift.store import RunDirectory

#: What the other parameters are given, so that the path is what the command fails at; {} is the folder of sound things.
SOUND = {
    "a": "random", "b": "heuristic", "id_": "j", "ids": "j", "trainings": "last", "model": "best", "game": "1",
    "name": "worker", "effect": "cards", "event": "1", "--config": "square8_2p", "directory": "{}/run",
    "place": "{}/copies", "record": "{}/record.json", "--run": "{}/run",
    "pool": "{}/pool.jsonl", "places": "{}/run", "shard": "{}/run/none.npz", "file": "{}/run/none.npz",
    "directories": "{}/run", "files": "{}/record.json",
}  # fmt: skip
#: More of that, for some commands; and what keeps them short.
WITH = {
    "events purge": "--days 1", "quarantine restore": "--all", "quarantine purge": "--all", "selfplay": "--games 1",
    "ladder measure": "--games 2", "ladder cost": "--level 1", "match": "--games 2", "dashboard": "--port 0",
    "serve": "--port 0", "loop": "--minutes 0.001", "analyse": "--simulations 1", "benchmark": "--seconds 0.1",
    "data import places": "--dry-run", "data merge directories": "--run {}/merged",
    "replay --network": "--search --ply 0", "data quality --plot": "", "show --svg": "",
}  # fmt: skip
#: Paths that a command makes: those that do not exist are right.
MADE = {
    "match --save", "show --svg", "ladder measure --out", "restore directory", "selfplay --run", "loop --run",
    "models import --run", "data import --run", "data merge --run", "backup make place",
}  # fmt: skip
#: Commands that tell of each of several files, and then have a status that is not 0.
OF_EACH = ("data import places", "data ls places")
#: Commands that first say that torch is not installed.
TRAINING = ("loop --run", "worker --run", "models import file")


#: Built once: that takes longer than most commands that fail.
COMMAND = get_command(cli.app)


class Place(NamedTuple):
    """A parameter of a command that takes a path."""

    command: tuple[str, ...]
    parameter: Any
    needed: tuple[Any, ...]
    """it and the other parameters that the command needs"""

    @property
    def name(self) -> str:
        return f"{' '.join(self.command)} {spelt(self.parameter)}"

    def kinds(self) -> list[str]:
        kinds = ["too long", "loop of links", "below a file"] + ["missing"] * (self.name not in MADE)
        of_file = str(self.parameter.metavar).startswith(("FILE", "SHARD", "POOL"))
        if self.name == "data import places":  # a directory of files, or one of them
            return kinds
        return [*kinds, "directory" if of_file else "file"]

    def words(self, path: Path, folder: Path) -> list[str]:
        """The command line with that path in this place."""
        words = shlex.split(WITH.get(self.name, WITH.get(" ".join(self.command), "")).format(folder))
        for one in self.needed:
            given = str(path) if one is self.parameter else SOUND[spelt(one)].format(folder)
            words += [spelt(one), given] if spelt(one).startswith("--") else [given]
        return [*self.command, *words]


def spelt(parameter: Any) -> str:
    return str(parameter.opts[0])


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def places() -> Iterator[Place]:
    for path, command in commands(COMMAND):
        for one in command.params:
            if "Path" in str(one.type_descriptor.annotation) or one.name in ("place", "places"):
                needed = [
                    other for other in command.params if other.required or other is one or spelt(other) == "--run"
                ]
                yield Place(path, one, tuple(needed))


PLACES = {place.name: place for place in places()}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, a record and a backup, and with paths of every kind that is not sound."""
    folder = tmp_path_factory.mktemp("sound")
    with RunDirectory.create(folder / "run"):
        pass
    with pytest.raises(SystemExit):
        cli.main(["match", "random", "heuristic", "--games", "2", "--save", str(folder / "pool.jsonl")])
    with pytest.raises(SystemExit):
        cli.main(["backup", "make", str(folder / "run"), str(folder / "copies")])
    record = Record.from_game(Game(), seed=1, players=("random", "random"))
    (folder / "record.json").write_text(record.to_json(), encoding="utf-8")
    (folder / "file").write_bytes(b"{[\xff")
    (folder / "directory").mkdir()
    (folder / "loop of links").symlink_to("loop of links")
    return folder


def bad_path(folder: Path, kind: str) -> Path:
    return {"too long": folder / ("x" * 300), "below a file": folder / "file" / "x"}.get(kind, folder / kind)


def said_by(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Status, standard output and standard error of the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "app", COMMAND)
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
    return ended.value.code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("jobs ls --run {}/run --limit 1000000000000000000000000000000", "a number that was given is too large"),
        ("events ls --run {}/run --limit 1000000000000000000000000000000", "a number that was given is too large"),
        ("match random heuristic --games 999999999999", "match (--games): games is 999999999999; 1 to 1,000,000 is"),
        (
            "selfplay -c square8_2p --run {}/run --games 9999999999999999",
            "1 to 1,000,000 is right",
        ),
        (
            "selfplay -c square8_2p --run {}/run --set selfplay.play.processes=99999",
            "99999; 1 to 1024, or 0 for",
        ),
        ("match random heuristic --sprt 0,1e6", "--sprt"),
        ("match random heuristic --sprt 0,inf", "--sprt"),
        ("match random heuristic --sprt abc", "--sprt abc: two differences in Elo are right"),
        ("match random heuristic --timeout 0", "match (--timeout): timeout is 0.0; more than 0 is right"),
        ("selfplay --config square8_2p --engine gumbl", "selfplay (--engine): unknown engine 'gumbl'; did you mean"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_as_it_was_typed(
    line: str, said: str, sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = said_by(line.format(sound).split(), capsys)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert said in err


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.training) if name in TRAINING else name for name in PLACES]
)
def test_a_path_that_cannot_be_used_is_one_sentence(
    name: str, sound: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in PLACES[name].kinds():
        path = bad_path(sound, kind)
        status, out, err = said_by(PLACES[name].words(path, sound), capsys)
        said = err.splitlines()[-1:] or out.splitlines()[-1:]
        assert status == 2 or (status == 1 and name in OF_EACH), (kind, status, out, err)
        assert err.count("ringrift: ") == 1 or name in OF_EACH, err
        assert "Traceback" not in err + out
        assert path.name[:50] in said[0], said
