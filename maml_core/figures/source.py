"""Source code as a notebook's output: coloured in JupyterLab, on GitHub and in exported pages alike."""

import inspect
from collections.abc import Callable
from textwrap import dedent


class Source:
    """The source of functions, one below the other; the last line of a cell shows it."""

    def __init__(self, *functions: Callable) -> None:
        self.text = "\n\n".join(dedent(inspect.getsource(function)) for function in functions).rstrip()

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, str]:
        return {"text/markdown": f"```python\n{self.text}\n```", "text/plain": self.text}
