"""The page in headless Chromium: whole games by clicks, live updates, keyboard, a narrow screen, accessibility."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from stored import finished
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ringrift.kernel.bus import Bus
from ringrift.kernel.events import AlertRaised
from ringrift.pipeline.events import SelfplayFinished
from ringrift.rules import Game
from ringrift.store import GameStore, RunDirectory

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium"),
]
SEEN = """() => ({  // what a person can choose
  status: document.querySelector('.status').innerText,
  targets: [...document.querySelectorAll('.board .targets')].map((cell) => cell.dataset.cell),
  sources: [...document.querySelectorAll('.board .sources')].map((cell) => cell.dataset.cell),
  buttons: [...document.querySelectorAll('.choices button:not(.cancel)')].map((one) => one.innerText),
  begun: document.querySelector('.choices .cancel') !== null,
})"""
DRAWN = """  // what the server drew: without what the page itself lights up under the mouse or focuses
  document.querySelector('.board').outerHTML.replace(/ lit\\b| tabindex="[-0-9]*"/g, '')
  + document.querySelector('.choices').innerText + document.querySelector('.status').innerText
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two games, of which the first has search values."""
    path = tmp_path_factory.mktemp("dashboard") / "run"
    with RunDirectory.create(path) as opened:
        for seed, searched in ((1, True), (2, False)):
            GameStore(opened).add(finished(seed, searched=searched).to_bytes(), f"work/{seed}")
        opened.fabric.registry.set("settings/square8_2p", {})
    return path


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[tuple[str, int]]:
    """Address and process of a page in a process of its own."""
    command = [sys.executable, "-m", "ringrift", "dashboard", "--run", str(run), "--port", "0", "--pace", "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().split()[-1].rstrip("/"), process.pid
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def address(server: tuple[str, int]) -> str:
    return server[0]


def test_a_key_that_is_set_holds_for_the_page(browser, run):
    """A browser asks for it, any user and the key as password, and sends it with the WebSocket too."""
    command = [sys.executable, "-m", "ringrift", "dashboard", "--run", str(run), "--port", "0", "--pace", "0.02"]
    env = os.environ | {"RINGRIFT_API_KEY": "a-key"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout
        address = process.stdout.readline().split()[-1].rstrip("/")
        assert [httpx.get(address + path).status_code for path in ("/", "/games", "/loop")] == [401] * 3
        assert httpx.get(address, auth=("any", "another")).status_code == 403
        socket = address.replace("http", "ws") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
        with pytest.raises(InvalidStatus, match="401"):
            connect(socket)
        context = browser.new_context(base_url=address, http_credentials={"username": "any", "password": "a-key"})
        tab = context.new_page()
        tab.goto("/?config=square8_2p&seats=p,1&seed=1")
        assert act(tab, random.Random(5))  # the click came back over the WebSocket
        context.close()
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A tab; no script may fail in it, no other host may be asked for anything, and one WebSocket brings all news.
    Nothing slides in it: what moves between the two halves of a click is not clicked."""
    size = {"width": 1200, "height": 850}
    context, wrong = browser.new_context(base_url=address, viewport=size, reduced_motion="reduce"), list[str]()
    tab = context.new_page()
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    here = (address, "data:", "blob:")
    tab.on(
        "request",
        lambda asked: (
            wrong.append(asked.url) if not asked.url.startswith(here) or "transport=polling" in asked.url else None
        ),
    )
    yield tab
    context.close()
    assert not wrong


