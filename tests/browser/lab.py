"""JupyterLab on a free loopback port with a token, and one of its notebooks in a real browser."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.small import status

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
QUIET = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def find_chromium() -> str | None:
    """The program that CHROMIUM names ("none": do without), else a Chromium or Chrome of this machine, or None."""
    if os.environ.get("CHROMIUM") == "none":
        return None
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return found or (str(MAC) if MAC.exists() else None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium without a sandbox of its own (containers seldom let it make one)."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=find_chromium(), args=["--no-sandbox", "--no-first-run", *QUIET]
        )
        yield chromium
        chromium.close()


def copy_review(folder: Path) -> None:
    """The notebooks and the pictures that they show, so that a browser's autosave changes no committed file."""
    shutil.copytree(ROOT / "figures", folder / "figures")
    (folder / "notebooks").mkdir()
    for path in NOTEBOOKS:
        shutil.copy(path, folder / "notebooks")


def write_notebook(path: Path, cells: list[str]) -> None:
    """A notebook of these code cells that opens without asking for a kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    nbformat.write(notebook, path)


class Lab:
    """A server for the notebooks below `folder`; what it says goes to `log`."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log, self.token = folder, log, secrets.token_hex(16)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1",
                   f"--port={self.address.rpartition(':')[2]}", "--ServerApp.port_retries=0",
                   f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={folder}",
                   "--LabApp.expose_app_in_browser=True", "--allow-root"]  # fmt: skip
        # Its kernels may not see what a person's own settings would change.
        env = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / ".config"), "MAML_DOWNLOAD": "0"}
        env.pop("TQDM_DISABLE", None)  # a reader sees progress bars, whatever the process that compares notebooks has set
        env["MAML_DATA"] = os.environ.get("MAML_DATA", str(ROOT / "data"))
        with log.open("w") as out:
            self._server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)

    def wait(self, seconds: float = 60) -> None:
        """Until it answers; raises RuntimeError with its log when it does not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._server.poll() is None:
            if self.status("/api/status") == 200:
                return
            time.sleep(0.2)
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()}")

    def status(self, path: str, token: bool = True) -> int:
        """The HTTP status of an address, with or without the token; 0 while there is no answer."""
        return status(self.address + path, self.token if token else None)

    def stop(self) -> None:
        """By its own way of shutting kernels down, or the hard way where that takes longer than half a minute."""
        self._server.terminate()
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()


class NotebookPage:
    """One notebook in JupyterLab, driven as a reader drives it."""

    def __init__(self, page: Page, lab: Lab, path: str) -> None:
        self.page, self.errors = page, []
        self.path = lab.folder / path
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        # A workspace of its own: else JupyterLab opens the notebooks of the pages before, too.
        workspace = self.path.stem
        page.goto(f"{lab.address}/lab/workspaces/{workspace}/tree/{path}?token={lab.token}")
        page.wait_for_function("window.jupyterapp && document.querySelector('.jp-Notebook')", timeout=120_000)
        self.call("shell.collapseLeft()")
        self.page.wait_for_function(f"{SESSION}?.session?.kernel?.status == 'idle'", timeout=120_000)

    def call(self, what: str) -> None:
        """A method of JupyterLab's application, not waited for."""
        self.page.evaluate(f"() => {{ window.jupyterapp.{what}; return null }}")

    def run_all(self) -> None:
        """Run all cells, not waited for."""
        self.call("commands.execute('notebook:run-all-cells')")

    def wait_for_counts(self, cells: int, seconds: float = 120) -> None:
        """Until so many code cells have been executed."""
        self.page.wait_for_function(f"() => {COUNTED} >= {cells}", timeout=1000 * seconds)

    def wait_idle(self, seconds: float = 120) -> None:
        """Until the kernel has nothing to do."""
        self.page.wait_for_function(f"{SESSION}.session.kernel.status == 'idle'", timeout=1000 * seconds)

    def code_cells(self) -> int:
        return sum(cell.cell_type == "code" for cell in nbformat.read(self.path, as_version=4).cells)

    def cell_errors(self) -> list[str]:
        """What the cells say that failed."""
        return self.page.evaluate(
            f"() => {CODE}.flatMap(c => c.model.outputs.toJSON()).filter(o => o.output_type == 'error').map(o => o.evalue)"
        )

    def stderr(self) -> list[str]:
        """What JupyterLab shows in red although it is no error."""
        of = f"{CODE}.flatMap(c => c.model.outputs.toJSON()).filter(o => o.name == 'stderr')"
        return self.page.evaluate(f"() => {of}.map(o => String(o.text))")

    def panel_cells(self) -> list[int]:
        """The places of the cells that show a panel which the kernel draws."""
        return self._widget_cells("!String(o.data['text/plain']).startsWith('Live')")

    def live_cells(self) -> list[int]:
        """The places of the cells that show a live panel, which needs no kernel."""
        return self._widget_cells("String(o.data['text/plain']).startsWith('Live')")

    def _widget_cells(self, condition: str) -> list[int]:
        """The places of the cells with a widget and its picture, where a condition on the output o holds."""
        return self.page.evaluate(
            f"() => {CELLS}.map((c, i) => [c, i]).filter(([c]) => c.model.type == 'code' && c.model.outputs.toJSON()"
            ".some(o => o.data && o.data['application/vnd.jupyter.widget-view+json'] && o.data['image/png']"
            f" && {condition})).map(([, i]) => i)"
        )

    def live_panel(self, cell: int) -> "LiveView":
        """The live panel in a cell, scrolled to."""
        root = self._scroll_to(cell).locator(".maml-live")
        root.locator(".handle").first.wait_for(timeout=30_000)
        return LiveView(self.page, root)

    def panel(self, cell: int) -> "PanelView":
        """The panel in a cell, scrolled to."""
        root = self._scroll_to(cell)
        root.locator("img.widget-image").first.wait_for(timeout=30_000)
        return PanelView(self.page, root)

    def _scroll_to(self, cell: int) -> Locator:
        self.page.evaluate(
            "i => { const n = window.jupyterapp.shell.currentWidget.content;"
            " n.activeCellIndex = i; n.scrollToItem(i, 'start') }",
            cell,
        )
        self.page.wait_for_timeout(300)  # JupyterLab scrolls in steps
        return self.page.locator(".jp-Notebook .jp-Cell.jp-mod-active")


