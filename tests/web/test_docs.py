"""docs/operations.md names every metric and every alert that there is, and no other."""

import re
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from services import context

from ringrift.clock import VirtualClock
from ringrift.kernel.service import Profile
from ringrift.pipeline.health import RULES
from ringrift.pipeline.table import supervisor_of
from ringrift.web.operations import metrics_text

DOCUMENT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_metrics() -> None:
    supervisor = supervisor_of([], context(VirtualClock()), Profile.LAPTOP)
    text = metrics_text(supervisor.snapshot()).decode()
    suffix = {"counter": "_total", "info": "_info"}
    there = {family.name + suffix.get(family.type, "") for family in text_string_to_metric_families(text)}
    told = set(re.findall(r"`((?:ringrift|process)_\w+)`", DOCUMENT))
    assert told == there


def test_alerts() -> None:
    told = re.findall(r"^\| `([a-z-]+)` \| (info|warning|critical) \|", DOCUMENT, re.MULTILINE)
    assert told == [(rule.name, rule.severity) for rule in RULES]
