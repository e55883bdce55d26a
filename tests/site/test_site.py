"""The site as readers get it: built once, its links followed, every page opened in a browser that reaches no other host."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import lab as labs
from tests.site.page_content import Html

pytest.importorskip("sphinx", reason="make site installs Sphinx")
from tools.site.__main__ import build  # noqa: E402
from tools.site.finish import mathml  # noqa: E402
from tools.site.live import FRAGMENTS  # noqa: E402

LARGEST = 3_000_000  # bytes of a page with all that it loads
STUB = '<p id="stub">no script</p>\n\n<script>document.getElementById("stub").textContent = "works";</script>'
WIDTHS = (400, 800, 1400, 1920)
WIDE = "[...document.querySelectorAll('pre, .table-wrapper, .math')].filter(box => box.scrollWidth > box.clientWidth)"
# Highlighted code and formulas have thousands of elements, over which axe takes seconds
PLAIN = "document.querySelectorAll('pre, math').forEach(box => box.textContent = box.textContent)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, with one more panel that works; it is served below a path, as on GitHub Pages."""
    folder = tmp_path_factory.mktemp("server") / "review"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GITHUB_REPOSITORY", "GITHUB_REF_NAME"):
            patch.delenv(name, raising=False)
        build(folder, {**FRAGMENTS, "SinusoidPanel": lambda: STUB})
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Html]:
    """{path below the site: its content}."""
    return {path.relative_to(site).as_posix(): Html(path.read_text()) for path in sorted(site.rglob("*.html"))}


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where a plain file server has the site."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=site.parent))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/review/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(address: str, chromium: Browser) -> Iterator[Page]:
    """A page of a browser that reaches the server only; `page.problems` collects what goes wrong."""
    page = chromium.new_page()
    page.problems = problems = []
    origin = address.removesuffix("review/")

    def only_here(route, request) -> None:
        if request.url.startswith(origin):
            route.continue_()
        else:
            problems.append(f"asks for {request.url}")
            route.abort()

    page.route("**/*", only_here)
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda answer: answer.status >= 400 and problems.append(f"{answer.status} {answer.url}"))
    yield page
    page.close()


def test_every_chapter_and_document_is_a_page(pages: dict[str, Html]) -> None:
    chapters = {f"notebooks/{path.stem}.html" for path in labs.NOTEBOOKS}
    docs = {f"docs/{path.stem}.html" for path in (labs.ROOT / "docs").glob("*.md")}
    assert {"index.html", "CONTRIBUTING.html", "api/index.html", "api/maml.html"} | chapters | docs <= pages.keys()
    for name in chapters | docs:  # the front page's navigation, and the text of the README
        assert pages["index.html"].links.count(name) >= 2, name


def test_every_link_and_anchor_resolves(pages: dict[str, Html], site: Path) -> None:
    broken = []
    for name, page in pages.items():
        for link in page.links + page.loads:
            target, anchor = urldefrag(urljoin(name, link))
            if urlsplit(target).scheme:
                continue
            path = unquote(urlsplit(target).path)
            if not (site / path).is_file() or anchor and anchor not in pages[path].ids:
                broken.append(f"{name}: {link}")
    assert not broken


def test_links_to_sources_lead_to_files_of_the_repository(pages: dict[str, Html]) -> None:
    here = [link for page in pages.values() for link in page.links if "/blob/main/" in link or "/tree/main/" in link]
    paths = {urlsplit(link).path.split("/main/", 1)[1] for link in here}
    assert {"LICENSE", "maml_core/maml.py", "tests/modules", "notebooks/03_omniglot.ipynb"} <= paths
    assert not [path for path in paths if not (labs.ROOT / path).exists()]


def test_pages_load_nothing_from_elsewhere_and_little_from_here(pages: dict[str, Html], site: Path) -> None:
    for name, page in pages.items():
        loads = [load for load in page.loads if not load.startswith("data:image/png")]  # within the page
        assert not [load for load in loads if urlsplit(load).scheme or load.startswith("//")], name
        files = {site / name, *(site / urlsplit(urljoin(name, load)).path for load in loads)}
        assert sum(file.stat().st_size for file in files) < LARGEST, name


def test_pictures_are_described_and_keep_their_place(pages: dict[str, Html]) -> None:
    for name, page in pages.items():
        for number, picture in enumerate(page.pictures):
            assert len(picture["alt"] or "") > 10 and int(picture["width"]) > 100 < int(picture["height"]), (name, picture)
            assert picture.get("loading") == ("lazy" if number else None)
    alts = [picture["alt"] for picture in pages["notebooks/02_hessian_vector_product.html"].pictures]
    assert "Figure: Two slopes and a cliff" in alts
    assert any(alt.startswith("The panel as it opens: theta among the optima of two tasks") for alt in alts)


def test_headings_are_in_order(pages: dict[str, Html]) -> None:
    for name, page in pages.items():
        if name != "search.html":
            assert page.headings[0] == 1 and page.headings.count(1) == 1, name
            assert all(below - above <= 1 for above, below in zip(page.headings, page.headings[1:])), name


