"""The live panels in a real browser: their JavaScript computes what maml_core does; they work with and without a kernel."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Page
from torch import Tensor

from maml_core.live import LIVE, LivePlane, LiveSinusoid
from maml_core.live.base import FOLDER
from maml_core.live.sinusoid import HALVES, MOST_SHOTS, pack
from maml_core.maml import Learner, adapt, meta_objective
from maml_core.networks import Weights, sinusoid_network
from maml_core.results import load_shipped
from maml_core.tasks.quadratics import directions, plane_network, plane_tasks
from tests.browser.lab import Lab, NotebookPage, write_notebook
from tests.browser.plain import Open, changes, drag, write_page

SETTINGS = 200


def close(found: Any, expected: Tensor, scale: float = 1.0) -> None:
    """To 1e-4 of the value; what diverged to infinity has to do so in both."""
    found = torch.tensor(found, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * scale, equal_nan=True)


def draw_waves(generator: torch.Generator) -> Iterator[dict[str, Any]]:
    """States of the sinusoid panel: all its sliders, and points on and off the wave, some of them at the plot's edges."""

    def between(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()

    for i in range(SETTINGS):
        yield {
            "alpha": between(0.001, 0.03), "steps": i % 11, "shots": 1 + i % MOST_SHOTS, "amplitude": between(0.1, 5),
            "phase": between(0, 3.14), "half": list(HALVES)[i % 3], "places": [between(0, 1) for _ in range(MOST_SHOTS)],
            "offsets": [between(-4, 4) * (i % 2) for _ in range(MOST_SHOTS)],
        }  # fmt: skip


def expected_wave(theta: Weights, state: dict[str, Any]) -> dict[str, Tensor]:
    """By maml_core, in float64: what sinusoid.js's `results` returns."""
    grid = torch.linspace(-5, 5, 201, dtype=torch.float64)
    low, high = HALVES[state["half"]]
    places, offsets = torch.tensor([state["places"], state["offsets"]], dtype=torch.float64)[:, None, : state["shots"]]
    x = low + (high - low) * places[..., None]
    y = state["amplitude"] * torch.sin(x[..., 0] - state["phase"]) + offsets
    y = y.clamp(-6.4, 6.4)  # points stay in the plot
    target = state["amplitude"] * torch.sin(grid - state["phase"])
    learner = Learner(sinusoid_network(), state["alpha"])
    phis = (adapt(learner, theta, x, y, steps) for steps in (0, state["steps"]))
    curves = torch.stack([learner.network.forward(phi, grid[None, :, None])[0] for phi in phis])
    return {"target": target, "curves": curves, "errors": ((curves - target) ** 2).mean(-1)}


def test_the_wave_is_maml_cores(open_folder: Open, generator: torch.Generator) -> None:
    page = open_folder(FOLDER)
    states = list(draw_waves(generator))
    fresh = {name: torch.randn(w.shape, generator=generator) / 4 for name, w in load_shipped("sinusoid-10shot")[0].items()}
    thetas = [load_shipped("sinusoid-10shot")[0], load_shipped("sinusoid-pretrained")[0], fresh]
    found = page.evaluate(
        "async ([texts, states]) => { const { results } = await import('/sinusoid.js');"
        " const { unpack } = await import('/network.js');"
        " return states.map((state, i) => results(unpack(texts[i % texts.length]), state)) }",
        [[pack(theta) for theta in thetas], states],
    )
    assert len(found) == SETTINGS
    for i, (state, one) in enumerate(zip(states, found)):
        theta = {name: w.double() for name, w in thetas[i % len(thetas)].items()}
        for name, value in expected_wave(theta, state).items():
            close(one[name], value)


def test_the_plane_is_maml_cores(open_folder: Open, generator: torch.Generator) -> None:
    """The directions of the three methods, the paths of adaptation, and the loss after it."""
    page = open_folder(FOLDER)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    settings = [
        {"optima": 5 * draw(T, 2) - 2.5, "curvatures": 0.02 + 2.38 * draw(T, 2), "angles": 6.3 * draw(T),
         "theta": 5 * draw(2) - 2.5, "alpha": 0.01 + 0.99 * draw(), "steps": 1 + i % 5}
        for i, T in enumerate([2, 3] * (SETTINGS // 2))
    ]  # fmt: skip
    found = page.evaluate(
        """async (settings) => {
          const { adaptedLoss, directions, path, rise } = await import('/quadratics.js');
          return settings.map(({ optima, curvatures, angles, theta, alpha, steps }) => {
            const tasks = optima.map((optimum, i) => ({ optimum, curvatures: curvatures[i], angle: angles[i] }));
            const F = adaptedLoss(tasks, alpha, steps);
            const paths = tasks.map((task) => path(task, theta, alpha, steps));
            return { ...directions(tasks, theta, alpha, steps), paths, loss: F.lowest + rise(F.M, F.centre, theta) };
          });
        }""",
        [{k: v.tolist() if isinstance(v, Tensor) else v for k, v in one.items()} for one in settings],
    )
    assert len(found) == SETTINGS
    for one, setting in zip(found, settings):
        theta, alpha, steps = setting["theta"], setting["alpha"].item(), setting["steps"]
        tasks = plane_tasks(setting["optima"], setting["curvatures"], setting["angles"])
        expected, path = directions(tasks, theta, alpha, steps)
        for name, method in (("maml", "MAML"), ("firstOrder", "first order"), ("reptile", "Reptile")):
            close(one[name], expected[method])
        close(one["paths"], path.transpose(0, 1))
        close(one["loss"], meta_objective(Learner(plane_network(), alpha, steps), {"theta": theta}, tasks))


def ink(panel: Any) -> float:
    """How light a panel's text is, from 0 to 1."""
    colour = panel.evaluate("e => getComputedStyle(e).color")  # "rgb(26, 26, 26)" or "color(srgb 0.1 0.1 0.1)"
    return float(re.search(r"[\d.]+", colour)[0]) / (255 if colour.startswith("rgb") else 1)


def bars_are_true(page: Page, plane: Any) -> None:
    """The bars are as long as the numbers beside them say; one that is longer than there is room for has a mark."""
    measure = "e => [e.offsetWidth / (e.parentElement.clientWidth - 12), getComputedStyle(e, '::after').content]"
    cut = []
    for name, value in (("alpha", "0.6"), ("steps", "2"), ("steps", "5")):
        field = plane.get_by_label(f"{name}, as a number")
        changes(page, plane.locator("tbody"), lambda field=field, value=value: (field.fill(value), field.press("Enter")))
        for row in plane.locator("tbody tr").all():
            share, mark = row.locator(".bar").evaluate(measure)
            ratio = float(row.locator(".number").first.inner_text().strip("> "))
            assert share == pytest.approx(min(1, ratio / 8), abs=0.01)
            cut.append(ratio > 8)
            assert (mark != "none") == cut[-1]
    assert not any(cut[:3]) and any(cut)  # as the panel opens, all fit


@pytest.mark.parametrize("width, dark", [(400, False), (900, True), (1600, False)])
def test_fragments_work_on_a_plain_page(
    open_folder: Open, tmp_path: Path, screenshots: Path, width: int, dark: bool
) -> None:
    """Without a kernel: all of them on one page, dragged by mouse and keyboard, within the width there is."""
    panels = [LiveSinusoid(), LivePlane(), LivePlane(tasks=3, alpha=0.2), LiveSinusoid(shots=3)]
    write_page(tmp_path, panels)
    size = {"width": width, "height": 900}
    page = open_folder(tmp_path, viewport=size, color_scheme="dark" if dark else "light", device_scale_factor=2)
    roots = page.locator(".maml-live")
    roots.nth(3).locator(".handle").nth(2).wait_for()
    assert [roots.nth(i).locator("figure").count() for i in range(4)] == [2, 0, 0, 2]
    assert roots.nth(0).locator(".handle:visible").count() == 20 and roots.nth(3).locator(".handle:visible").count() == 6
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (ink(roots.first) > 0.5) == dark
    for theme, light_ink in (("light", False), ("dark", True), ("auto", dark)):  # the site's button
        page.evaluate("theme => { document.body.dataset.theme = theme }", theme)
        assert (ink(roots.first) > 0.5) == light_ink

    wave, plane = roots.nth(0), roots.nth(1)
    told, point = wave.locator("figcaption").first, wave.locator(".handle").nth(3)
    first = told.inner_text()
    changes(page, told, lambda: drag(page, point, (30, -40)))
    page.keyboard.press("Home")  # back on the wave, at another place
    changes(page, told, lambda: page.keyboard.press("Shift+ArrowUp"))
    changes(page, told, lambda: page.keyboard.press("Shift+ArrowLeft"))
    steps = wave.get_by_label("steps, as a number")
    none = changes(page, told, lambda: (steps.fill("0"), steps.press("Enter")))
    before, after = re.findall(r"\d+\.\d+", none)
    assert before == after
    steps.fill("")
    steps.press("Tab")
    assert steps.input_value() == "0"  # nothing typed changes nothing
    assert changes(page, told, lambda: wave.get_by_role("button", name="reset").click()) == first

    told = plane.locator("tbody")
    changes(page, told, lambda: drag(page, plane.locator(".handle").nth(3), (-40, -30)))
    changes(page, told, lambda: drag(page, plane.locator(".handle").nth(0), (10, 60)))
    bars_are_true(page, roots.nth(2))
    flat = changes(page, told, lambda: plane.get_by_role("button", name="flatten the tasks").click())
    assert [int(angle) < 5 for angle in re.findall(r"(\d+)°", flat)] == [True] * 3  # the arrows fall together
    page.wait_for_timeout(600)
    assert re.match(r"first order: \d° from MAML's direction", plane.get_by_role("status").inner_text())
    page.screenshot(path=screenshots / f"live-{'dark' if dark else 'light'}-{width}.png", full_page=True)


def test_in_jupyterlab_state_goes_both_ways_and_a_busy_kernel_is_no_hindrance(
    chromium: Browser, lab: Lab, screenshots: Path
) -> None:
    busy = "import pathlib, time\nwhile not pathlib.Path('done').exists():\n    time.sleep(0.05)"
    cells = ["from maml_core.live import LiveSinusoid\n\nlive = LiveSinusoid()\nlive", busy,
             "assert (live.alpha, live.steps) == (0.02, 1)\nx = live.places[0]\nlive.steps = 7"]  # fmt: skip
    write_notebook(lab.folder / "notebooks" / "live.ipynb", cells)
    page = chromium.new_page(viewport={"width": 900, "height": 900})
    opened = NotebookPage(page, lab, "notebooks/live.ipynb")

    def run_cell(number: int) -> None:
        page.evaluate("i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i }", number)
        opened.call("commands.execute('notebook:run-cell')")

    run_cell(0)
    told = page.locator(".maml-live figcaption").first
    told.wait_for(timeout=60_000)
    page.wait_for_function("document.querySelector('.maml-live figcaption').innerText != ''")
    run_cell(1)
    field = page.get_by_label("alpha, as a number")
    changes(page, told, lambda: (field.fill("0.02"), field.press("Enter")))
    point = page.locator(".maml-live .handle").nth(3)
    changes(page, told, lambda: drag(page, point, (30, 10)))
    active = page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    changes(page, told, lambda: page.keyboard.press("Shift+ArrowDown"))
    assert page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex") == active
    page.screenshot(path=screenshots / "live-jupyterlab.png")
    (lab.folder / "notebooks" / "done").touch()
    opened.wait_for_counts(2)
    opened.wait_idle()  # the messages that waited have arrived
    run_cell(2)
    opened.wait_for_counts(3)
    assert opened.cell_errors() == []
    page.wait_for_function("document.querySelector('.maml-live [aria-label=steps]').value == 7")
    assert opened.errors == []
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def test_every_live_panel_is_compared() -> None:
    assert set(LIVE) == {"sinusoid", "plane"}