def settled(tab: Any) -> dict[str, Any]:
    """What a person can choose, once there is something; or the end of the game."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        seen: dict[str, Any] = tab.evaluate(SEEN)
        if seen["targets"] or seen["sources"] or seen["buttons"] or "has won" in seen["status"]:
            return seen
        tab.wait_for_timeout(20)
    raise AssertionError(f"nothing to choose: {seen}")


def act(tab: Any, rng: random.Random) -> bool:
    """A click on something that may be chosen; false where the game is over."""
    seen = settled(tab)
    if "has won" in seen["status"]:
        return False
    before = tab.evaluate(DRAWN)
    cells = seen["targets"] or seen["sources"]
    # Of regions that share cells, a second click on a cell tells no more than the first: then only their buttons do.
    if cells and (not seen["buttons"] or (not seen["begun"] and rng.random() < 0.7)):
        tab.locator(f'[data-cell="{rng.choice(cells)}"]').click()
    else:
        tab.locator(".choices").get_by_text(rng.choice(seen["buttons"]), exact=True).first.click()
    tab.wait_for_function(f"(before) => before != ({DRAWN})", arg=before)
    return True


@pytest.mark.parametrize("config", ["square8_2p", "hex8_2p"])
def test_a_whole_game_by_clicks(page, config):
    page.goto(f"/?config={config}&seats=p,1&seed=1")
    rng, clicks = random.Random(5), 0
    while act(page, rng):
        clicks += 1
    assert clicks > 10
    won = page.locator(".won").inner_text()
    assert "Seat" in won and "Places:" in won
    text = page.get_by_label("Position as text").input_value()
    outcome = Game.parse(text).outcome()
    assert outcome and f"Seat {outcome.winner} has won" in won


def test_a_turn_taken_back_hints_and_territory(page):
    page.goto("/?config=square8_2p&seats=p,p")
    start = page.get_by_label("Position as text").input_value()
    page.locator('[data-cell="2,6"]').click()
    page.get_by_role("button", name="3 rings").click()
    page.locator('[data-cell="2,2"].targets').click()
    page.get_by_text("moves from 2,6 to 2,2").wait_for()
    page.get_by_role("button", name="Hint").click()
    page.locator(".arrow").first.wait_for()
    assert "simulations" in page.get_by_role("region", name="Hints").inner_text()
    page.get_by_text("Show whose territory it will be").click()
    page.locator(".owner").first.wait_for()
    for left in ("Seat 1 (person): Choose where it goes", "Place rings"):
        page.get_by_role("button", name="Take back").click()
        page.get_by_text(left).wait_for()
    assert page.get_by_label("Position as text").input_value() == start


def test_a_new_game_and_a_position_by_address_and_text(page):
    page.goto("/")
    page.get_by_role("button", name="New game").click()
    page.get_by_label("Board", exact=True).click()
    page.get_by_role("option", name="Hexagon, 61 cells").click()
    page.get_by_label("How many seats").click()
    page.get_by_role("option", name="3").click()
    page.get_by_role("button", name="Start").click()
    page.wait_for_function("document.querySelectorAll('.board [data-cell]').length == 61")
    assert page.get_by_role("table").inner_text().count("level 3: ") == 2
    game = Game("square8_2p")
    game.push("P2,6*3")
    page.get_by_text("Share or set up a position").click()
    page.get_by_label("Text of a position").fill(game.text())
    page.get_by_role("button", name="Set up", exact=True).click()
    page.get_by_text("Choose where it goes").wait_for()
    page.wait_for_url(lambda url: "square8_2p" in url)
    page.reload()
    page.get_by_text("Choose where it goes").wait_for()
    assert page.get_by_label("Position as text").input_value() == game.text()
    page.get_by_text("Share or set up a position").click()
    page.get_by_label("Text of a position").fill("nonsense")
    page.get_by_role("button", name="Set up", exact=True).click()
    page.locator(".q-notification").get_by_text("a position text is").wait_for()


def test_a_click_while_nothing_is_heard_of_the_server_is_not_lost(page, server):
    page.goto("/?config=hex8_2p&seats=p,p")
    page.locator(".board .sources").first.wait_for()
    page.wait_for_timeout(500)
    os.kill(server[1], signal.SIGSTOP)
    try:
        page.locator('[data-cell="0,0"]').click()
        page.wait_for_timeout(8000)
    finally:
        os.kill(server[1], signal.SIGCONT)
    page.get_by_text("How many rings?").wait_for()


def test_probabilities_that_arrive_move_nothing_under_the_mouse(page):
    page.goto("/?config=hex8_2p&seats=p,p")
    page.locator(".chances").wait_for()
    high = "document.querySelector('.chances-box').offsetHeight"
    arrived = page.evaluate(high)
    page.evaluate("document.querySelector('.chances').remove()")
    assert page.evaluate(high) == arrived


def test_the_board_by_keyboard(page):
    page.goto("/?config=hex8_2p&seats=p,p")
    page.locator(".board .sources").first.wait_for()
    page.locator('.board [tabindex="0"]').focus()
    focused = "document.activeElement.dataset.cell"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    chosen = page.evaluate(focused)
    assert chosen not in (None, "0,-4")
    page.keyboard.press("Enter")
    page.get_by_text("How many rings?").wait_for()
    assert page.evaluate(focused) == chosen, "the focus stays where it was though the board is drawn anew"
    page.get_by_role("button", name="2 rings").focus()
    page.keyboard.press("Enter")
    page.get_by_text(f"places 2 rings on {chosen}").wait_for()


def test_a_stored_game_step_by_step(page):
    page.goto("/games")
    page.get_by_label("Player").fill("rand")
    page.get_by_role("link", name="1", exact=True).click()
    page.get_by_text("Ply 0 of").wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.get_by_text("Ply 2 of").wait_for()
    page.locator(".chances, canvas").first.wait_for()
    page.get_by_role("button", name="Last").click()
    page.get_by_text("has won").wait_for()
    page.get_by_role("button", name="Back").click()
    page.get_by_role("link", name="Play on from here").click()
    page.get_by_role("button", name="New game").wait_for()
    page.goto("/games/2?ply=3")
    page.get_by_text("Ply 3 of").wait_for()
    page.get_by_text("No search values").wait_for()
    page.goto("/games/77")
    page.get_by_text("has no game '77'").wait_for()


def test_a_loop_is_watched_as_it_goes_on(page, run):
    page.goto("/loop")
    page.get_by_text("No loop runs now").wait_for()
    with RunDirectory.open(run) as opened, opened.loop_lease():
        bus = Bus(opened.fabric.log, "test")
        batch = SelfplayFinished(config="square8_2p", job="j", batch="b", player="p", games=1234, plies=1, seconds=1)
        bus.publish(batch)
        bus.publish(AlertRaised(alert="disk-full", severity="critical", text="the disk is full"))
        page.get_by_text("The loop runs").wait_for(timeout=10_000)
        page.get_by_text("1,234 in the last one").wait_for()
        page.get_by_role("alert").get_by_text("the disk is full").wait_for()


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_keeps_people_out(page, dark):
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme="dark" if dark else "light")
    game = Game("square8_2p")
    game.push("P2,6*3")
    pages = (f"/?position={game.text()}&seats=p,p", "/loop", "/games/1", "/games", "/?config=hex8_4p")
    for path in pages[:2] if dark else pages:
        page.goto(path)
        page.locator("table, .board").first.wait_for()
        page.wait_for_timeout(700)
        found = Axe().run(page).response["violations"]
        bad = [(path, one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found
               if one["impact"] in ("serious", "critical")]  # fmt: skip
        assert not bad


def test_no_other_name_leads_here(address):
    assert httpx.get(address).status_code == 200
    assert httpx.get(address, headers={"Host": "elsewhere.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
def test_no_page_of_others_talks_to_it(address, origin):
    path = "/_nicegui_ws/socket.io/?EIO=4&transport="
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"{address.replace('http', 'ws')}{path}websocket", origin=origin)
    assert httpx.post(f"{address}{path}polling", headers={"Origin": origin}).status_code == 403
    with connect(f"{address.replace('http', 'ws')}{path}websocket", origin=address) as own:
        assert str(own.recv(20)).startswith("0{")


def test_a_wrong_address_is_answered(address):
    for query, status in ((f"seats=p,{'9' * 5000}", 200), ("seed=-1", 422), ("position=;;&config=x&pie=true", 200)):
        assert httpx.get(f"{address}/?{query}").status_code == status, query


def test_a_narrow_screen(page):
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/?config=square8_2p&seats=p,p", "/games", "/games/1", "/loop"):
        page.goto(path)
        page.locator("table, .board").first.wait_for()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    page.goto("/?config=square8_2p&seats=p,p")
    box = page.locator('[data-cell="3,3"] .ground').bounding_box()
    assert box["width"] > 34
    page.locator('[data-cell="3,3"]').click()
    page.get_by_text("How many rings?").wait_for()