def test_formulas_are_mathml(site: Path, pages: dict[str, Html]) -> None:
    for name in pages:
        text = (site / name).read_text()
        assert "\\nabla" not in text and "merror" not in text, name
    assert (site / "notebooks/02_hessian_vector_product.html").read_text().count("<math") > 40


def test_formulas_that_docutils_would_draw_otherwise() -> None:
    assert "*" not in mathml(r"\operatorname*{mean}_t", block=True)
    assert mathml(r"\tfrac{1}{2} \lVert x \rVert^2", block=True).count('<mo stretchy="false">‖</mo>') == 2


def test_every_page_opens_in_peace(page: Page, pages: dict[str, Html], address: str) -> None:
    """At four widths, where what was printed needs no scrolling; axe finds nothing serious.

    Colours take it seconds a page and are for the next test.
    """
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make site installs axe").Axe()
    options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": False}}}
    slowest = 0
    for name in pages:
        page.set_viewport_size({"width": 1400, "height": 900})
        page.goto(address + name)
        slowest = max(slowest, page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive"))
        page.evaluate(PLAIN)
        found = axe.run(page, options=options).response["violations"]
        page.problems += [(name, v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth") > width:
                page.problems.append(f"{name} is wider than {width} px")
            if page.evaluate(f"{WIDE}.filter(box => box.matches('div.output pre')).length"):
                page.problems.append(f"{name} cuts printed results off at {width} px")
    print(f"the slowest page was interactive after {slowest:.0f} ms")
    assert not page.problems and slowest < 10_000  # 0.2 s where nothing else runs


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(page: Page, address: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make site installs axe").Axe()
    page.emulate_media(color_scheme=scheme)
    for name in ("index.html", "notebooks/00_start_here.html", "docs/speed.html", "api/episodes.html"):  # one of each kind
        page.goto(address + name)
        assert not axe.run(page, options={"runOnly": ["color-contrast"]}).response["violations"]


def test_pictures_load_when_scrolled_to_and_nothing_moves(page: Page, address: str) -> None:
    page.goto(address + "notebooks/01_sinusoid.html")
    height = page.evaluate("document.documentElement.scrollHeight")
    for picture in page.locator("article img").all():
        picture.scroll_into_view_if_needed()
        page.wait_for_function("picture => picture.complete && picture.naturalWidth > 0", arg=picture.element_handle())
    assert page.evaluate("document.documentElement.scrollHeight") == height


@pytest.mark.parametrize("motion, shown", [("no-preference", "panels.gif"), ("reduce", "panels.png")])
def test_nothing_moves_for_readers_who_want_no_motion(page: Page, address: str, motion: str, shown: str) -> None:
    page.emulate_media(reduced_motion=motion)
    page.goto(address + "index.html")
    picture = page.locator("article img").first
    page.wait_for_function("picture => picture.complete && picture.naturalWidth == 800", arg=picture.element_handle())
    assert picture.evaluate("picture => picture.currentSrc") == f"{address}_images/{shown}"
    page.emulate_media(reduced_motion="null")
    assert not page.problems


def test_paper_has_no_skip_link(page: Page, address: str) -> None:
    page.goto(address + "notebooks/01_sinusoid.html")
    link = page.locator(".skip-to-content")
    assert link.evaluate("link => getComputedStyle(link).display") != "none"
    page.emulate_media(media="print")
    assert link.evaluate("link => getComputedStyle(link).display") == "none"
    page.emulate_media(media="null")


def test_a_wide_box_can_be_scrolled_with_the_keyboard(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(address + "docs/results.html")
    page.wait_for_selector("[tabindex='0'][role=group]")
    page.locator("article details summary").click()
    page.wait_for_function(f"{WIDE}.length > 6 && {WIDE}.every(box => box.tabIndex === 0)")
    page.set_viewport_size({"width": 1400, "height": 900})
    page.wait_for_function("document.querySelectorAll('.table-wrapper[tabindex]').length < 8")


def test_a_panel_that_works_takes_the_place_of_its_picture(page: Page, address: str) -> None:
    page.goto(address + "notebooks/01_sinusoid.html")
    assert page.locator("#stub").all_inner_texts() == ["works"] and page.locator("div.panel").count() == 0
    assert page.locator(".maml-live-page").count() == page.locator(".maml-live").count() == 1
    page.goto(address + "notebooks/02_hessian_vector_product.html")
    assert page.locator("#stub").count() == 0 and page.locator("div.panel img").count() == 3


def test_search_finds_a_chapter(page: Page, address: str) -> None:
    page.goto(address + "search.html?q=transduction")
    page.wait_for_selector("#search-results a[href*='03_omniglot']")
    assert not page.problems


def test_an_earlier_site_is_replaced_and_nothing_else(site: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="holds something other than a site, so name a new folder"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"] and (site / ".buildinfo").exists()
