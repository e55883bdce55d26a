"""One progress bar for all slow loops."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable | None, label: str, total: int | None = None, show: bool = True, initial: int = 0) -> tqdm:
    """`items` with a bar on stderr; without stderr, or with `show=False`, the same items without a bar.

    The result can be iterated, or advanced from `initial` by `update(n)` if `items` is None.
    """
    hidden = not show or sys.stderr is None  # closed: 2>&-, or pythonw
    # Plain tqdm, not tqdm.auto: a widget bar would be a widget output in every committed notebook.
    return tqdm(items, desc=label, total=total, initial=initial, disable=hidden, file=sys.stderr, mininterval=0.5)
