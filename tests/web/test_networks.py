"""The networks of the AI service, while they change."""

import time
from pathlib import Path
from typing import Any

import pytest
from asking import Client, asked, middle

from ringrift.clock import VirtualClock
from ringrift.errors import DataError
from ringrift.evaluators import UniformEvaluator
from ringrift.evaluators.shipped import NETWORKS, shipped_network
from ringrift.store import ModelStore, RunDirectory
from ringrift.web.app import create_app
from ringrift.web.networks import Networks
from ringrift.web.service import Service
from ringrift.web.settings import ServeSettings

CONFIG = "square8_2p"


def registered(run: RunDirectory, name: str, network: Path | None = None, **metrics: Any) -> str:
    """A model of that many bytes of checkpoint, with the shipped network."""
    blobs = run.fabric.blobs
    checkpoint = blobs.put(name.encode())
    onnx = blobs.put((network or NETWORKS / f"{CONFIG}.onnx").read_bytes(), suffix=".onnx")
    return ModelStore(run).register(CONFIG, checkpoint, onnx, {}, metrics=metrics)


def test_a_promoted_network_takes_over_without_a_failed_request(run: RunDirectory) -> None:
    store, first, second = ModelStore(run), registered(run, "first"), registered(run, "second")
    assert store.promote(first, over=None)
    service = Service(ServeSettings(poll=0.05), run)
    service.start()
    client, seen = Client(create_app(service)), list[str]()
    try:
        for turn in range(200):
            answer = client.post("/ai/move", json=asked(middle(), 5))
            assert answer.status_code == 200
            seen.append(answer.json()["nn_model_id"])
            if turn == 3:
                assert store.promote(second, over=first)
            if seen[-1] == second:
                break
            time.sleep(0.02)
    finally:
        service.stop()
    assert seen[0] == first and seen[-1] == second and sorted(set(seen)) == sorted([first, second])


def test_who_is_seated_is_told_though_a_promotion_forgets_it_meanwhile() -> None:
    service = Service(ServeSettings(poll=60.0))

    class Fleeting(dict[Any, Any]):
        def setdefault(self, key: Any, value: Any = None) -> Any:
            service._seated = {}
            return super().setdefault(key, value)

    service._seated = Fleeting()
    assert service.seat(CONFIG, 2).choice.config == CONFIG and service.seats == 0
    assert service.seat(CONFIG, 2) is service.seat(CONFIG, 2) and service.seats == service.forget() == 1
    service.stop()


