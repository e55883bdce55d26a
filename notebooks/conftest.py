"""How the notebooks run under nbval: without the network, and without comparing stderr, where progress bars go."""

import os

import pytest

os.environ["MAML_DOWNLOAD"] = "0"  # the kernels inherit it


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Add stderr to what nbval skips anyway; only its notebooks have such a list."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
