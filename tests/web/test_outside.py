"""What stands before the endpoints: keys, limits, request ids, counted failures; what admin, models and metrics say."""

import gzip
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from asking import Client
from prometheus_client.parser import text_string_to_metric_families
from recorded import VECTORS
from starlette.datastructures import Headers
from websockets.sync.client import connect

from ringrift.errors import DataError, SettingsError
from ringrift.observe.logs import writing
from ringrift.web.app import create_app
from ringrift.web.limits import Access, Guard, is_loopback, keys_of
from ringrift.web.server import Server, configured
from ringrift.web.service import Service
from ringrift.web.settings import LimitSettings, ServeSettings

KEYS = {"ADMIN_API_KEY": "test-admin-key", "RINGRIFT_API_KEY": "a-key"}
LOCAL, REMOTE = ServeSettings(), ServeSettings(host="0.0.0.0")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def client_of(settings: ServeSettings, base_url: str = "http://localhost", **headers: str) -> tuple[Client, Service]:
    service = Service(settings)
    service.networks.refresh()
    return Client(create_app(service), base_url, **headers), service


def limited(**limits: Any) -> ServeSettings:
    return replace(LOCAL, limits=replace(LOCAL.limits, **limits))


def value(service: Service, name: str, **labels: str) -> float:
    found = service.metrics.registry.get_sample_value(name, labels)
    return 0.0 if found is None else found


# -- who may ask -------------------------------------------------------------------------------------------------------


