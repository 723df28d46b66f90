"""The file tree in CONTRIBUTING.md, from what each file says about itself: `tree.py` writes it, `--check` compares."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- tree: `make docs` -->\n```text\n", "```\n<!-- end of tree -->"
#: What cannot speak for itself. A folder with a line here is not opened further.
SAID = {
    ".ci/run": "what must hold before a change lands",
    "CHANGELOG.md": "what a user notices, by version",
    "CMakeLists.txt": "rr_core, rr_search (no Python), the module _core with its stub, core tests",
    "CONTRIBUTING.md": "this page",
    "LICENSE": "MIT",
    "Makefile": "one verb per habit",
    "README.md": "for whoever uses it",
    "SECURITY.md": "what is defended, and how to report",
    "constraints.txt": "the development install, pinned",
    "cpp": "",
    "cpp/bind": "the only files that know nanobind",
    "cpp/core": "the rules; no Python",
    "cpp/search": "search trees and pools of games; no Python",
    "cpp/test": "tests that run under sanitizers",
    "docs": "",
    "docs/decisions": "one page for each structural choice",
    "docs/pictures": "screenshots of the page",
    "docs/results": "reports of long runs, and games played by this engine",
    "pyproject.toml": "build, dependencies, ruff, mypy, pytest, import-linter",
    "src/ringrift/evaluators/networks": "the networks that come with the package, with their checkpoints",
    "src/ringrift/py.typed": None,
    "src/ringrift/web/dashboard/icon.svg": "of the page, for the browser's tab",
    "src/ringrift/web/dashboard/page.css": "how the page and its boards look, light and dark",
    "src/ringrift/web/dashboard/page.js": "boards by keyboard, and what a button is about lit up",
    "tests": "one folder per layer; golden/ holds node counts and games of this engine",
    "tools/check": "the checks, side by side",
}
SHUT = {"docs/decisions", "docs/pictures", "docs/results", "src/ringrift/evaluators/networks", "tests"}
TOP = """
README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE pyproject.toml constraints.txt CMakeLists.txt Makefile .ci
cpp src/ringrift examples benchmarks tools tests docs
""".split()


def first_sentence(path: Path) -> str:
    """What a file or folder says of itself, cut to one sentence."""
    name = path.relative_to(ROOT).as_posix()
    if name in SAID:
        return SAID[name] or ""
    if path.is_dir():
        return first_sentence(path / "__init__.py") if (path / "__init__.py").exists() else ""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
    elif path.suffix in (".h", ".cpp"):
        text = " ".join(line.removeprefix("//").strip() for line in re.match(r"(//.*\n)*", text)[0].splitlines())  # type: ignore[index]
    elif path.suffix == ".md":
        text = text.partition("\n")[0].strip("# ")
    sentence = re.split(r"(?<=\w[\w)`])[.;](?:\s|$)", " ".join(text.split()), maxsplit=1)[0].rstrip(".")
    return sentence if len(sentence) <= 110 else re.split(r"[:,(](?=\s|\w)(?!.{90})", sentence[:110])[0].rstrip()


def shown(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    built = path.name in ("__pycache__", "_core.pyi") or path.suffix in (".so", ".png")
    paired = path.suffix == ".cpp" and path.with_suffix(".h").exists()
    return not built and not paired and path.name != "__init__.py" and SAID.get(name, "") is not None


def lines(path: Path, depth: int = 0) -> list[str]:
    """`path` and what is under it, one line each."""
    name = path.relative_to(ROOT).as_posix() if depth == 0 else path.name
    if path.is_dir():
        name += "/"
    elif path.suffix == ".h" and path.with_suffix(".cpp").exists():
        name += " .cpp"
    found = [f"{'  ' * depth + name:30}  {first_sentence(path)}".rstrip()]
    if path.is_dir() and path.relative_to(ROOT).as_posix() not in SHUT:
        inside = sorted(filter(shown, path.iterdir()), key=lambda p: (p.is_dir(), p.name))
        found += [line for child in inside for line in lines(child, depth + 1)]
    return found


def tree() -> str:
    return "".join(line + "\n" for name in TOP if (ROOT / name).exists() for line in lines(ROOT / name))


def main() -> int:
    page = ROOT / "CONTRIBUTING.md"
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    old, _, tail = rest.partition(END)
    if "--check" in sys.argv:
        if old != tree():
            print("the file tree in CONTRIBUTING.md is not current: run `make docs`")
        return int(old != tree())
    page.write_text(head + BEGIN + tree() + END + tail, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
