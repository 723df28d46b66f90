"""What is in deploy/: dashboards and alerts ask for metrics that there are, with labels that they have."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dashboard import dashboard
from prometheus_client.parser import text_string_to_metric_families

from ringrift.pipeline.settings import SupervisionSettings
from ringrift.web.metrics import Metrics
from ringrift.web.settings import ServeSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\b((?:ringrift|ai|process)_\w+)(?:\{([^}]*)\})?")
#: Labels that Prometheus itself adds.
ADDED = {"job", "instance", "le"}


def known() -> dict[str, set[str]]:
    """Samples of /metrics and their labels; those of a family are known before its first sample."""
    service, found = Metrics(), dict[str, set[str]]()
    for collector in list(service.registry._collector_to_names):
        for name in service.registry._collector_to_names[collector]:
            found[name] = set(getattr(collector, "_labelnames", ()))
    for family in text_string_to_metric_families(service.text().decode()):  # of the process
        for sample in family.samples:
            found.setdefault(sample.name, set(sample.labels))
    return found


def queries() -> list[str]:
    """All that dashboard and alerts ask."""
    panels = json.loads((DEPLOY / "grafana" / "ringrift-serve.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    text = (DEPLOY / "alerts.yml").read_text()
    folded = re.sub(r"expr: >-\n((?: {10}.*\n)+)", lambda found: "expr: " + " ".join(found[1].split()) + "\n", text)
    return asked + re.findall(r"^ +expr: (.+)$", folded, re.MULTILINE)


def test_every_query_asks_for_what_there_is() -> None:
    there, asked = known(), queries()
    assert len(asked) > 20
    for query in asked:
        metrics = METRIC.findall(re.sub(r"by \([^)]*\)", "", query))
        assert metrics or query.startswith("up{"), query
        for name, selector in metrics:
            assert name in there, f"{name} of {query}"
            used = set(re.findall(r"(\w+)(?:=~?|!=)", selector))
            assert used <= there[name] | ADDED, query
        for grouped in re.findall(r"\bby \(([^)]*)\)", query):
            labels = {label.strip() for label in grouped.split(",")}
            assert labels <= set.union(*(there[name] for name, _ in metrics)) | ADDED, query


def test_the_document_names_every_metric() -> None:
    _, table = (ROOT / "docs" / "serving.md").read_text().split("| metric | labels | meaning |")
    told = set(re.findall(r"`((?:ringrift_serve|ai)_\w+)`", table.split("\n\n")[0]))
    suffix = ("_created", "_bucket", "_sum", "_count", "_total")
    there = {name for name in known() if name.startswith(("ringrift_serve", "ai_")) and not name.endswith(suffix)}
    assert told == there


def test_the_dashboard_is_as_its_table_says() -> None:
    assert json.loads((DEPLOY / "grafana" / "ringrift-serve.json").read_text()) == dashboard()


UNITS = {"serve": ["serve --check", "serve"], "loop": ["loop"], "worker": ["worker"]}


def options(command: str) -> set[str]:
    said = subprocess.run([sys.executable, "-m", "ringrift", command, "--help"], capture_output=True, text=True)
    return set(re.findall(r"--[a-z-]+", said.stdout))


@pytest.mark.parametrize("name", UNITS)
def test_units_and_images_start_what_there_is(name: str) -> None:
    unit = (DEPLOY / f"ringrift-{name}.service").read_text()
    started = re.findall(r"^Exec\w+=/opt/ringrift/bin/ringrift (.*)$", unit, re.MULTILINE)
    image = re.search(rf" AS {name}\n.*?ENTRYPOINT (.*?)\n", (DEPLOY / "Dockerfile").read_text(), re.DOTALL)
    assert image
    entry = json.loads(image[1])
    assert entry[0] == "ringrift"
    assert [one.partition(" --run")[0].partition(" --configs")[0] for one in started] == UNITS[name]
    for words in (*map(str.split, started), entry[1:]):
        assert words[0] == name
        assert {word for word in words if word.startswith("--")} <= options(name)


def test_units_have_the_same_user_and_are_shut_in() -> None:
    """They share a run directory; what only those that learn may do is said in them."""
    serve, *learning = ((DEPLOY / f"ringrift-{name}.service").read_text().splitlines() for name in UNITS)
    closed = {line for line in serve[serve.index("UMask=0077") :] if "=" in line}
    needed = {"PrivateDevices=yes", "MemoryDenyWriteExecute=yes", "SystemCallFilter=~@privileged @resources"}
    assert len(closed) > 20
    for unit in learning:
        assert closed - set(unit) == needed
        assert {"User=ringrift", "StateDirectory=ringrift", "DynamicUser=yes"} <= set(unit) & set(serve)


def test_ports_of_the_images_are_those_of_the_settings() -> None:
    from ringrift.settings import leaves

    image = (DEPLOY / "Dockerfile").read_text()
    assert "ENV RINGRIFT_SERVE__HOST=0.0.0.0" in image and "serve.host" in leaves()
    assert (
        f"127.0.0.1:{SupervisionSettings().port}/health" in image and f"127.0.0.1:{ServeSettings().port}/ready" in image
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_units(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / f"ringrift-{name}.service").read_text().replace("/opt/ringrift/bin/ringrift", sys.executable)
    (tmp_path / f"ringrift-{name}.service").write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"ringrift-{name}.service")]
    said = subprocess.run(command, capture_output=True, text=True)
    assert f"ringrift-{name}" not in said.stderr, said.stderr


@pytest.mark.parametrize("name", [*(f"ringrift-{one}.service" for one in UNITS), "Dockerfile", "alerts.yml"])
def test_no_key_is_written_anywhere(name: str) -> None:
    assert not re.search(r"API_KEY=\w", (DEPLOY / name).read_text())
