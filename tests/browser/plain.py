"""Live panels on plain pages, without Jupyter: a file server, the page, and what a reader does there."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from maml_core.live import Live, fragment

Open = Callable[..., Page]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A plain file server that logs nothing."""

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def folders(chromium: Browser) -> Iterator[Open]:
    """Opens the root of a plain file server for a folder; a page that fails, or asks another host, fails the test."""
    servers, contexts, wrong = [], [], []

    def open_it(folder: Path, **options: Any) -> Page:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        address = f"http://127.0.0.1:{server.server_port}/"
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith((address, "data:")) or wrong.append(request.url))
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    for server in servers:
        server.shutdown()
        server.server_close()
    assert wrong == []


def write_page(folder: Path, panels: Sequence[Live]) -> None:
    """index.html with these panels below each other."""
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Live panels</title>'
    head += '<meta name="viewport" content="width=device-width">'
    style = "<style>:root { color-scheme: light dark }</style><body>"
    (folder / "index.html").write_text(head + style + "<hr>".join(map(fragment, panels)), encoding="utf-8")


def centre(point: Any) -> tuple[float, float]:
    """Where a point is in the window."""
    box = point.locator(".ring").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page: Page, point: Any, by: tuple[float, float]) -> None:
    """Drag a point by pixels, in a few moves."""
    point.scroll_into_view_if_needed()
    x, y = centre(point)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0], y + by[1], steps=4)
    page.mouse.up()
    page.wait_for_timeout(100)
    after = centre(point)
    assert (after[0] - x, after[1] - y) == pytest.approx(by, abs=1.5)  # it stays under the pointer


def changes(page: Page, what: Any, action: Callable[[], None]) -> str:
    """The text of an element after an action has changed it."""
    before = what.inner_text()
    action()
    page.wait_for_function("([e, old]) => e.innerText != old", arg=[what.element_handle(), before], timeout=5000)
    return what.inner_text()
