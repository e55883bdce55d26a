"""How the notebooks run under nbval: without the network, and compared with what is saved as far as the data allow.

Progress bars are off, as in the saved outputs, and stderr is never compared, since warnings about a machine go there. The
saved outputs are Omniglot's: without it, a cell with the tag `reads-characters` has to run, but nothing is compared.
(tests/test_notebooks.py holds who has the tag.)
"""

import functools
import os

import pytest

from maml_core.tasks import load_characters

os.environ |= {"MAML_DOWNLOAD": "0", "TQDM_DISABLE": "1"}  # the kernels inherit them


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Add stderr to what nbval skips anyway; only its notebooks have such a list."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Compare no outputs of a cell that reads characters where they are not the ones that it was saved with."""
    cell = getattr(item, "cell", None)  # nbval's items have one
    if cell is not None and "reads-characters" in cell.metadata.get("tags", []) and not _omniglot_is_here():
        item.options["check"] = False


@functools.cache
def _omniglot_is_here() -> bool:
    return load_characters("auto", download=False).source == "omniglot"
