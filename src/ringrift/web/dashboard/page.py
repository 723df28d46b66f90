"""What all pages share: the frame, the board, and the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nicegui import events, ui

from ringrift.rules.render import Point, point

HERE = Path(__file__).parent
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
