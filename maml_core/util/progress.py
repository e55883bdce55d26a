"""One progress bar for all slow loops."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any


def progress(
    items: Iterable | None, label: str, total: int | None = None, show: bool = True, initial: int = 0
) -> Any:
    """`items` with a tqdm bar on stderr; without tqdm or stderr, or with `show=False`, the same items without a bar.

    The result can be iterated, or advanced from `initial` by `update(n)` if `items` is None, and has tqdm's
    `set_postfix_str` and `close`.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        return _Silent(items)
    if sys.stderr is None:  # closed: 2>&-, or pythonw
        return _Silent(items)
    # Plain tqdm, not tqdm.auto: a widget bar would be a widget output in every committed notebook.
    return tqdm(
        items, desc=label, total=total, initial=initial, disable=not show, file=sys.stderr, mininterval=0.5
    )


class _Silent:
    def __init__(self, items: Iterable | None) -> None:
        self.items = items

    def __iter__(self) -> Iterator:
        return iter(self.items or ())

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """tqdm's method, without effect."""

    def update(self, n: int = 1) -> None:
        """tqdm's method, without effect."""

    def close(self) -> None:
        """tqdm's method, without effect."""
