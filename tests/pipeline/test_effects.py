"""Effects: order within a key, repetition, dead letters, replay; whatever fails and wherever the process dies."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services import context

from ringrift.clock import VirtualClock
from ringrift.errors import DataError, JobError
from ringrift.fabric import LocalFabric
from ringrift.kernel.effects import (
    Delivery,
    Effect,
    dead_letters,
    deliver,
    delivered,
    depth,
    purge_dead,
    replay,
    service_of,
)
from ringrift.kernel.events import AlertRaised, JobDied
from ringrift.kernel.service import Profile, Stopped
from ringrift.kernel.supervisor import tick
from ringrift.observe.breakers import Breakers, Unavailable
from ringrift.pipeline.effects import EFFECTS
from ringrift.pipeline.events import GamesValidated, ModelPromoted
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import SupervisionSettings
from ringrift.pipeline.table import supervisor_of


def publish(ctx: Context, config: str, number: int) -> int:
    return ctx.publish(GamesValidated(config=config, job=f"{config}-{number}", valid=number, quarantined=0))


def collecting(seen: list[tuple[str, int]], fails: Any = lambda delivery: None) -> Effect:
    def run(delivery: Delivery, ctx: Context) -> None:
        fails(delivery)
        assert isinstance(delivery.event, GamesValidated)
        seen.append((delivery.event.config, delivery.event.valid))

    return Effect("collect", run, (GamesValidated,))


def settle(effect: Effect, ctx: Context, seconds: float = 2000) -> None:
    """Ticks until nothing is left to deliver."""
    assert isinstance(ctx.clock, VirtualClock)
    end = ctx.clock.now() + seconds
    while depth(effect.name, ctx.run.fabric) and ctx.clock.now() < end:
        tick(service_of(effect), ctx)
        ctx.clock.advance(1)


def test_every_event_once_and_in_order() -> None:
    ctx, seen = context(VirtualClock()), []
    for number in range(2500):
        publish(ctx, "ab"[number % 2], number)
    ctx.publish(ModelPromoted(config="a", model="m", over="", reason=""))
    effect = collecting(seen)
    assert tick(service_of(effect), ctx) == 1
    assert seen == [("ab"[number % 2], number) for number in range(2500)]
    assert depth("collect", ctx.run.fabric) == 0
    assert delivered(ctx.run.fabric, [effect]) == ctx.bus.log.last()
    assert tick(service_of(effect), ctx) == 0


def test_a_failing_event_holds_its_key_alone() -> None:
    ctx, seen, broken = context(VirtualClock()), [], [True]

    def fails(delivery: Delivery) -> None:
        if broken[0] and delivery.event.config == "a":
            raise DataError("not now")

    effect = collecting(seen, fails)
    for number in range(6):
        publish(ctx, "ab"[number % 2], number)
    deliver(effect, ctx)
    assert seen == [("b", 1), ("b", 3), ("b", 5)]
    publish(ctx, "a", 6)
    deliver(effect, ctx)
    assert delivered(ctx.run.fabric, [effect]) == 0  # the first event is still needed
    broken[0] = False
    settle(effect, ctx)
    assert seen[3:] == [("a", 0), ("a", 2), ("a", 4), ("a", 6)]
    assert dead_letters(ctx.run.fabric.registry) == []


def test_the_last_attempt_makes_a_dead_letter_which_is_replayed_to_effect_once() -> None:
    clock = VirtualClock(start=1e9)
    ctx, seen, tries = context(clock), [], []

    def fails(delivery: Delivery) -> None:
        if delivery.entry.payload["valid"] == 1:
            tries.append((clock.now() - 1e9, delivery.attempt, delivery.id))
            if len(tries) < 8:
                raise DataError("never")

    effect, other = collecting(seen, fails), Effect("other", lambda delivery, ctx: seen.append(("other", 0)), ())
    sequence = [publish(ctx, "a", number) for number in range(3)][1]
    settle(effect, ctx)
    assert [attempt for _, attempt, _ in tries] == [1, 2, 3, 4, 5, 6]
    assert [at for at, _, _ in tries] == [0, 1, 3, 7, 15, 31]
    assert len({id_ for _, _, id_ in tries}) == 1
    assert seen == [("a", 0), ("a", 2)]
    (letter,) = dead_letters(ctx.run.fabric.registry, "collect")
    assert letter.entry.sequence == sequence and letter.attempts == 6
    assert "DataError: never" in letter.error and "test_effects.py" in letter.error
    assert (letter.first, letter.last) == (1e9, 1e9 + 31)

    with pytest.raises(DataError, match="failed again with event"):
        replay("collect", sequence, ctx, [effect, other])
    assert dead_letters(ctx.run.fabric.registry)[0].attempts == 7
    replay("collect", sequence, ctx, [effect, other])
    assert seen == [("a", 0), ("a", 2), ("a", 1)]
    with pytest.raises(DataError, match="has no dead letter"):
        replay("collect", sequence, ctx, [effect, other])
    with pytest.raises(DataError, match="unknown effect 'colect'"):
        replay("colect", sequence, ctx, [effect])


def test_a_dead_letter_is_purged() -> None:
    ctx = context(VirtualClock())

    def fails(delivery: Delivery) -> None:
        raise DataError("never")

    for number in range(3):
        publish(ctx, "abc"[number], number)
    settle(collecting([], fails), ctx)
    registry = ctx.run.fabric.registry
    assert len(dead_letters(registry)) == 3
    assert purge_dead(registry, "collect", 2) == 1
    assert purge_dead(registry, "other") == 0
    assert purge_dead(registry) == 2
    assert dead_letters(registry) == []


def test_one_replay_at_a_time() -> None:
    ctx = context(VirtualClock())
    held = ctx.run.fabric.leases.acquire("replay/collect/1", ttl=100)
    with pytest.raises(JobError, match="held by"):
        replay("collect", 1, ctx, [collecting([])])
    held.release()


def test_two_processes_do_not_deliver_to_one_effect() -> None:
    ctx, seen = context(VirtualClock()), []
    publish(ctx, "a", 1)
    inner = collecting(seen)
    outer = Effect("collect", lambda delivery, ctx: deliver(inner, ctx), (GamesValidated,))
    with pytest.raises(JobError, match="another process delivers to effect 'collect' too"):
        deliver(outer, ctx)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from("abc"), max_size=25),
    st.lists(st.sampled_from(["", "", "", "fail", "stop", "die", "open"]), max_size=80),
    st.integers(1, 7),
)
def test_keys_stay_in_order_whatever_fails(keys: list[str], troubles: list[str], limit: int) -> None:
    """At least once and in order within each key, under failures, shutdowns and deaths before the cursor is written."""
    clock = VirtualClock()
    ctx = context(clock)
    effects: dict[str, list[int]] = defaultdict(list)
    trouble = iter(troubles)

    class Died(BaseException):
        pass

    def run(delivery: Delivery, ctx: Context) -> None:
        what = next(trouble, "")
        if what == "fail":
            raise DataError("fails")
        if what == "open":
            raise Unavailable("it", 20)
        effects[delivery.event.config].append(delivery.entry.sequence)
        if what == "stop":
            raise Stopped("stop")
        if what == "die":
            raise Died

    effect = Effect("e", run, (GamesValidated,), attempts=1000)
    published: dict[str, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        published[key].append(publish(ctx, key, number))
    registry = ctx.run.fabric.registry
    while depth("e", ctx.run.fabric):
        before = registry.get("effect/e")
        try:
            deliver(effect, ctx, limit)
        except Stopped:
            pass
        except Died:  # nothing was written
            registry.delete("effect/e")
            if before:
                registry.set("effect/e", before.value)
        clock.advance(7)
    for key, sequences in published.items():
        firsts = list(dict.fromkeys(effects[key]))
        assert firsts == sequences
    assert dead_letters(registry) == []


def test_the_shutdown_between_two_late_events_of_a_key_loses_neither() -> None:
    clock = VirtualClock()
    ctx, seen, broken = context(clock), [], [True]

    def fails(delivery: Delivery) -> None:
        if broken[0]:
            raise DataError("not now")

    def stop_after_one() -> None:
        if len(seen) == 1:
            raise Stopped("stop")

    for number in range(3):
        publish(ctx, "a", number)
    effect = collecting(seen, fails)
    deliver(effect, ctx)
    broken[0] = False
    clock.advance(10)
    ctx.checkpoint = stop_after_one
    with pytest.raises(Stopped):
        deliver(effect, ctx)
    ctx.checkpoint = lambda: None
    settle(effect, ctx)
    assert seen == [("a", 0), ("a", 1), ("a", 2)]


def test_a_clock_set_back_does_not_delay_repetitions() -> None:
    clock = VirtualClock(start=1e9)
    ctx, seen, broken = context(clock), [], [True]

    def fails(delivery: Delivery) -> None:
        if broken[0]:
            raise DataError("not now")

    publish(ctx, "a", 0)
    effect = collecting(seen, fails)
    deliver(effect, ctx)
    broken[0] = False
    ctx.clock = VirtualClock(start=1e6)
    tick(service_of(effect), ctx)
    assert seen == [("a", 0)]


def test_a_killed_process_delivers_again_under_the_same_id(tmp_path: Path) -> None:
    """Killed between the effect and the cursor."""
    program = """
        import os, signal, sys
        from types import SimpleNamespace
        from pathlib import Path
        from ringrift.fabric import LocalFabric
        from ringrift.kernel.bus import Bus
        from ringrift.kernel.effects import Effect, deliver
        from ringrift.pipeline.events import GamesValidated
        from ringrift.pipeline.service import Context

        fabric = LocalFabric(Path(sys.argv[1]))
        ctx = Context(SimpleNamespace(fabric=fabric), Bus(fabric.log, "test"))
        for number in range(3):
            ctx.publish(GamesValidated(job=str(number), valid=number, quarantined=0))

        def run(delivery, ctx):
            with open(sys.argv[1] + "/sink", "a") as sink:
                print(delivery.id, delivery.event.valid, file=sink)
            if delivery.event.valid == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)

        deliver(Effect("sink", run, (GamesValidated,)), ctx)
        fabric.close()
    """
    for kill, status in (("1", -signal.SIGKILL), ("9", 0), ("9", 0)):
        command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path), kill]
        assert subprocess.run(command, env=os.environ, timeout=60, check=False).returncode == status
    lines = [line.split() for line in (tmp_path / "sink").read_text().splitlines()]
    assert [int(number) for _, number in lines] == [0, 1, 0, 1, 2]
    assert len({id_ for id_, _ in lines}) == 3


def test_effects_run_under_the_supervisor_and_show_as_services() -> None:
    clock = VirtualClock()
    ctx, seen = context(clock), []
    publish(ctx, "a", 0)
    supervisor = supervisor_of([], ctx, Profile.LAPTOP, effects=[collecting(seen)])
    clock.advance(supervisor.run_due())
    assert seen == [("a", 0)]
    publish(ctx, "a", 1)
    supervisor.run_due()
    assert seen == [("a", 0), ("a", 1)]
    assert "effect-collect" in {status.name for status in supervisor.snapshot().services}


def test_a_breaker_opens_after_failures_and_lets_one_call_through_after_its_rest() -> None:
    breakers = Breakers(threshold=3, rest=0.0)
    for _ in range(3):
        with pytest.raises(DataError), breakers.guard("disk"):
            raise DataError("broken")
    assert breakers.states() == {"disk": "opened"}
    with breakers.guard("disk"):
        pass
    assert breakers.states() == {"disk": "closed"}
    patient = Breakers(threshold=1, rest=60.0)
    with pytest.raises(DataError), patient.guard("disk"):
        raise DataError("broken")
    with pytest.raises(Unavailable, match="disk failed") as caught, patient.guard("disk"):
        raise AssertionError("is not run")
    assert 50 < caught.value.seconds <= 60


def test_alerts_are_posted_to_the_webhook_with_their_delivery_id(tmp_path: Path) -> None:
    posted: list[tuple[str | None, dict[str, Any]]] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.headers["Idempotency-Key"], json.loads(body)))
            self.send_response(503 if len(posted) == 1 else 204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Sink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fabric = LocalFabric(tmp_path)
    try:
        clock = VirtualClock()
        ctx = context(clock, fabric)
        webhook = next(effect for effect in EFFECTS if effect.name == "webhook")
        ctx.publish(AlertRaised(alert="disk", severity="critical", text="full"), id_="1")
        deliver(webhook, ctx)  # no address: nothing is posted, now or later
        ctx.services = SupervisionSettings(webhook=f"http://127.0.0.1:{server.server_port}/hook")
        ctx.publish(AlertRaised(alert="memory", severity="warning", text="low"), id_="2")
        ctx.publish(JobDied(job="j", kind="train", attempts=3, error=""))
        settle(webhook, ctx)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        fabric.close()
    assert [key for key, _ in posted] == ["webhook/2", "webhook/2"]
    assert posted[1][1]["type"] == "AlertRaised"
    assert posted[1][1]["event"]["text"] == "low"
