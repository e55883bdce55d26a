"""How the live panels are used: fingers, other buttons, keys, narrow and changing windows, paper, contrast themes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from maml_core.live import LivePlane, LiveSinusoid
from maml_core.live.base import FOLDER
from tests.browser.plain import Open, centre, changes, write_page

Panels = Callable[..., tuple[Page, Locator, Locator]]
WAVE, PLANE = 0, 1


@pytest.fixture
def panels(open_folder: Open, tmp_path: Path) -> Panels:
    """Opens a page with both panels; returns it, the wave's and the plane's."""

    def open_them(**options) -> tuple[Page, Locator, Locator]:
        write_page(tmp_path, [LiveSinusoid(), LivePlane()])
        page = open_folder(tmp_path, **options)
        roots = page.locator(".maml-live")
        roots.nth(PLANE).locator(".handle").nth(3).wait_for()
        roots.nth(WAVE).locator(".handle").nth(19).wait_for()
        return page, roots.nth(WAVE), roots.nth(PLANE)

    return open_them


def style(node: Locator, name: str) -> str:
    """A property of an element's computed style."""
    return node.evaluate("(e, name) => getComputedStyle(e).getPropertyValue(name)", name)


def type_in(panel: Locator, name: str, value: str) -> None:
    """A number, into the field of a slider."""
    field = panel.get_by_label(f"{name}, as a number")
    field.fill(value)
    field.press("Enter")


def test_a_finger_drags_a_point_and_the_page_stays(panels: Panels, screenshots: Path) -> None:
    page, *both = panels(viewport={"width": 400, "height": 700}, has_touch=True, is_mobile=True)
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
        page.wait_for_timeout(20)

    for panel in both:
        point = panel.locator(".handle").nth(3)
        point.evaluate("e => e.scrollIntoView({ block: 'center' })")
        page.wait_for_timeout(100)
        scrolled, (x, y) = page.evaluate("scrollY"), centre(point)
        assert 0 < scrolled < page.evaluate("document.documentElement.scrollHeight - innerHeight")  # both ways are open
        touch("touchStart", (x, y))
        for i in range(1, 8):
            touch("touchMove", (x - 5 * i, y - 8 * i))
        page.wait_for_timeout(100)
        assert centre(point) == pytest.approx((x - 35, y - 56), abs=1.5)
        touch("touchStart", (x - 35, y - 56), (x - 30, y - 51))  # a second finger changes nothing
        touch("touchMove", (x - 35, y - 56), (x + 30, y + 20))
        touch("touchEnd", (x - 35, y - 56))
        page.wait_for_timeout(100)
        assert centre(point) == pytest.approx((x - 35, y - 56), abs=1.5)
        touch("touchEnd")
        assert page.evaluate("scrollY") == scrolled
    page.screenshot(path=screenshots / "live-touch.png")


def test_only_the_first_button_drags(panels: Panels) -> None:
    page, _, plane = panels()
    point = plane.locator(".handle").nth(3)
    point.scroll_into_view_if_needed()
    place = x, y = centre(point)
    for button in ("right", "middle", "left"):
        page.mouse.move(x, y)
        page.mouse.down(button=button)
        page.mouse.move(x - 40, y - 30, steps=3)
        page.mouse.up(button=button)
        page.wait_for_timeout(100)
        moved = button == "left"
        assert centre(point) == pytest.approx((x - 40, y - 30) if moved else place, abs=1.5)


def test_keys_that_move_nothing_are_left_to_the_browser(panels: Panels) -> None:
    page, wave, plane = panels()
    page.evaluate(
        "() => { window.kept = []; document.querySelectorAll('.maml-live').forEach((panel) =>"
        " panel.addEventListener('keydown', (event) => kept.push(event.defaultPrevented))) }"
    )

    def prevented(panel: Locator, key: str) -> bool:
        page.evaluate("kept.length = 0")
        panel.locator(".handle").nth(3).press(key)
        return page.evaluate("kept.at(-1)")  # the first may be Shift

    places = [panel.locator(".handle").nth(3).get_attribute("transform") for panel in (wave, plane)]
    for key in ("Alt+ArrowUp", "Control+ArrowUp", "Meta+ArrowUp", "a"):
        assert not prevented(wave, key) and not prevented(plane, key)
    assert not prevented(plane, "Home") and prevented(wave, "Home")  # theta has no home; the point is there already
    page.wait_for_timeout(100)
    assert [panel.locator(".handle").nth(3).get_attribute("transform") for panel in (wave, plane)] == places
    assert prevented(plane, "Shift+ArrowUp")


def test_a_point_keeps_the_focus_when_the_window_changes(panels: Panels) -> None:
    page, wave, plane = panels(viewport={"width": 1000, "height": 800})
    focused = "() => { const e = document.activeElement; return [e.ariaLabel, e.ownerSVGElement?.ariaLabel] }"
    type_in(wave, "K", "3")  # so that points are left out between the two plots
    page.wait_for_timeout(100)
    for panel, place in ((plane, 2), (wave, 5)):  # theta; the third point of the second plot
        panel.locator(".handle:visible").nth(place).focus()
        name, plot = page.evaluate(focused)
        assert name == ("theta" if panel is plane else "support point 3")
        for width in (700, 900):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function("width => innerWidth == width", arg=width)
            page.wait_for_timeout(150)
            assert page.evaluate(focused) == [name, plot]


