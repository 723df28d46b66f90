"""Lines per layer against the budget of the house: code lines, without blank lines, comments and docstrings."""

import ast
import io
import tokenize
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Group → (its layers, budget in lines).
BUDGET = {
    "rules": (["rules"], 800),
    "parity, aec, bench": (["parity", "aec", "bench"], 0),
    "wire": (["wire"], 600),
    "encoding … analysis": (["encoding", "evaluators", "search", "players", "analysis"], 1800),
    "fabric": (["fabric"], 1600),
    "selfplay, store": (["selfplay", "store"], 3000),
    "nets, training": (["nets", "training"], 1500),
    "evaluation": (["evaluation"], 1100),
    "earlier": (["earlier"], 1200),
    "kernel, observe": (["kernel", "observe"], 1600),
    "pipeline, simulation": (["pipeline", "simulation"], 2600),
    "cluster": (["cluster"], 1000),
    "web": (["web"], 3000),
    "settings, app, cli, ground": (
        ["settings", "app", "cli", "errors", "clock", "texts", "__init__", "__main__"],
        2200,
    ),
}
CPP_BUDGET = 7000


def python_lines(path: Path) -> tuple[int, int]:
    """All lines of a file, and those that hold code."""
    text = path.read_text(encoding="utf-8")
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skip:
            code.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return text.count("\n"), len(code)


def cpp_lines(path: Path) -> tuple[int, int]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return len(lines), sum(bool(line.strip()) and not line.strip().startswith(("//", "/*", "*")) for line in lines)


def row(name: str, counts: list[tuple[int, int]], budget: int | None = None) -> tuple[int, int]:
    total, code = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    if counts:
        print(f"{name:28} {total:7} {code:7}" + (f" {budget:7} {code / budget:5.0%}" if budget else ""))
    return total, code


def main() -> None:
    print(f"{'':28} {'lines':>7} {'code':>7} {'budget':>7}  used")
    package = ROOT / "src" / "ringrift"
    python, rooms = [], {room for layers, _ in BUDGET.values() for room in layers}
    missing = (
        {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()} - rooms - {"__pycache__"}
    )
    assert not missing, f"no group counts {missing}"
    for group, (layers, budget) in BUDGET.items():
        files = [f for name in layers for f in [package / f"{name}.py", *(package / name).rglob("*.py")] if f.exists()]
        python.append(row(group, [python_lines(f) for f in files], budget))
    row("Python", python, sum(budget for _, budget in BUDGET.values()))
    cpp = []
    for folder in ("core", "search", "bind"):
        files = [f for f in (ROOT / "cpp" / folder).iterdir() if f.suffix in (".h", ".cpp")]
        cpp.append(row(f"cpp/{folder}", [cpp_lines(f) for f in files]))
    row("C++", cpp, CPP_BUDGET)
    row("cpp/test", [cpp_lines(f) for f in (ROOT / "cpp" / "test").iterdir()])
    row("tests", [python_lines(f) for f in (ROOT / "tests").rglob("*.py")])


if __name__ == "__main__":
    main()
