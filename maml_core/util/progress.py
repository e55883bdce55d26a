"""One progress bar for slow loops."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable | None, label: str, total: int | None = None, show: bool = True, initial: int = 0) -> tqdm:
    """Iterate over `items` with a progress bar on stderr; without stderr, or with `show=False`, without a bar.

    If `items` is None, advance the bar from `initial` with `update(n)`.
    """
    hidden = not show or sys.stderr is None  # closed: 2>&-, or pythonw
    # Plain tqdm, not tqdm.auto, which would put a widget into every committed notebook.
    return tqdm(items, desc=label, total=total, initial=initial, disable=hidden, file=sys.stderr, mininterval=0.5)
