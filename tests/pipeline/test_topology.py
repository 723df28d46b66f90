"""Who publishes and who hears what: nothing loose, required subscriptions checked at the start, docs as the tables."""

from dataclasses import replace
from pathlib import Path

import pytest
from services import context, doing

from ringrift.clock import VirtualClock
from ringrift.errors import SettingsError
from ringrift.pipeline import topology as t
from ringrift.pipeline.effects import EFFECTS, Effect
from ringrift.pipeline.events import GamesValidated, LoopStarted
from ringrift.pipeline.service import Profile, Service
from ringrift.pipeline.supervisor import OWN, Supervisor, start_order, whole
from ringrift.pipeline.table import SERVICES

DOCUMENT = Path(__file__).parents[2] / "docs" / "events.md"


def test_every_event_is_published_and_is_heard_or_recorded_for_a_reason() -> None:
    assert t.loose(whole(), EFFECTS) == []


def test_an_event_that_nobody_publishes_or_hears_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t, "RECORDED", {})
    monkeypatch.setattr(t, "OUTSIDE", {})
    found = t.loose(whole(), EFFECTS)
    assert "nobody publishes LoopStarted" in found and "nobody hears LoopStarted" in found
    monkeypatch.setattr(t, "RECORDED", {GamesValidated: "no reason"})
    assert "GamesValidated is heard, and need not be in RECORDED" in t.loose(whole(), EFFECTS)


@pytest.mark.parametrize("name", sorted(set(t.REQUIRED.values())))
def test_the_start_fails_naming_a_subscription_that_is_missing(name: str) -> None:
    def deaf(service: Service) -> Service:
        return replace(service, on=()) if service.name == name else service

    ctx = context(VirtualClock())
    with pytest.raises(SettingsError, match=f"service '{name}' is missing, or does not hear"):
        Supervisor([deaf(service) for service in SERVICES], ctx, Profile.LAPTOP)
    with pytest.raises(SettingsError, match=f"service '{name}' is missing, or does not hear"):
        Supervisor([deaf(service) for service in SERVICES if service.name != name], ctx, Profile.LAPTOP)


def test_the_start_fails_for_a_service_that_hears_what_nobody_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(t, "OUTSIDE", {})
    ctx = context(VirtualClock())
    service = doing("s", lambda ctx: None, on=(LoopStarted,))
    with pytest.raises(SettingsError, match="s hears LoopStarted, which nobody publishes"):
        Supervisor([*SERVICES, service], ctx, Profile.LAPTOP)
    effect = Effect("e", lambda delivery, ctx: None, (LoopStarted,))
    with pytest.raises(SettingsError, match="effect e hears LoopStarted"):
        Supervisor(SERVICES, ctx, Profile.LAPTOP, effects=[effect])


@pytest.mark.parametrize("profile", list(Profile))
def test_the_whole_table_can_start_in_every_profile(profile: Profile) -> None:
    names = [status.name for status in Supervisor(SERVICES, context(VirtualClock()), profile).snapshot().services]
    assert {row.name for row in OWN} <= set(names)
    assert start_order(whole())


def test_the_graphs_name_everything() -> None:
    found = t.topology(whole(), EFFECTS)
    for text in (t.mermaid(found), t.dot(found)):
        assert all(name in text for name in found.emitters)
    assert "job_train[job train] --> TrainingFinished([TrainingFinished])" in t.mermaid(found)
    graph = t.service_graph(whole())
    assert all(f"[{service.name}]" in graph for service in whole())
    assert "train -- TrainingFinished --> evaluate" in graph


def test_the_reference_is_current() -> None:
    assert DOCUMENT.read_text() == t.reference(t.topology(whole(), EFFECTS)), "run `make docs`"
