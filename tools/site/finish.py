"""The last steps to HTML, as an extension of Sphinx: formulas as MathML; pictures that load late and keep their place.

Nothing moves for readers whose system asks for that.
"""

import re
from pathlib import Path
from typing import Any

import imagesize
from bs4 import BeautifulSoup, Tag
from docutils.nodes import SkipNode, math, math_block
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def mathml(tex: str, block: bool) -> str:
    """A formula as MathML."""
    tex = tex.replace(r"\operatorname*{", r"\operatorname{")  # docutils would print the star
    return re.sub(
        "<mo[^>]*>‖</mo>", '<mo stretchy="false">‖</mo>', tex2mathml(tex, as_block=block)
    )  # norms as high as their text


def formula(translator: HTML5Translator, node: math) -> None:
    """A formula within a line."""
    translator.body.append(mathml(node.astext(), block=False))
    raise SkipNode


def display(translator: HTML5Translator, node: math_block) -> None:
    """A formula on a line of its own."""
    translator.body.append(f'<div class="math">{mathml(node.astext(), block=True)}</div>')
    raise SkipNode


def level_captions(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Say at which level the navigation's captions are headings: Sphinx leaves it out, and screen readers need it."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def place_pictures(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Give each picture of a page its width and height, so that nothing jumps; all but the first load when scrolled to."""
    if "body" not in context:
        return
    files = {to: app.srcdir / path for path, to in app.builder.images.items()}
    page = BeautifulSoup(context["body"], "html.parser")
    for number, picture in enumerate(page.find_all("img")):
        file = files.get(str(picture["src"]).rpartition("/")[2])
        if file:
            picture["width"], picture["height"] = imagesize.get(file)
            del picture["style"]
        picture["decoding"] = "async"
        if number:
            picture["loading"] = "lazy"
        if file and file.suffix == ".gif":
            offer_still(app, page, picture, file.with_suffix(".png"))
    context["body"] = str(page)


def offer_still(app: Sphinx, page: BeautifulSoup, picture: Tag, still: Path) -> None:
    """Have a reader who wants no motion see the still picture in place of the animated one."""
    app.builder.images[still.relative_to(app.srcdir).as_posix()] = still.name  # Sphinx copies it with the others
    address = f"{str(picture['src']).rpartition('/')[0]}/{still.name}"
    source = page.new_tag("source", media="(prefers-reduced-motion: reduce)", srcset=address)
    picture.wrap(page.new_tag("picture")).insert(0, source)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (formula, None), (display, None))
    app.connect("html-page-context", place_pictures)
    app.connect("html-page-context", level_captions, priority=900)  # after Furo, which makes the navigation
    return {"parallel_read_safe": True, "parallel_write_safe": False}  # a page may add a picture to the builder's
