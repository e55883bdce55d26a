"""How the live panels are used: fingers, other buttons, keys, changing windows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page

from maml_core.live import LivePlane, LiveSinusoid
from tests.browser.plain import Open, centre, write_page

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
