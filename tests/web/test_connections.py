"""Connections of a server: how many there may be, and how they end."""

import asyncio
import errno
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from asking import asked, middle
from starlette.responses import JSONResponse

from ringrift.observe.logs import writing
from ringrift.web.connections import SPARE, Connections
from ringrift.web.limits import Access, Guard
from ringrift.web.server import Server, configured
from ringrift.web.settings import LimitSettings

ASK = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE = 30.0  #: seconds after which something hangs


class _Here(Server):
    """A server in a thread: signals are not its business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class App:
    """Answers where a request went; `/wait` when it is told to."""

    def __init__(self) -> None:
        self.waiting, self.go = 0, threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/wait":
            self.waiting += 1
            while not self.go.is_set():
                await anyio.sleep(0.005)
        await JSONResponse({"path": scope["path"]})(scope, receive, send)


@contextmanager
def served(app: Any, drain: float = PATIENCE, **limits: Any) -> Iterator[tuple[int, _Here, threading.Thread]]:
    """The port of a server with these limits."""
    given, listening = LimitSettings(**limits), socket.create_server(("127.0.0.1", 0))
    guarded = Guard(app, limits=given, access=Access())
    server = _Here(configured(guarded, given, drain, lifespan=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started)
        yield listening.getsockname()[1], server, thread
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()


def until(holds: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def connect(port: int, words: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE)
    connection.sendall(words)
    return connection


def answer(connection: socket.socket) -> tuple[int, bytes, bytes]:
    """Status, head and body of the next answer; raises `ConnectionError` where there is none."""
    file = connection.makefile("rb")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (line := file.readline()):
            raise ConnectionError("closed without an answer")
        head += line
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head.split()[1]), head.lower(), file.read(length)


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed it, in good order."""
    return connection.recv(1) == b""


# -- what is too large is told -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10_001, 20_000, 8_000_000])
@pytest.mark.parametrize("how", ["kept", "closed", "chunked"])
def test_a_client_that_sends_all_before_it_reads_learns_that_it_is_too_much(size: int, how: str) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    body = b'"' + b"x" * (size - 2) + b'"'
    if how == "chunked":
        head, body = head + b"Transfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
    else:
        head += b"Content-Length: %d\r\n" % size
    head += b"Connection: close\r\n" if how == "closed" else b""
    with served(App(), body_bytes=10_000) as (port, _, _), connect(port, head + b"\r\n" + body) as connection:
        status, _, said = answer(connection)
        assert status == 413 and b"larger than 10000 bytes" in said


def test_a_connection_goes_on_after_a_body_that_was_too_large() -> None:
    with served(App(), body_bytes=10_000) as (port, _, _), connect(port) as connection:
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
        assert answer(connection)[0] == 413
        connection.sendall(ASK % b"x")
        assert answer(connection)[0] == 200


def test_who_asks_before_sending_a_large_body_need_not_send_it() -> None:
    with served(App(), body_bytes=10_000) as (port, _, _), connect(port) as connection:
        expect = b"Expect: 100-continue\r\nContent-Length: 50000\r\n\r\n"
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\n" + expect)
        status, head, _ = answer(connection)
        assert status == 413 and b"connection: close" in head
        assert ended(connection)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GET /" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET /?" + b"x" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 5_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 1_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 900_000, 431),
        (b"GET /" + b"x" * 900_000, 431),
        (b"\x16\x03\x01" + b"x" * 900_000, 400),
    ],
    ids=["path", "query", "header", "headers", "endless header", "endless path", "no HTTP"],
)
def test_heads_that_are_too_large_are_told_so(words: bytes, status: int) -> None:
    with served(App(), head_bytes=4_096) as (port, _, _), connect(port, words) as connection:
        assert answer(connection)[0] == status


# -- how many there may be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "after an answer"])
def test_idle_connections_make_room_and_health_is_answered(asks: bool) -> None:
    with ExitStack() as open_, served(App(), connections=20) as (port, _, _):
        kept = open_.enter_context(connect(port, ASK % b"x"))
        assert answer(kept)[0] == 200
        for _ in range(100):
            idle = open_.enter_context(connect(port, ASK % b"x" if asks else b""))
            assert not asks or answer(idle)[0] == 200
        for path in (b"health", b"x"):
            with connect(port, ASK % path) as watching:
                assert answer(watching)[0] == 200
        if not asks:  # one that has asked before is kept longer than those that never did
            kept.sendall(ASK % b"x")
            assert answer(kept)[0] == 200