class PanelView:
    """A live panel: its controls by name, and its picture."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page, self._root = page, root
        self.image = root.locator("img.widget-image").first

    def picture(self) -> str:
        """An address that changes with every new picture."""
        return self.image.get_attribute("src")

    def wait_for_new(self, old: str, seconds: float = 10) -> None:
        """Until the picture is another one and decoded."""
        script = "([img, old]) => img.src != old && img.complete"
        self.page.wait_for_function(script, arg=[self.image.element_handle(), old], timeout=1000 * seconds, polling=4)

    def controls(self) -> dict[str, Locator]:
        """Name -> what a person would take hold of, but for the buttons that all panels have."""
        found = {}
        for kind in (".widget-dropdown", ".widget-slider", ".widget-checkbox", "button.widget-button", "canvas"):
            for i in range(self._root.locator(kind).count()):
                one = self._root.locator(kind).nth(i)
                label = one.locator(".widget-label").first
                name = label.inner_text() if label.count() else one.inner_text()
                found[name.strip() or f"{kind} {i}"] = one
        return {name: one for name, one in found.items() if name not in ("reset", "copy state")}

    def press(self, button: str) -> None:
        self._root.get_by_role("button", name=button, exact=True).click()

    def count_pictures(self) -> None:
        """Count the pictures that come from now on; `pictures_since` says how many."""
        self.image.evaluate(
            "img => { img.came = 0; img.counts?.disconnect();"
            " img.counts = new MutationObserver(all => { img.came += all.length });"
            " img.counts.observe(img, {attributeFilter: ['src']}) }"
        )

    def pictures_since(self) -> int:
        return self.image.evaluate("img => img.came")

    def wait_until_settled(self, seconds: float = 30, quiet: int = 700) -> None:
        """Until a picture has come since `count_pictures`, and then none for so many milliseconds.

        Not one for every control: messages of two controls that come together are drawn as one.
        """
        handle = self.image.element_handle()
        self.page.wait_for_function("img => img.came >= 1", arg=handle, timeout=1000 * seconds)
        came = 0
        while (now := self.pictures_since()) != came:
            came = now
            self.page.wait_for_timeout(quiet)

    def move(self, control: Locator) -> None:
        """Change a control as a person does: a key on a slider, a click, the next option, a stroke of the pen."""
        kind = control.evaluate("e => e.tagName == 'CANVAS' ? 'canvas' : e.className")
        if "slider" in kind:
            handle = control.locator(".noUi-handle")
            handle.focus()
            at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
            self.page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
        elif "dropdown" in kind:
            select = control.locator("select")
            count = select.locator("option").count()
            select.select_option(index=(select.evaluate("s => s.selectedIndex") + 1) % count)
        elif "checkbox" in kind:
            control.locator("input").click()
        elif kind == "canvas":
            self.draw(control, [(0.06, 0.3), (0.08, 0.6), (0.12, 0.4)])
        else:
            control.click()

    def draw(self, canvas: Locator, points: list[tuple[float, float]]) -> None:
        """One stroke of the pen through points in parts of the canvas's width and height."""
        box = canvas.bounding_box()
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=4)
        self.page.mouse.up()


class LiveView:
    """A live panel: its sliders, its points, and the curve or path that every redraw sets."""

    def __init__(self, page: Page, root: Locator) -> None:
        self.page, self.root = page, root
        self._drawn = root.locator("svg path.curve").first

    def sliders(self) -> list[Locator]:
        return [one for one in self.root.locator("input[type=range]").all() if one.is_visible()]

    def count_pictures(self) -> None:
        """Count the pictures that are drawn from now on; `pictures_since` says how many."""
        self._drawn.evaluate(
            "path => { path.came = 0; new MutationObserver(all => { path.came += all.length })"
            ".observe(path, {attributeFilter: ['d']}) }"
        )

    def pictures_since(self) -> int:
        return self._drawn.evaluate("path => path.came")

    def drag(self, point: Locator, seconds: float, radius: float = 60) -> None:
        """Drag a point in circles, with more moves than the display has frames.

        They are sent from inside of the page: from outside, the way there would take longer than a frame.
        """
        box = point.locator(".ring").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        point.evaluate(
            """async (node, [x, y, radius, seconds]) => {
              const end = performance.now() + 1000 * seconds;
              for (let turn = 0; performance.now() < end; turn += 0.05) {
                const [clientX, clientY] = [x + radius * Math.sin(turn), y + radius * (Math.cos(turn) - 1)];
                node.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY, isPrimary: true }));
                await new Promise((resolve) => setTimeout(resolve, 4));
              }
            }""",
            [x, y, radius, seconds],
        )
        self.page.mouse.up()


CELLS = "window.jupyterapp.shell.currentWidget.content.widgets"
CODE = CELLS + ".filter(c => c.model.type == 'code')"
COUNTED = CODE + ".filter(c => c.model.executionCount && c.model.executionState != 'running').length"
SESSION = "window.jupyterapp.shell.currentWidget?.sessionContext"
