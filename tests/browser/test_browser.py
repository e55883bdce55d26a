"""Every notebook in a real JupyterLab: all cells run, every control of every panel moves its picture."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser

from tests.browser.lab import NOTEBOOKS, Lab, NotebookPage, write_notebook

# Appended to each copy: it keeps the kernel busy, as a longer notebook would, until the test has moved every control.
BUSY = """import pathlib, time
started = time.monotonic()
while not pathlib.Path("moved").exists() and time.monotonic() < started + 60:
    time.sleep(0.05)
assert pathlib.Path("moved").exists(), "the test did not get here"
"""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def opened(request: pytest.FixtureRequest, chromium: Browser, lab: Lab) -> Iterator[NotebookPage]:
    path = lab.folder / "notebooks" / request.param.name
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(BUSY))
    nbformat.write(notebook, path)
    (lab.folder / "notebooks" / "moved").unlink(missing_ok=True)
    page = chromium.new_page(viewport={"width": 1300, "height": 1000})
    yield NotebookPage(page, lab, f"notebooks/{request.param.name}")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def test_runs_and_its_panels_answer(opened: NotebookPage, lab: Lab, screenshots: Path) -> None:
    name = opened.path.stem
    opened.run_all()
    opened.wait_for_counts(opened.code_cells() - 1)

    # While the kernel is busy, each control is moved once: its message waits.
    cells = opened.panel_cells()
    for cell in cells:
        panel = opened.panel(cell)
        panel.count_pictures()
        for control in panel.controls().values():
            panel.move(control)
        assert panel.pictures_since() == 0
    live_cells = opened.live_cells()
    for cell in live_cells:  # these do not wait
        live = opened.live_panel(cell)
        for slider in live.sliders():
            live.count_pictures()
            slider.press("ArrowLeft" if slider.input_value() == slider.get_attribute("max") else "ArrowRight")
            opened.page.wait_for_timeout(100)
            assert live.pictures_since() > 0, f"{name}, cell {cell}: {slider.get_attribute('aria-label')}"
        opened.page.screenshot(path=screenshots / f"{name}-cell-{cell}-live.png")
    (lab.folder / "notebooks" / "moved").touch()
    opened.wait_for_counts(opened.code_cells())
    opened.wait_idle()

    for cell in cells:
        panel = opened.panel(cell)
        panel.wait_until_settled()
        opened.page.screenshot(path=screenshots / f"{name}-cell-{cell}-run-all.png")
        for label, control in panel.controls().items():
            old = panel.picture()
            panel.move(control)
            try:
                panel.wait_for_new(old)
            except Exception as error:
                raise AssertionError(f"{name}, cell {cell}: {label} changed nothing ({error})") from error
        opened.page.screenshot(path=screenshots / f"{name}-cell-{cell}-after.png")
    assert opened.cell_errors() == []
    assert opened.stderr() == []
    assert opened.errors == []
    assert "Traceback" not in lab.log.read_text()


def test_the_server_wants_its_token(lab: Lab) -> None:
    assert lab.status("/api/contents") == 200
    assert lab.status("/api/contents", token=False) == 403


@pytest.fixture
def scratch(chromium: Browser, lab: Lab) -> Iterator[Callable[[list[str]], NotebookPage]]:
    """Opens a notebook of the given cells."""
    pages = []

    def write(cells: list[str]) -> NotebookPage:
        write_notebook(lab.folder / "notebooks" / "scratch.ipynb", cells)
        page = chromium.new_page(viewport={"width": 720, "height": 900})
        pages.append(page)
        return NotebookPage(page, lab, "notebooks/scratch.ipynb")

    yield write
    for page in pages:
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        page.close()


LIVE = """import torch
from maml_core.engine import MetaTrainer
from maml_core.training import meta_train
from maml_core.recipes import find_recipe
recipe = find_recipe("sinusoid-5shot")
trainer = MetaTrainer(recipe.build_learner(), recipe.build_tasks(), torch.Generator().manual_seed(0), meta_batch=4)
losses = meta_train(trainer, 10_000_000)"""


def test_interrupt_keeps_what_was_trained(scratch: Callable[[list[str]], NotebookPage], screenshots: Path) -> None:
    """And the progress bar is a widget, rather than red text."""
    opened = scratch(
        [LIVE, "assert 10_000_000 > len(losses) == trainer.iteration > 0", "assert len(meta_train(trainer, 5)) == 5"]
    )
    opened.run_all()
    # The bar's line tells that meta-iterations run; only then is there something to keep.
    opened.page.locator(".jp-OutputArea", has_text="loss ").first.wait_for(timeout=60_000)
    assert opened.page.locator(".widget-hprogress").count() == 1
    opened.page.screenshot(path=screenshots / "progress.png")
    opened.call("commands.execute('notebook:interrupt-kernel')")
    opened.page.locator(".jp-OutputArea", has_text="Progress so far is kept.").first.wait_for(timeout=30_000)
    opened.wait_for_counts(3)
    opened.wait_idle()
    assert opened.cell_errors() == []
    assert opened.stderr() == []
    assert opened.errors == []


def test_a_dragged_slider_shows_its_newest_position(
    scratch: Callable[[list[str]], NotebookPage], screenshots: Path
) -> None:
    """On a narrow window, with keys that come faster than a slow panel draws: it skips, and ends where the slider is."""
    slow = (
        "import time\nfrom maml_core.panels import PlanePanel\n\nclass SlowPanel(PlanePanel):\n    def update(self):\n"
        "        time.sleep(0.3)\n        return f'alpha is {self.alpha.value:.2f}' + super().update()\n\nSlowPanel()"
    )
    opened = scratch([slow])
    opened.run_all()
    opened.wait_for_counts(1)
    opened.wait_idle()
    (cell,) = opened.panel_cells()
    panel = opened.panel(cell)
    panel.count_pictures()
    panel.controls()["alpha"].locator(".noUi-handle").focus()
    for _ in range(30):
        opened.page.keyboard.press("ArrowRight")
    opened.page.locator(".jp-OutputArea", has_text="alpha is 0.90").first.wait_for(timeout=30_000)
    assert 1 <= panel.pictures_since() < 15
    assert panel.image.bounding_box()["width"] < 720
    opened.page.screenshot(path=screenshots / "narrow.png")


SINUSOID = """from maml_core.panels.registry import PANELS
panel = PANELS["sinusoid"](None)
panel"""


def test_a_panel_is_used_from_the_keyboard_and_says_what_it_is(
    scratch: Callable[[list[str]], NotebookPage], screenshots: Path
) -> None:
    """In JupyterLab's dark theme at 900 pixels: arrows, a typed value, its line of Python, and back again."""
    opened = scratch([SINUSOID])
    page = opened.page
    page.set_viewport_size({"width": 900, "height": 900})
    opened.call("commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    opened.run_all()
    opened.wait_for_counts(1)
    panel = opened.panel(0)
    alpha = panel.controls()["alpha"]
    handle, readout = alpha.locator("[role=slider]"), alpha.locator(".widget-readout")
    assert alpha.locator(".noUi-target").bounding_box()["width"] >= 200
    assert panel.image.bounding_box()["width"] > 0.95 * page.locator(".jp-OutputArea-output").last.bounding_box()["width"]
    assert handle.get_attribute("aria-label") == "alpha"
    assert panel.image.get_attribute("alt").startswith("One sine wave: MAML's initialization and a pretrained one")
    page.locator(".maml-text[role=status]", has_text="mean squared error").wait_for()
    panel.count_pictures()
    handle.focus()
    for key, shown in (("ArrowRight", "0.011"), ("ArrowUp", "0.012"), ("ArrowLeft", "0.011")):
        page.keyboard.press(key)
        page.locator(".widget-readout", has_text=shown).wait_for(timeout=10_000)
        assert handle.get_attribute("aria-valuetext") == shown  # by itself, 0.011000000000000003
    panel.wait_until_settled()
    panel.count_pictures()
    readout.click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("0.02349")
    page.keyboard.press("Enter")
    page.get_by_text("0.023", exact=True).wait_for(timeout=10_000)
    panel.wait_until_settled()
    panel.press("copy state")
    selected = "() => { const e = document.activeElement; return e.value?.slice(e.selectionStart, e.selectionEnd) }"
    page.wait_for_function(f"({selected})()?.startsWith('SinusoidPanel(learner, maml, pretrained, seed=0, state=')")
    assert "'alpha': 0.023," in page.evaluate(selected)
    opened.page.screenshot(path=screenshots / "dark.png")
    panel.count_pictures()
    panel.press("reset")
    page.locator(".widget-readout", has_text="0.010").wait_for(timeout=10_000)
    panel.wait_until_settled()
    assert panel.pictures_since() == 1
    assert opened.errors == opened.cell_errors() == []


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1280, 720)])
def test_a_panel_fits_on_a_small_screen(
    scratch: Callable[[list[str]], NotebookPage], screenshots: Path, width: int, height: int
) -> None:
    """With the highest picture: below its cell, controls, axes and numbers are visible at once."""
    opened = scratch(["from maml_core.panels import PlanePanel\nPlanePanel()"])
    page = opened.page
    page.set_viewport_size({"width": width, "height": height})
    opened.run_all()
    opened.wait_for_counts(1)
    panel = opened.panel(0)
    page.locator(".maml-text[role=status]", has_text="cosine").wait_for()
    page.screenshot(path=screenshots / f"fits-{width}.png")
    picture, text = panel.image.bounding_box(), page.locator(".maml-text").bounding_box()
    controls = [control.bounding_box() for control in panel.controls().values()]
    bar = page.locator("#jp-main-statusbar").bounding_box()
    assert min(box["y"] for box in controls) > 0 and text["y"] + text["height"] < bar["y"]
    inside = [picture[side] - 12 for side in ("width", "height")]  # without the card's edge
    assert inside[0] / inside[1] == pytest.approx(8 / 4.2, abs=0.01) and picture["width"] > 600
    assert opened.errors == []
