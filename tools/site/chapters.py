"""A chapter as Markdown: its text, its code, and the outputs that were saved with it. Nothing is executed."""

import base64
import re
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from maml_core import figures, live, panels

from .live import PANEL, Fragments, fragment
from .pages import ROOT, colab, relink

LABELS = r"""(?:set_{0}\(|\b{0}=)r?"([^"]+)\""""


def captions() -> dict[str, str]:
    """{name of a shipped figure: its alt text}, from README and docs."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    return {name: alt for alt, name in re.findall(r"!\[([^\]]*)\]\([./]*figures/(\w+)\.\w+\)", text)}


def describe(code: str, heading: str, known: dict[str, str]) -> str:
    """A picture's alt text: that of a shipped figure, else titles and axes, else what draws it, else where it is."""
    for name in re.findall(r"\b(?:reported\.|pictures\.|shipped_picture\(\")(\w+)", code):
        if name in known:
            return known[name]
    titles, x, y = (re.findall(LABELS.format(kind), code) for kind in ("title", "xlabel", "ylabel"))
    axes = [f"{y[0]} against {x[0]}"] if x and y else []
    drawn = [getdoc(getattr(figures, name)) or "" for name in re.findall(r"\bfigures\.(draw_\w+)", code)]
    said = "; ".join([*titles, *axes] or [text.partition("\n")[0] for text in drawn[:1]]) or f"plotted in “{heading}”"
    return "Figure: " + re.sub(r" \[[^\]]*\]|[$\\`]", "", said).rstrip(".")  # without shapes and mathematics' signs


def fenced(text: str, kind: str) -> str:
    """A fenced block, whatever fences the text itself contains."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text + "`")))
    return f"{fence}{kind}\n{text.rstrip()}\n{fence}"


class Chapter:
    """Converts one notebook; its pictures are written beside its page.

    file: "notebooks/NAME.ipynb"; folder: of the site's sources; pages: as from `find_pages`.
    """

    def __init__(self, file: str, folder: Path, pages: dict[str, str], fragments: Fragments) -> None:
        self.file, self.folder, self.pages, self.fragments = file, folder, pages, fragments
        self._pictures, self._heading, self._known = 0, "", captions()

    def markdown(self) -> str:
        """The whole chapter."""
        notebook = nbformat.read(ROOT / self.file, as_version=4)
        title, *rest = (part for cell in notebook.cells for part in self._parts(cell))
        head, _, text = title.partition("\n")
        return "\n\n".join([head, self._how_to_run(), text, *rest]) + "\n"

    def _how_to_run(self) -> str:
        return f"*To run this chapter, [open it in Colab]({colab(self.file)}), or in JupyterLab with* `make lab`."

    def _parts(self, cell: NotebookNode) -> Iterator[str]:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE):
                self._heading = heading
            yield relink(cell.source, self.file, self.pages)
        elif cell.cell_type == "code":
            yield fenced(relink(cell.source, self.file, self.pages), "python")
            works = fragment(cell, self.fragments)
            if works is not None:
                yield fenced(works, "{raw} html")
            for output in cell.outputs:
                yield self._output(output, cell.source, keep_panel=works is None)

    def _output(self, output: NotebookNode, code: str, keep_panel: bool) -> str:
        if output.output_type == "stream":
            return fenced(f":class: output\n\n{output.text}", "{code-block} text")
        data = output.data
        if "image/png" in data:
            panel = PANEL.match(data["text/plain"])
            if not panel:
                return f"![{describe(code, self._heading, self._known)}]({self._picture(data)})"
            return self._panel(panel[1], self._picture(data)) if keep_panel else ""
        if "text/markdown" in data:
            return relink(data["text/markdown"], self.file, self.pages)
        if "text/html" in data:
            return fenced(data["text/html"], "{raw} html")
        return fenced(f":class: output\n\n{data['text/plain']}", "{code-block} text")

    def _panel(self, name: str, picture: str) -> str:
        what = (getdoc(getattr(live if name.startswith("Live") else panels, name)) or name).splitlines()[0].rstrip(".")
        picture = f"![The panel as it opens: {what}]({picture})"
        hint = f"This is a picture of a panel. To use it, [open the page in Colab]({colab(self.file)}) or run `make lab`."
        return fenced(f"{picture}\n\n{hint}", "{container} panel")

    def _picture(self, data: NotebookNode) -> str:
        self._pictures += 1
        name = f"{Path(self.file).stem}-{self._pictures}.png"
        (self.folder / self.pages[self.file]).with_name(name).write_bytes(base64.b64decode(data["image/png"]))
        return name
