"""What notebooks show besides their own figures: source code, which data a run uses, pictures drawn in advance."""

import inspect
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any


class Source:
    """The source of functions, one below the other; put it on the last line of a cell to show it."""

    def __init__(self, *functions: Callable) -> None:
        self.text = "\n\n".join(dedent(inspect.getsource(function)) for function in functions).rstrip()

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, str]:
        return {"text/markdown": f"```python\n{self.text}\n```", "text/plain": self.text}


FOLDER = Path(__file__).resolve().parents[2] / "figures"

BANNER = """<div style="border: 2px solid #D55E00; background: #fff3ec; color: #000; padding: 8px 14px">
<b>These are glyphs, not Omniglot.</b> Omniglot is not on this machine and could not be downloaded, so the cells
below run on made-up characters. None of their numbers can be compared with the paper's. Figures headed
<i>Omniglot</i> were drawn in advance.</div>"""


def data_banner(source: str) -> Any:
    """A box that tells a notebook's reader which data this run uses ("omniglot" or "glyphs")."""
    from IPython.display import HTML

    if source == "glyphs":
        return HTML(BANNER)
    return HTML("<div>This run is on <b>Omniglot</b>, all 1,623 characters.</div>")


def shipped_picture(name: str, source: str) -> Any:
    """On glyphs, the picture that `make figures` drew from Omniglot, figures/NAME.png; on Omniglot, None."""
    from IPython.display import Image

    file = FOLDER / f"{name}.png"
    return Image(filename=str(file)) if source == "glyphs" and file.exists() else None
