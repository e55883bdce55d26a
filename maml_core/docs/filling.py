"""Fill results into README.md and docs/*.md.

A number in a sentence, or a whole table, goes between two HTML comments, which GitHub hides:

    It reaches <!-- fast-20way-accuracy -->95.0 ± 0.4%<!-- /fast-20way-accuracy --> on new characters.

`CONTENT` maps the markers' names to what goes between them.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from ..results.shipped import SHIPPED
from ..util.atomic_files import write_bytes_atomically
from .content import CONTENT

ROOT = SHIPPED.parents[1]
MARKER = re.compile(r"<!-- (/?)([\w-]+) -->")


def pages(root: Path = ROOT) -> list[Path]:
    """README.md and docs/*.md. Raises FileNotFoundError outside of a checkout."""
    if not (root / "README.md").exists():
        raise FileNotFoundError(f"There is no README.md in {root}: run this in a checkout of the repository.")
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def fill(text: str, page: str, content: dict[str, Callable[[], str]] | None = None) -> tuple[str, list[str]]:
    """A page with everything between its markers filled in, and the names of the markers whose content changed.

    A table is put on separate lines. Raises ValueError, naming marker and page, if a marker is unknown or not closed.
    """
    content = CONTENT if content is None else content
    filled, changed, opened, end = [], [], None, 0
    for mark in MARKER.finditer(text):
        closes, name = bool(mark[1]), mark[2]
        if name not in content:
            raise ValueError(f"{page}: the marker {mark[0]} is unknown: correct it or add it to CONTENT of maml_core.docs.")
        if closes != (opened is not None) or (closes and opened != name):
            wanted = f"<!-- /{opened} -->" if opened else f"<!-- {name} -->"
            raise ValueError(f"{page}: {mark[0]} is out of place: {wanted} has to come first.")
        before = text[end : mark.start()]
        if closes:
            now = content[name]()
            now = f"\n\n{now}\n\n" if "\n" in now else now
            changed += [name] if now != before else []
            filled.append(now)
        else:
            filled.append(before)
        filled.append(mark[0])
        end, opened = mark.end(), None if closes else name
    if opened:
        raise ValueError(f"{page}: <!-- {opened} --> is never closed: add <!-- /{opened} -->.")
    return "".join([*filled, text[end:]]), changed


def main(root: Path = ROOT) -> int:
    """Fill all pages in place and print what changed; returns 2 after one sentence on stderr if a marker is wrong."""
    try:
        done = [(page, *fill(page.read_text(encoding="utf-8"), page.relative_to(root).as_posix())) for page in pages(root)]
        for page, text, changed in done:
            if changed:
                write_bytes_atomically(page, text.encode())
                print(f"{page.relative_to(root).as_posix()}: {', '.join(dict.fromkeys(changed))}")
    except (ValueError, OSError) as error:
        print(f"maml_core.docs: {error}", file=sys.stderr)
        return 2
    if not any(changed for _, _, changed in done):
        print("Every page is up to date.")
    return 0
