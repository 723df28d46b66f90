"""What holds for the package as a whole: what an import loads, the layers, the documents."""

import ast
import doctest
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ringrift

ROOT = Path(__file__).parent.parent
DOCUMENTS = [path for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")] if ">>> " in path.read_text()]
PLAYING_WING = ("rules", "wire", "encoding", "evaluators", "search", "players")
HEAVY = ("torch", "typer", "rich", "pydantic", "onnx", "onnxruntime", "safetensors", "sqlite3", "asyncio")


def run(code: str, python: str | Path = sys.executable) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["ringrift", *(f"ringrift.{layer}" for layer in PLAYING_WING)])
def test_importing_the_playing_wing_loads_nothing_heavy(module: str) -> None:
    loaded = set(run(f"import sys, {module}; print(*sys.modules)").split())
    assert not loaded & set(HEAVY)


def test_the_command_line_answers_without_the_layers() -> None:
    code = "import sys\nfrom typer.testing import CliRunner\nfrom ringrift.cli import app\n"
    code += "assert CliRunner().invoke(app, ['--help']).exit_code == 0\nprint(*sys.modules)"
    loaded = set(run(code).split())
    assert not loaded & {"torch", "pydantic", "numpy.random", "onnxruntime", "sqlite3"}


BARE = """
import importlib.util
import numpy as np
assert not any(map(importlib.util.find_spec, ("torch", "typer", "pydantic", "rich", "onnxruntime")))
import ringrift as rr
from ringrift import encoding, players
game, rng = rr.Game("hex8_2p"), np.random.default_rng(1)
for name in ("random", "heuristic", "gumbel"):
    player = players.choose(name, "hex8_2p").make()
    for _ in range(4):
        game.push(player.decide([game], rng)[0].move)
assert len(encoding.encode([game])[0]) == 1
assert rr.Game.parse(game.text()).key == game.key
record = rr.Record.from_game(game, seed=1, players=("a", "b"))
print(rr.Record.from_bytes(record.to_bytes()).replay().ply)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)  # compiles the core once more
def test_the_playing_wing_works_in_a_bare_environment(tmp_path: Path) -> None:
    """The built wheel, installed with numpy and nothing else, plays with every player that needs no model."""
    wheels, venv = tmp_path / "wheels", tmp_path / "venv"
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(ROOT)]
    subprocess.run(wheel, check=True, env=environ)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", *wheels.iterdir(), numpy_pin()], check=True)
    assert run(BARE, python) == "12\n"


def numpy_pin() -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith("numpy=="))


def test_the_layers_hold() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_sessions_in_the_documents_run(document: Path) -> None:
    failed, tried = doctest.testfile(str(document), module_relative=False)
    assert tried and not failed


def test_the_tree_of_files_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "tree.py", "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_one_version() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == ringrift.__version__


def test_every_public_name_exists() -> None:
    assert all(hasattr(ringrift, name) for name in ringrift.__all__)


def test_no_files_import_each_other_in_a_circle() -> None:
    """Whether at the top or in a function; what only a type checker reads does not count."""
    source = Path(ringrift.__file__).parent
    names = {
        ".".join(["ringrift", *path.relative_to(source).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in source.rglob("*.py")
    }

    def read(node: ast.AST) -> Iterator[str]:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.ImportFrom) and part.module:
                for alias in part.names:
                    whole = f"{part.module}.{alias.name}"
                    yield whole if whole in names else part.module
            elif isinstance(part, ast.Import):
                yield from (alias.name for alias in part.names)
            elif not (isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING"):
                yield from read(part)

    imports = {
        name: {one for one in read(ast.parse(path.read_text())) if one in names} - {name, "ringrift"}
        for name, path in names.items()
    }
    assert "ringrift.rules.game" in imports["ringrift.rules"]
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(reversed(error.args[1]))) from None
