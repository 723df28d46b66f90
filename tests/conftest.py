"""What tests of every part need."""

import os
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ringrift.store import RunDirectory

#: What `make setup TRAIN=no` leaves out.
TRAINING = ("torch", "safetensors", "onnx")
#: Whether tests that need it are skipped; in CI it is there, or they fail.
SKIPPED = [name for name in TRAINING if find_spec(name) is None and not os.environ.get("CI")]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A new run directory, `tmp_path / "run"`."""
    with RunDirectory.create(tmp_path / "run") as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SKIPPED:
        for item in items:
            if item.get_closest_marker("training"):
                item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(SKIPPED)}: make setup"))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    call: pytest.CallInfo[Any] | None = getattr(report, "call", None)  # pytest keeps it here for a module that failed
    return _skipped(report, collector, call)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _skipped(report, item, call)


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _skipped(report: Report, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any] | None) -> Report:
    """A report; of something that failed for a package that was left out, that of something skipped."""
    error = call.excinfo.value if SKIPPED and report.failed and call and call.excinfo else None
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in SKIPPED:
            report.outcome = "skipped"
            report.longrepr = (str(node.path), 0, f"Skipped: needs {error.name}: make setup")
        error = error.__cause__ or error.__context__
    return report