def test_a_store_that_cannot_be_read_for_a_while_ends_no_watch(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock(100.0)
    store, networks = ModelStore(run), Networks(run, ServeSettings(), clock=clock)
    assert store.promote(first := registered(run, "first"), over=None)
    with monkeypatch.context() as broken:
        broken.setattr("ringrift.web.networks.make_evaluator", unreadable)
        networks.refresh()
        assert "Too many open files" in networks.problems[CONFIG]
    clock.advance(61)
    networks.refresh()
    assert networks.current[CONFIG].id == first and CONFIG not in networks.problems


def unreadable(config: str, path: Path) -> UniformEvaluator:
    raise OSError(24, "Too many open files")


def test_a_network_that_does_not_answer_as_it_did_never_plays(run: RunDirectory) -> None:
    from ringrift.evaluators import make_evaluator
    from ringrift.evaluators.canary import canary

    kept = canary(make_evaluator(CONFIG, NETWORKS / f"{CONFIG}.onnx"), CONFIG)
    wrong = kept | {"value": [[1 - value for value in row] for row in kept["value"]]}
    good, bad = registered(run, "good", canary=kept), registered(run, "bad", canary=wrong)
    store = ModelStore(run)
    assert store.promote(good, over=None)
    networks = Networks(run, ServeSettings())
    networks.refresh()
    assert networks.current[CONFIG].id == good and not networks.problems
    assert store.promote(bad, over=good)
    networks.refresh()
    assert networks.current[CONFIG].id == good and "does not answer known positions" in networks.problems[CONFIG]


def test_a_network_that_failed_is_tried_again_after_a_while_and_stands_in_no_canarys_way(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp := run.path / "bad.onnx").write_bytes(b"bad")
    store, clock, loaded = ModelStore(run), VirtualClock(100.0), list[bytes]()
    bad, worse = registered(run, "bad", tmp), registered(run, "worse", tmp)
    canary = registered(run, "canary")

    def load(config: str, path: Path) -> UniformEvaluator:
        loaded.append(path.read_bytes()[:3])
        if loaded[-1] == b"bad":
            raise DataError("it is broken")
        return UniformEvaluator(config)

    def tries(again: bool = False) -> int:
        loaded.clear()
        networks.refresh(again)
        assert networks.problems == {CONFIG: "it is broken"} and CONFIG not in networks.current
        return loaded.count(b"bad")

    monkeypatch.setattr("ringrift.web.networks.make_evaluator", load)
    networks = Networks(run, ServeSettings(canary={CONFIG: canary}), clock=clock)
    assert store.promote(bad, over=None)
    assert (tries(), tries()) == (1, 0) and networks.canaries[CONFIG].id == canary
    clock.advance(59)
    assert (tries(), tries(again=True), tries()) == (0, 1, 0)
    clock.advance(61)
    assert (tries(), tries()) == (1, 0)
    assert store.promote(worse, over=bad)
    assert (tries(), tries()) == (1, 0)
    assert store.promote(canary, over=worse)
    networks.refresh()
    assert networks.current[CONFIG].id == canary and not networks.problems


def test_players_are_kept_for_a_while_and_so_many_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringrift.web.service.KEPT", 3)
    service = Service(ServeSettings(poll=60.0), clock=(clock := VirtualClock(100.0)))
    first = service.seat(CONFIG, 1)
    clock.advance(1000)
    assert service.seat(CONFIG, 1) is first
    for level in (2, 3, 4):
        service.seat(CONFIG, level)
    assert service.seats == 3 and service.seat(CONFIG, 1) is not first
    clock.advance(1801)
    assert service.seats == 0
    service.stop()


def test_a_pinned_network_stays_and_a_canary_plays_its_share_of_games(run: RunDirectory) -> None:
    promoted, pinned, canary = (registered(run, name) for name in ("promoted", "pinned", "canary"))
    assert ModelStore(run).promote(promoted, over=None)
    networks = Networks(run, ServeSettings(pins={CONFIG: pinned}, canary={CONFIG: canary}, canary_share=0.25))
    networks.refresh()
    names = [network.id for i in range(400) if (network := networks.of_game(CONFIG, f"game-{i}"))]
    assert set(names) == {pinned, canary} and 0.15 < names.count(canary) / 400 < 0.35
    assert networks.of_game(CONFIG, "game-1") is networks.of_game(CONFIG, "game-1")
    missing = Networks(run, ServeSettings(pins={CONFIG: "m-unknown"}))
    missing.refresh()
    assert "m-unknown" in missing.problems[CONFIG]
    without = Networks(None, ServeSettings(pins={CONFIG: promoted}))
    without.refresh()
    assert "--run" in without.problems[CONFIG]


def test_a_run_without_a_promoted_network_plays_the_shipped_one_and_says_so(run: RunDirectory) -> None:
    service = Service(ServeSettings(poll=60.0), run)
    service.start()
    try:
        found = Client(create_app(service)).post("/ai/move", json=asked(middle(), 6)).json()
    finally:
        service.stop()
    assert found["nn_model_id"] == shipped_network(CONFIG)[0] and "nothing is promoted" in found["fallback"]


def test_health_tells_what_is_wrong(run: RunDirectory) -> None:
    service = Service(ServeSettings(poll=60.0, pins={CONFIG: "m-unknown"}), run)
    client = Client(create_app(service))
    assert client.get("/ready").status_code == 503 and client.get("/health").json()["status"] == "unhealthy"
    assert client.get("/live").json() == {"live": True}
    service.start()
    try:
        health = client.get("/health")
        assert health.status_code == 200 and health.json()["status"] == "healthy"
        assert "m-unknown" in health.json()["warnings"][0] and health.json()["components"]["networks"] == "warning"
        assert client.get("/ready").json() == {"ready": True}
    finally:
        service.stop()
    assert client.get("/ready").json() == {"ready": False}
    assert client.get("/").json()["service"] == "RingRift AI Service"