def test_where_none_is_idle_probes_alone_are_answered() -> None:
    app = App()
    with ExitStack() as open_, served(app, connections=5) as (port, _, _):
        busy = [open_.enter_context(connect(port, ASK % b"wait")) for _ in range(5)]
        until(lambda: app.waiting == 5)
        with connect(port, ASK % b"x") as refused, connect(port, ASK % b"health") as probe:
            status, head, _ = answer(refused)
            assert status == 503 and b"retry-after: 1" in head
            assert answer(probe)[0] == 200
        app.go.set()
        assert [answer(one)[0] for one in busy] == [200] * 5
        with connect(port, ASK % b"x") as again:
            assert answer(again)[0] == 200


def test_descriptors_stay_free_whatever_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringrift.web.connections.resource.getrlimit", lambda which: (256, 4096))
    assert Connections(LimitSettings(connections=1000)).most + SPARE == 128
    assert Connections(LimitSettings(connections=10)).most == 10


def test_a_lack_of_descriptors_is_one_line(tmp_path: Path) -> None:
    async def go() -> None:
        server = _Here(configured(App(), LimitSettings(), 1.0, lifespan=False))
        loop = asyncio.get_running_loop()
        for _ in range(500):
            error = OSError(errno.EMFILE, "Too many open files")
            server._failed(loop, {"message": "socket.accept() out of system resource", "exception": error})

    with writing(tmp_path / "log.jsonl", 1_000_000):
        asyncio.run(go())
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert line["reason"] == "Too many open files" and "traceback" not in line


# -- the end -----------------------------------------------------------------------------------------------------------


def test_the_end_cuts_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that are being answered nor kept ones whose next request is on its way."""
    monkeypatch.setattr("ringrift.web.server.FAREWELL", PATIENCE)  # on a busy machine a second is soon over
    app = App()
    with ExitStack() as open_, served(app) as (port, server, thread):
        busy = [open_.enter_context(connect(port, ASK % b"wait")) for _ in range(10)]
        kept = [open_.enter_context(connect(port, ASK % b"x")) for _ in range(20)]
        assert [answer(one)[0] for one in kept] == [200] * 20
        until(lambda: app.waiting == 10)
        server.should_exit = True
        until(lambda: all(getattr(one, "ending", False) for one in list(server.server_state.connections)))
        for one in kept:
            one.sendall(ASK % b"late")
        for one in kept:
            status, head, body = answer(one)
            assert status == 200 and b"connection: close" in head and b"late" in body
            assert ended(one)
        app.go.set()
        for one in busy:
            status, head, _ = answer(one)
            assert status == 200 and b"connection: close" in head
            assert ended(one)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_the_end_comes_though_a_request_does_not() -> None:
    app = App()
    with served(app, drain=0.5) as (port, server, thread), connect(port, ASK % b"wait") as stuck:
        until(lambda: app.waiting == 1)
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive() and not app.go.is_set()
        stuck.close()


STUCK = """
import sys, time
from ringrift.players.player import HeuristicPlayer
def decide(self, games, rngs):
    print("thinking", flush=True)
    time.sleep(3600)
HeuristicPlayer.decide = decide
from ringrift.cli import main
sys.argv[1:] = ["serve", "--port", "0", "--set", "serve.drain=1"]
main()
"""


def test_a_player_that_never_returns_does_not_keep_the_process() -> None:
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        address = process.stdout.readline().split()[1].rstrip(",")
        try:
            with ThreadPoolExecutor() as threads:
                asking = threads.submit(httpx.post, f"{address}/ai/move", json=asked(middle(), level=2), timeout=60)
                assert process.stdout.readline() == "thinking\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
                assert isinstance(asking.exception(30) or asking.result(), httpx.HTTPError | httpx.Response)
            assert "players that do not stop are ended with the process: 1" in process.stderr.read()
        finally:
            process.kill()
