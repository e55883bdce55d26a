"""Panels that work without a kernel: an HTML fragment of theirs takes the place of their picture in the chapters."""

import re
from collections.abc import Callable, Mapping

from nbformat import NotebookNode

from maml_core import live

# {class of a panel, or tag of a cell: builds a self-contained HTML fragment}
Fragments = Mapping[str, Callable[[], str]]
FRAGMENTS: Fragments = {panel.__name__: lambda panel=panel: live.fragment(panel()) for panel in live.LIVE.values()}


def fragment(cell: NotebookNode, fragments: Fragments) -> str | None:
    """The fragment of the panel that a cell constructs, or whose name is one of its tags; None if there is none."""
    for name, build in fragments.items():
        if name in cell.metadata.get("tags", []) or re.search(rf"\b{re.escape(name)}\(", cell.source):
            return build()
    return None
