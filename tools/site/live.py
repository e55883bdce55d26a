"""Panels that work without a kernel: an HTML fragment of theirs takes the place of their picture in the chapters."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from nbformat import NotebookNode

from maml_core import live

PANEL = re.compile(r"(\w+Panel|Live\w+): run this cell")  # how a panel's saved output begins

# {class of a panel, or tag of a cell: builds a self-contained HTML fragment}
Fragments = Mapping[str, Callable[[], str]]


def _fragment_of(panel: type[live.Live]) -> str:
    return live.fragment(panel())


FRAGMENTS: Fragments = {panel.__name__: partial(_fragment_of, panel) for panel in live.LIVE.values()}


def fragment(cell: NotebookNode, fragments: Fragments) -> str | None:
    """The fragment of the panel that a cell's output shows, or whose name is one of its tags; None if there is none."""
    shown = [PANEL.match(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
    names = {match[1] for match in shown if match} | set(cell.metadata.get("tags", []))
    return next((build() for name, build in fragments.items() if name in names), None)
