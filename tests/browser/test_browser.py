"""Every notebook in a real JupyterLab: all cells run, every control of every panel moves its picture."""

from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser

from tests.browser.lab import NOTEBOOKS, Lab, NotebookPage

# Appended to each copy: it keeps the kernel busy, as a longer notebook would, until the test has moved every control.
BUSY = """import pathlib, time
started = time.monotonic()
while not pathlib.Path("moved").exists() and time.monotonic() < started + 60:
    time.sleep(0.05)
assert pathlib.Path("moved").exists(), "the test did not get here"
"""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def opened(request: pytest.FixtureRequest, chromium: Browser, lab: Lab) -> NotebookPage:
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

    # While the kernel is busy, each control is moved once: its message waits, and none is lost.
    moved = {}
    for cell in opened.panel_cells():
        panel = opened.panel(cell)
        panel.count_pictures()
        moved[cell] = panel.controls()
        for control in moved[cell].values():
            panel.move(control)
        assert panel.pictures_since() == 0
    (lab.folder / "notebooks" / "moved").touch()
    opened.wait_for_counts(opened.code_cells())
    opened.wait_idle()

    for cell, controls in moved.items():
        panel = opened.panel(cell)
        assert panel.pictures_since() >= len(controls)
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
    assert opened.errors == []
    assert "Traceback" not in lab.log.read_text()


def test_the_server_wants_its_token(lab: Lab) -> None:
    assert lab.status("/api/contents") == 200
    assert lab.status("/api/contents", token=False) == 403
