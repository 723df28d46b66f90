"""Who publishes and who hears what: nothing loose, required subscriptions checked at the start, docs as the tables."""

from dataclasses import replace
from pathlib import Path

import pytest
from services import context, doing

from ringrift.clock import VirtualClock
from ringrift.errors import SettingsError
from ringrift.kernel.effects import Effect
from ringrift.kernel.service import Profile, Service
from ringrift.kernel.supervisor import OWN, start_order
from ringrift.kernel.topology import check, loose, topology
from ringrift.pipeline import topology as t
from ringrift.pipeline.events import GamesValidated, LoopStarted
from ringrift.pipeline.service import Context
from ringrift.pipeline.table import LOOP, STAGES, WHOLE, supervisor_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "events.md"


def test_every_event_is_published_and_is_heard_or_recorded_for_a_reason() -> None:
    assert loose(WHOLE) == []


def test_an_event_that_nobody_publishes_or_hears_is_found() -> None:
    found = loose(replace(WHOLE, recorded={}, outside={}))
    assert "nobody publishes LoopStarted" in found and "nobody hears LoopStarted" in found
    found = loose(replace(WHOLE, recorded={GamesValidated: "no reason"}))
    assert "GamesValidated is heard, and need not be among the recorded" in found


@pytest.mark.parametrize("name", sorted(set(LOOP.required.values())))
def test_the_start_fails_naming_a_subscription_that_is_missing(name: str) -> None:
    def deaf(service: Service[Context]) -> Service[Context]:
        return replace(service, on=()) if service.name == name else service

    ctx = context(VirtualClock())
    with pytest.raises(SettingsError, match=f"service '{name}' is missing, or does not hear"):
        supervisor_of([deaf(service) for service in STAGES], ctx, Profile.LAPTOP)
    with pytest.raises(SettingsError, match=f"service '{name}' is missing, or does not hear"):
        supervisor_of([deaf(service) for service in STAGES if service.name != name], ctx, Profile.LAPTOP)


def test_the_start_fails_for_a_service_that_hears_what_nobody_publishes() -> None:
    loop = replace(LOOP, outside={})
    service = doing("s", lambda ctx: None, on=(LoopStarted,))
    with pytest.raises(SettingsError, match="s hears LoopStarted, which nobody publishes"):
        check(replace(loop, services=[*STAGES, *OWN, service]))
    effect = Effect("e", lambda delivery, ctx: None, (LoopStarted,))
    with pytest.raises(SettingsError, match="effect e hears LoopStarted"):
        check(replace(loop, services=[*STAGES, *OWN], effects=[effect]))


@pytest.mark.parametrize("profile", list(Profile))
def test_the_whole_table_can_start_in_every_profile(profile: Profile) -> None:
    names = [status.name for status in supervisor_of(STAGES, context(VirtualClock()), profile).snapshot().services]
    assert {row.name for row in OWN} <= set(names)
    assert start_order(WHOLE.services)


def test_the_graphs_name_everything() -> None:
    found = topology(WHOLE)
    for text in (t.mermaid(found), t.dot(found)):
        assert all(name in text for name in found.emitters)
    assert "job_train[job train] --> TrainingFinished([TrainingFinished])" in t.mermaid(found)
    graph = t.service_graph()
    assert all(f"[{service.name}]" in graph for service in WHOLE.services)
    assert "train -- TrainingFinished --> evaluate" in graph


def test_the_reference_is_current() -> None:
    assert DOCUMENT.read_text() == t.reference(topology(WHOLE)), "run `make docs`"
