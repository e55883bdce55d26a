"""What nbval does not compare: stderr, where progress bars go."""

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Add stderr to what nbval skips anyway; only its notebooks have such a list."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)
