"""What all pages share: the frame, the board, and the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from nicegui import events, ui

from ringrift.rules.render import Point, point
from ringrift.store import RunDirectory
from ringrift.web.limits import Access, Arrived, Guard
from ringrift.web.server import address, listen, serve_until_stopped
from ringrift.web.settings import LimitSettings

HERE = Path(__file__).parent
PATIENCE = 20.0  #: seconds for which a page that is not heard of, as behind a slow connection, keeps its state
LIMITS = LimitSettings()
NO_RUN = "No run was given: start with <code>ringrift dashboard --run DIR</code>."
PAGES = {"/": "Play", "/games": "Games", "/loop": "Loop"}


@contextmanager
def frame(title: str, path: str) -> Iterator[None]:
    """A page with its head, its navigation and room for its content."""
    ui.page_title(f"{title} – RingRift")
    ui.add_head_html(
        f"<style>{(HERE / 'page.css').read_text()}</style><script>{(HERE / 'page.js').read_text()}</script>"
    )
    ui.colors(primary="#2f3d8f")
    dark = ui.dark_mode(None)
    with ui.header().classes("items-center q-py-xs q-px-sm gap-4"):
        ui.html("<strong>RingRift</strong>", tag="span")
        with ui.element("nav").props('aria-label="Pages"').classes("flex gap-4"):
            for target, name in PAGES.items():
                link = ui.link(name, target).classes(
                    "text-white" + (" font-bold" if target == path else " no-underline")
                )
                if target == path:
                    link.props('aria-current="page"')
        ui.space()
        ui.button("Dark or light", on_click=lambda: dark.set_value(not dark.value)).props(
            "flat dense no-caps color=white"
        )
    with ui.column().classes("w-full max-w-screen-xl mx-auto gap-3"):
        ui.html(f"<h1 class='text-xl m-0'>{title}</h1>")
        yield


def board(clicked: Callable[[Point], object] | None = None) -> ui.html:
    """A place for `board_svg`, as its `content`; `clicked` is told of cells chosen by the mouse or a key."""
    box = ui.html(sanitize=False).classes("board-box")

    def chosen(event: events.GenericEventArguments) -> None:
        if clicked:
            clicked(point(str(event.args)))

    for kind, found in (("click", "clicked"), ("keydown", "pressed")):
        box.on(kind, chosen, js_handler=f"(e) => {{ const cell = ringrift.{found}(e); if (cell) emit(cell); }}")
    return box


def serve(run: RunDirectory | None, host: str, port: int, pace: float, ready: Callable[[str], None]) -> None:
    """Serves the page until it is told to stop; `ready` is told its address. `pace`: seconds between two plies
    of engines. Raises `SettingsError` where it cannot."""
    from ringrift.web.dashboard import play, replays, watch

    listening = listen(host, port, "--port")
    play.add(run, pace)
    replays.add(run)
    watch.add(run)
    served = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    served.add_middleware(Arrived)  # inside the guard, whose requests are whole: the other way round no file is served
    served.add_middleware(Guard, limits=LIMITS, access=Access.to(host))
    icon = HERE / "icon.svg"
    ui.run_with(
        served,
        title="RingRift",
        dark=None,
        language="en-US",
        favicon=icon,
        show_welcome_message=False,
        reconnect_timeout=PATIENCE,
    )
    serve_until_stopped(served, LIMITS, 1.0, listening, lambda: ready(f"{address(listening)}/"), websockets=True)