def test_recorded_admin_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statuses and fields of the earlier service, with and without the key."""
    path = VECTORS.parents[1] / "http" / "examples.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no recorded requests: {path}")
    monkeypatch.setenv("ADMIN_API_KEY", KEYS["ADMIN_API_KEY"])
    client, _ = client_of(LOCAL)
    parts, seen = ("/admin/", "/ai/cache", "/ai/reload", "/ai/model", "/internal/", "/api/online"), 0
    with gzip.open(path, "rt") as lines:
        for pair in map(json.loads, lines):
            if pair["kind"] != "endpoint" or not pair["path"].startswith(parts):
                continue
            sent = {name: text for name, text in pair["request_headers"].items() if name == "X-Admin-Key"}
            answer = client.request(pair["method"], pair["path"], headers=sent, json=pair.get("request"))
            quirk = pair["label"] == "hex8 filter" or ("learn_from_game" in pair["path"] and pair["status"] == 404)
            assert answer.status_code == (200 if quirk else pair["status"]), (pair["label"], pair["path"], answer.text)
            if not quirk:
                assert answer.json().keys() == pair["response"].keys(), pair["path"]
            seen += 1
    assert seen > 25


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "other"}, 403),
        ({"X-API-Key": "a-key"}, 200),
        ({"Authorization": "Bearer a-key"}, 200),
        ({"Authorization": "Basic cmluZ3JpZnQ6YS1rZXk="}, 200),  # as axios sends http://ringrift:a-key@host
        ({"Authorization": "Basic %%%"}, 401),
        ({"Authorization": "Digest a-key"}, 401),
        ({"X-Admin-Key": "test-admin-key"}, 200),
    ],
)
@pytest.mark.parametrize("settings", [LOCAL, REMOTE], ids=["here", "elsewhere"])
def test_a_key_that_is_set_is_needed_everywhere(headers: dict[str, str], status: int, settings: ServeSettings) -> None:
    client, service = client_of(settings, "http://localhost", **headers)
    assert client.get("/").status_code == status
    assert client.get("/live").status_code == 200
    assert value(service, "ringrift_serve_refused_total", reason="key") == (status != 200)


def test_a_key_in_odd_letters_is_none() -> None:
    assert keys_of(Headers(raw=[(b"authorization", b"Basic \xe9")])) == []


def test_elsewhere_nobody_is_served_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RINGRIFT_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="RINGRIFT_API_KEY"):
        create_app(Service(REMOTE))


def test_without_an_admin_key_nobody_is_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADMIN_API_KEY", raising=False)
    client, _ = client_of(LOCAL)
    assert client.get("/admin/velocity").status_code == 401
    for guess in ("None", "admin", "0"):
        assert client.get("/admin/velocity", headers={"X-Admin-Key": guess}).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8001", 200), ("127.0.0.1", 200), ("[::1]:8001", 200), ("evil.example", 403), ("127.0.0.1.evil", 403)],
)
def test_only_under_a_name_of_this_machine(host: str, status: int) -> None:
    client, _ = client_of(LOCAL)
    assert client.get("/", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("localhost:8001", "", True),
        ("127.0.0.1", "http://127.0.0.1", True),
        ("[::1]:8080", "https://[::1]:8080", True),
        ("elsewhere.example", "", False),
        ("localhost.elsewhere.example:80", "", False),
        ("localhost:8001", "http://evil.example", False),
        ("localhost:8001", "http://localhost:9000", False),
        ("localhost:8001", "http://evil.example//localhost:8001", False),
        ("localhost:8001", "null", False),
    ],
)
def test_other_hosts_and_pages_get_no_further(kind: str, host: str, origin: str, passes: bool) -> None:
    """Of all servers, and of WebSockets as well: the guard is the same."""
    reached = list[Any]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def ask() -> list[dict[str, Any]]:
        sent = list[dict[str, Any]]()
        headers = [(b"host", host.encode())] + [(b"origin", origin.encode())] * bool(origin)
        scope = {"type": kind, "headers": headers, "path": "/x", "client": ("127.0.0.1", 1)}
        if kind == "http":
            scope["method"] = "POST"

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""} if kind == "http" else {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await guarded(app)(scope, receive, send)
        return sent

    (status,) = [one["status"] for one in anyio.run(ask) if "status" in one] or [None]
    assert (len(reached), status) == ((1, None) if passes else (0, 403))


def test_pages_of_other_origins_change_nothing() -> None:
    client, _ = client_of(replace(LOCAL, cors_origins="https://game.example"))
    game = {"board_type": "hex8", "num_players": 2, "moves": [], "winner": 1, "human_player": 1, "human_won": False}
    path = "/api/online-learning/learn_from_game"
    assert client.post(path, json=game, headers={"Origin": "https://evil.example"}).status_code == 403
    allowed = client.post(path, json=game, headers={"Origin": "https://game.example"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://game.example"
    assert client.post(path, json=game, headers={"Origin": "http://localhost"}).status_code == 200
    asked = {"Origin": "https://game.example", "Access-Control-Request-Method": "POST"}
    assert client.request("OPTIONS", path, headers=asked).status_code == 200
    read = client.get("/", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in read.headers


@pytest.mark.parametrize(
    "origins",
    ["foo", "https://game.example/", "https://game.example/x", "ftp://x", "http://", "*,foo", "http://a:x", "http://A"],
)
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(ValueError, match=r"cors_origins has .*https://game\.example"):
        ServeSettings(cors_origins=origins)
    for sound in ("", "*", "https://game.example, http://localhost:5173,http://[::1]:80"):
        ServeSettings(cors_origins=sound)


def test_loopback() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.3.2.1", "::1", "0.0.0.0", "::", "10.0.0.1", "x")] == [
        True, True, True, False, False, False, False
    ]  # fmt: skip


# -- how often, how much -----------------------------------------------------------------------------------------------


def test_more_than_the_rate_is_refused() -> None:
    client, service = client_of(limited(rate=0.01, burst=3))
    assert [client.get("/live").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert int(client.get("/live").headers["retry-after"]) > 60
    assert value(service, "ringrift_serve_refused_total", reason="rate") == 3


ANY = "/api/online-learning/learn_from_game"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers", "status", "reason"),
    [
        (b"[" * 100_000, {}, 422, "json"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, {}, 422, "json"),
        (b'{"winner": NaN}', {}, 422, "json"),
        (b'{"winner": 1e999}', {}, 422, "json"),
        (b'{"winner": ' + b"9" * 400 + b".0}", {}, 422, "json"),
        (b'{"winner": ' + b"9" * 5000 + b"}", {}, 422, "json"),
        (b'{"board_type": "\\ud800"}', {}, 422, "json"),
        (b"\xff\xfe", {}, 422, "json"),
        (b'{"board_type": "\\ud800"}', {"Content-Type": "Application/JSON"}, 422, "json"),
        (b"{}", {"Content-Encoding": "gzip"}, 400, "encoding"),
        (gzip.compress(b"{}" * 999, mtime=0)[:-12], {"Content-Encoding": "gzip"}, 400, "encoding"),
        (gzip.compress(b" " * 50_000_000, mtime=0), {"Content-Encoding": "gzip"}, 413, "size"),
        (b"{}", {"Content-Encoding": "br"}, 415, "encoding"),
        (b"x" * 4_000_001, {}, 413, "size"),
        (b" " * 4_000_001, {}, 413, "size"),
        (b"[" + b"{}," * 100_000 + b"{}]", {}, 413, "size"),
        (b"[" + b"0," * 500_000 + b"0]", {}, 413, "size"),
        (b"{}", {"Content-Length": "99999999999"}, 413, "size"),
    ],
    ids=lambda given: repr(given)[:24],
)
def test_bodies_that_go_no_further(content: bytes, headers: dict[str, str], status: int, reason: str) -> None:
    client, service = client_of(LOCAL)
    answer = client.post(ANY, content=content, headers=JSON | headers)
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 500
    assert value(service, "ringrift_serve_refused_total", reason=reason) == 1
    assert value(service, "ringrift_serve_errors_total") == 0


def test_a_packed_body_is_unpacked() -> None:
    game = {"board_type": "hex8", "num_players": 2, "moves": [], "winner": 1, "human_player": 1, "human_won": False}
    client, _ = client_of(LOCAL)
    packed = gzip.compress(json.dumps(game).encode())
    assert client.post(ANY, content=packed, headers=JSON | {"Content-Encoding": "gzip"}).status_code == 200


def test_bodies_that_are_too_many_at_a_time() -> None:
    client, _ = client_of(limited(buffered_bytes=1000))
    assert client.post(ANY, content=b" " * 1001, headers=JSON).status_code == 503
    assert client.post(ANY, content=b" " * 900, headers=JSON).status_code == 422  # and none is left behind
    assert client.post(ANY, content=b" " * 900, headers=JSON).status_code == 422


# -- how long ----------------------------------------------------------------------------------------------------------


def guarded(app: Any, seconds: float = 30.0, **limits: Any) -> Any:
    return Guard(app, limits=LimitSettings(**limits), access=Access(), seconds=seconds)


async def sleeping(scope: Any, receive: Any, send: Any) -> None:
    await anyio.sleep(5)


def test_an_endpoint_that_does_not_end_is_answered_for() -> None:
    assert Client(guarded(sleeping, seconds=0.05)).get("/").status_code == 504


def test_a_body_that_does_not_come() -> None:
    async def drops() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x"
            await anyio.sleep(0.1)

    start = time.monotonic()
    client = Client(guarded(sleeping, body_seconds=0.05))
    assert client.post("/", content=drops()).status_code == 408
    assert time.monotonic() - start < 3


class _Quiet(Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def served(app: Any, limits: LimitSettings, drain: float = 8.0) -> Iterator[tuple[int, Server]]:
    """Its port, while it is served as `ringrift serve` does."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = _Quiet(configured(app, limits, drain, websockets=True))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1], server
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def ends(connection: socket.socket, seconds: float = 5.0) -> bool:
    """Whether the other side closes the connection in time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def speak(port: int, words: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.sendall(words)
    return connection


def test_slow_and_endless_heads_are_cut_off_and_others_go_on() -> None:
    client, _ = client_of(LOCAL)
    limits = LimitSettings(head_seconds=0.3, head_bytes=4096)
    ask = b"GET /live HTTP/1.1\r\nHost: localhost\r\n"
    with served(client.app, limits) as (port, _):
        silent = speak(port, b"")
        slow = speak(port, ask)
        endless = speak(port, ask + b"X: " + b"y" * 8000)
        again = speak(port, ask + b"\r\n")
        assert b"200 OK" in again.recv(65536)
        again.sendall(ask)
        assert all(ends(one) for one in (silent, slow, endless, again))
        with speak(port, ask + b"Connection: close\r\n\r\n") as quick:
            assert b"200 OK" in quick.recv(65536)
        for one in (silent, slow, endless, again):
            one.close()


def test_a_websocket_has_no_head_to_wait_for() -> None:
    async def echo(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    limits = LimitSettings(head_seconds=0.2, head_bytes=1000)
    with served(echo, limits) as (port, _), connect(f"ws://127.0.0.1:{port}/") as connection:
        for word in ("soon", "much " * 1000):
            time.sleep(0.4)
            connection.send(word)
            assert connection.recv(5) == word


# -- what is seen ------------------------------------------------------------------------------------------------------


def test_request_ids_are_taken_logged_and_echoed(tmp_path: Path) -> None:
    client, _ = client_of(LOCAL)
    with writing(tmp_path / "log.jsonl", 1_000_000):
        assert client.get("/", headers={"X-Request-Id": "req-123"}).headers["x-request-id"] == "req-123"
        made = client.get("/", headers={"X-Request-Id": "evil\tid" + "x" * 500}).headers["x-request-id"]
        assert len(made) == 16
        assert client.get("/nope").headers["x-request-id"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["request_id"] for line in lines][:2] == ["req-123", made]
    assert (lines[0]["route"], lines[0]["status"], lines[2]["route"]) == ("/", 200, "unmatched")


@pytest.mark.parametrize(("environment", "text"), [("development", "KeyError: 'oh'"), ("production", "internal error")])
def test_an_unexpected_failure_is_a_counted_500(environment: str, text: str, tmp_path: Path) -> None:
    service = Service(replace(LOCAL, environment=environment))
    app = create_app(service)

    @app.get("/fails")
    async def fails() -> None:
        raise KeyError("oh")

    with writing(tmp_path / "log.jsonl", 1_000_000):
        answer = Client(app).get("/fails")
    assert (answer.status_code, answer.json()) == (500, {"detail": text})
    assert value(service, "ringrift_serve_errors_total") == 1
    assert value(service, "ringrift_serve_requests_total", route="/fails", method="GET", status="500") == 1
    assert "KeyError" in (tmp_path / "log.jsonl").read_text()


def test_what_a_broken_store_says_is_not_told_in_production(tmp_path: Path) -> None:
    app = create_app(Service(replace(LOCAL, environment="production")))

    @app.get("/fails")
    async def fails() -> None:
        raise DataError("/some/where is broken")

    with writing(tmp_path / "log.jsonl", 1_000_000):
        answer = Client(app).get("/fails")
    assert (answer.status_code, answer.json()) == (500, {"detail": "internal error"})
    assert "/some/where is broken" in (tmp_path / "log.jsonl").read_text()


def test_each_request_is_a_span_of_the_callers_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    client, _ = client_of(LOCAL)
    parent = "0af7651916cd43dd8448eb211c80319c"
    client.get("/ai/models", headers={"traceparent": f"00-{parent}-b7ad6b7169203331-01"})
    (span,) = kept.get_finished_spans()
    assert span.name == "GET /ai/models"
    assert f"{span.context.trace_id:032x}" == parent
    assert (span.attributes or {})["http.response.status_code"] == 200


def move_request() -> dict[str, Any]:
    from ringrift.rules import Game
    from ringrift.wire import write_state

    return {"game_state": write_state(Game("square8_2p"), about={"id": "g"}), "player_number": 1, "difficulty": 5}


def test_metrics_of_a_move() -> None:
    client, service = client_of(LOCAL)
    assert client.post("/ai/move", json=move_request()).status_code == 200
    text = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert value(service, "ai_move_requests_total", ai_type="descent", difficulty="5", outcome="success") == 1
    buckets = [one.labels["le"] for one in families["ai_move_latency_seconds"].samples if one.name.endswith("_bucket")]
    assert buckets == ["0.05", "0.1", "0.25", "0.5", "1.0", "2.0", "5.0", "10.0", "+Inf"]
    asked, spent = (
        value(service, "ringrift_serve_simulations_total", config="square8_2p", level="5", kind=kind)
        for kind in ("asked", "spent")
    )
    assert asked == 4
    assert 0 < spent <= asked
    assert value(service, "ai_instance_cache_lookups_total", ai_type="descent", outcome="miss") == 1
    client.post("/ai/move", json=move_request())
    assert value(service, "ai_instance_cache_lookups_total", ai_type="descent", outcome="hit") == 1


# -- before the start --------------------------------------------------------------------------------------------------


def test_the_check_tells_what_would_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ringrift.evaluators import shipped
    from ringrift.web.check import findings

    settings = replace(LOCAL, port=0)
    found = {one.name: one for one in findings(settings, None)}
    assert all(one.ok for one in found.values()), found
    assert {"configuration", "port", "network square8_2p", "levels"} <= found.keys()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = replace(settings, port=taken.getsockname()[1])
        assert [one.name for one in findings(busy, None) if not one.ok] == ["port"]
    assert [one.name for one in findings(settings, tmp_path) if not one.ok] == ["run"]
    assert "without a key" in found["configuration"].said
    monkeypatch.setenv("RINGRIFT_API_KEY", "k")
    assert "with a key" in next(iter(findings(settings, None))).said
    monkeypatch.delenv("RINGRIFT_API_KEY", raising=False)
    (ill,) = findings(replace(REMOTE, port=0), None)
    assert not ill.ok
    assert "RINGRIFT_API_KEY" in ill.said
    (tmp_path / "square8_2p.onnx").write_bytes(b"damaged")
    (tmp_path / "square8_2p.safetensors").write_bytes(b"")
    monkeypatch.setattr(shipped, "NETWORKS", tmp_path)
    assert [one.name for one in findings(settings, None) if not one.ok] == ["network square8_2p"]
