"""One progress bar for slow loops."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm


def progress(items: Iterable | None, label: str, total: int | None = None, show: bool = True, initial: int = 0) -> Any:
    """Iterate over `items` with tqdm's progress bar: a widget in a notebook, elsewhere a line of text on stderr.

    If `items` is None, advance the bar from `initial` with `update(n)`. There is no bar without stderr, with `show=False`,
    or where the environment sets TQDM_DISABLE=1, as it does when notebooks are executed to be saved or compared.
    """
    hidden = not show or sys.stderr is None  # closed: 2>&-, or pythonw
    hidden |= os.environ.get("TQDM_DISABLE", "0") not in ("", "0")  # tqdm's widget does not look there itself
    return tqdm(items, desc=label, total=total, initial=initial, disable=hidden, file=sys.stderr, mininterval=0.5)