def test_the_table_is_whole_at_every_width(panels: Panels, screenshots: Path) -> None:
    page, _, plane = panels(viewport={"width": 800, "height": 900})
    for width in (320, 360, 640, 680, 720, 760, 780, 800, 1000):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(150)
        table, side, root = (plane.locator(of).bounding_box() for of in ("table", ".side", ".body"))
        assert table["x"] + table["width"] <= min(side["x"] + side["width"], root["x"] + root["width"]) + 1, width
        if width in (320, 720):
            plane.screenshot(path=screenshots / f"live-plane-{width}.png")


def test_points_stay_in_the_plot_when_the_wave_moves(panels: Panels) -> None:
    _, wave, _ = panels()
    svg, point = wave.locator("svg").first, wave.locator(".handle").nth(3)
    for _ in range(14):
        point.press("Shift+ArrowUp")
    for phase in ("0", "1", "2", "3"):
        type_in(wave, "phase", phase)
        wave.page.wait_for_timeout(100)
        frame, (_, y) = svg.bounding_box(), centre(point)
        assert frame["y"] + 7 <= y <= frame["y"] + frame["height"] - 36, phase


def test_reset_brings_back_the_first_state_in_every_view(open_folder: Open) -> None:
    """A second view of one model, as JupyterLab makes it, is younger than some changes."""
    page = open_folder(FOLDER)
    for name, panel in (("sinusoid", LiveSinusoid(alpha=0.02)), ("plane", LivePlane(alpha=0.02))):
        state = panel.state()
        found = page.evaluate(
            """async ([name, state]) => {
              const { default: panel } = await import(`/${name}.js`);
              const { plainModel } = await import("/page.js");
              const model = plainModel({ ...state });
              const view = () => { const el = document.createElement("div"); document.body.append(el); return el };
              const views = [view(), view()];
              panel.render({ model, el: views[0] });
              model.set("alpha", 0.05);
              panel.render({ model, el: views[1] });
              return views.map((el) => {
                model.set("alpha", 0.07);
                model.set("steps", 3);
                [...el.querySelectorAll("button")].find((one) => one.textContent === "reset").click();
                return Object.fromEntries(Object.keys(state).map((key) => [key, model.get(key)]));
              });
            }""",
            [name, state],
        )
        assert found == [state, state] and state["alpha"] == 0.02


def test_fields_and_the_spoken_summary_say_what_they_mean(panels: Panels) -> None:
    page, wave, _ = panels()
    field = wave.get_by_label("alpha, as a number")
    assert field.get_attribute("title") == "0.001 to 0.1, in steps of 0.001"
    status = wave.get_by_role("status")
    page.wait_for_function("e => e.textContent", arg=status.element_handle())
    assert "after 1 step: " in changes(page, status, lambda: type_in(wave, "alpha", "0.02"))
    assert "after 2 steps: " in changes(page, status, lambda: type_in(wave, "steps", "2"))


@pytest.mark.parametrize("button", [False, True])
def test_paper_is_white_and_shows_the_key(panels: Panels, screenshots: Path, button: bool) -> None:
    """In the dark theme, of the system or of the site's button."""
    page, wave, plane = panels(viewport={"width": 1200, "height": 900}, color_scheme="dark")
    if button:
        page.evaluate("() => { document.body.dataset.theme = 'dark' }")
    looks = [style(plane, "color"), style(plane.locator(".curve.path").first, "stroke")]
    assert style(plane.locator(".plane"), "flex-direction") == "row"
    page.emulate_media(media="print")
    assert style(plane, "color") == "rgb(26, 26, 26)" and style(plane, "color-scheme") == "light"
    assert style(plane.locator(".curve.path").first, "stroke") not in looks
    assert style(plane.locator(".plane"), "flex-direction") == "column"
    for part in (plane.locator(".bar").first, plane.locator(".swatch").first, wave.locator(".swatch").first):
        assert style(part, "print-color-adjust") == "exact"
    page.screenshot(path=screenshots / "live-print.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_themes_show_the_bars_and_the_key(panels: Panels, screenshots: Path, scheme: str) -> None:
    """In their own colours: the bars are told apart by nothing else, and the arrows in the plot have them, too."""
    page, wave, plane = panels(viewport={"width": 900, "height": 900}, forced_colors="active", color_scheme=scheme)
    bars = [style(bar, "background-color") for bar in plane.locator(".bar").all()]
    assert bars == [style(arrow, "stroke") for arrow in plane.locator(".arrow").all()] and len(set(bars)) == 3
    stars = {
        style(plane.locator(of).first, name) for of, name in ((".swatch.star", "background-color"), (".optimum", "fill"))
    }
    assert len(stars) == 1
    lines = [style(line, "border-top-color") for line in wave.locator(".swatch:not(.triangle)").all()]
    assert len(set(lines)) == 4
    page.screenshot(path=screenshots / f"live-contrast-{scheme}.png", full_page=True)
