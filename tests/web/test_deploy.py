"""What is in deploy/: dashboards and alerts ask for metrics that there are, with labels that they have."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dashboard import dashboard
from prometheus_client.parser import text_string_to_metric_families

from ringrift.web.metrics import Metrics

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


def test_the_image_and_the_unit_start_what_there_is() -> None:
    said = subprocess.run([sys.executable, "-m", "ringrift", "serve", "--help"], capture_output=True, text=True)
    assert "--check" in said.stdout
    unit = (DEPLOY / "ringrift-serve.service").read_text()
    assert {"ringrift serve --check", "ringrift serve"} == set(
        re.findall(r"bin/(ringrift serve.*)$", unit, re.MULTILINE)
    )
    from ringrift.settings import leaves

    assert "ENV RINGRIFT_SERVE__HOST=0.0.0.0" in (DEPLOY / "Dockerfile").read_text()
    assert "serve.host" in leaves()


@pytest.mark.parametrize("name", ["ringrift-serve.service", "Dockerfile", "alerts.yml"])
def test_no_key_is_written_anywhere(name: str) -> None:
    assert not re.search(r"API_KEY=\w", (DEPLOY / name).read_text())
