"""How fast panels are, in a real browser: python -m tests.browser.latency (or make bench-panels)

Every slider of every panel is moved by single keys, each answered before the next. They go to its end and back again, so
that most values are new to a panel that remembers what it has computed. Then one slider is dragged: keys come faster than
the panel can draw, and the pictures that were drawn are counted. A panel that piled work up would draw one for each key
and go on long after the last.

The live panels draw in the browser: a point of each is dragged in circles for two seconds, and pictures are counted.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Locator

from maml_core.live import LIVE
from maml_core.panels.registry import PANELS
from tests.browser.lab import Lab, LiveView, NotebookPage, PanelView, browser, find_chromium, write_notebook

PRESSES, DRAGGED, SECONDS = 15, 60, 2
SET_UP = """from maml_core.live import LIVE
from maml_core.panels.registry import PANELS
from maml_core.tasks import load_characters

images = load_characters("auto", download=False).split("test").images"""


def main() -> int:
    if find_chromium() is None:
        print("This needs Chromium or Chrome: install it, or name it in CHROMIUM=/path/to/it.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        cells = [SET_UP, *(f'PANELS["{name}"](images)' for name in PANELS), *(f'LIVE["{name}"]()' for name in LIVE)]
        write_notebook(Path(folder) / "panels.ipynb", cells)
        lab = Lab(Path(folder), Path(folder) / "server.log")
        try:
            lab.wait()
            with browser() as chromium:
                page = NotebookPage(chromium.new_page(viewport={"width": 1300, "height": 1000}), lab, "panels.ipynb")
                page.run_all()
                page.wait_for_counts(len(cells), 300)
                page.wait_idle()
                print(f"| panel | median, ms | each slider, ms | a drag of {DRAGGED} keys |\n|---|---|---|---|")
                for cell, name in enumerate(PANELS, 1):
                    print(measure(page.panel(cell), name), flush=True)
                print(f"\n| live panel | pictures a second, in a drag of {SECONDS} s |\n|---|---|")
                for cell, name in enumerate(LIVE, 1 + len(PANELS)):
                    print(f"| {name} | {frames_per_second(page.live_panel(cell)):.0f} |", flush=True)
        finally:
            lab.stop()
    return 0


def measure(panel: PanelView, name: str) -> str:
    """One panel's row: the median over all key presses, each slider's own, and a drag."""
    handles = {label: one.locator(".noUi-handle") for label, one in panel.controls().items()}
    handles = {label: handle for label, handle in handles.items() if handle.count()}
    times = {label: sweep(panel, handle) for label, handle in handles.items()}
    each = ", ".join(f"{label} {median(values):.0f}" for label, values in times.items())
    overall = median(value for values in times.values() for value in values)
    dragged = next(handles[label] for label in ("alpha", "steps", "K") if label in handles)
    return f"| {name} | {overall:.0f} | {each} | {drag(panel, dragged)} |"


def sweep(panel: PanelView, handle: Locator) -> list[float]:
    """Milliseconds from each key to the new picture; at an end of the slider, the keys turn round."""
    key, times = "ArrowRight", []
    low, high = (float(handle.get_attribute(f"aria-value{end}")) for end in ("min", "max"))
    handle.focus()
    for _ in range(PRESSES):
        value = float(handle.get_attribute("aria-valuetext").replace("−", "-"))
        if value >= high or value <= low:
            key = "ArrowLeft" if value >= high else "ArrowRight"
        old, started = panel.picture(), time.perf_counter()
        panel.page.keyboard.press(key)
        panel.wait_for_new(old)
        times.append(1000 * (time.perf_counter() - started))
    return times


def drag(panel: PanelView, handle: Locator) -> str:
    """How many pictures came of keys that are sent as fast as they go, and when the last one came."""
    handle.focus()
    panel.count_pictures()
    started = time.perf_counter()
    for _ in range(DRAGGED):
        panel.page.keyboard.press("ArrowRight")
    sent = time.perf_counter()
    drawn, last = panel.pictures_since(), sent
    while time.perf_counter() < last + 0.5:
        now = panel.pictures_since()
        if now != drawn:
            drawn, last = now, time.perf_counter()
        panel.page.wait_for_timeout(5)
    return f"{drawn} pictures in {sent - started:.1f} s, the last {1000 * (last - sent):.0f} ms after the last key"


def frames_per_second(panel: LiveView) -> float:
    """Pictures in a second, of at most 60."""
    point = panel.root.locator(".handle:visible").last  # nothing lies above it
    panel.count_pictures()
    started = time.perf_counter()
    panel.drag(point, SECONDS)
    return panel.pictures_since() / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
