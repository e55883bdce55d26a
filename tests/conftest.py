"""Fixtures that all tests share: characters on disk (Omniglot, else glyphs; nothing is downloaded), generator, browser."""

from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser

from maml_core.tasks import Characters, load_characters
from tests.browser import lab as labs


@pytest.fixture(scope="session")
def characters() -> Characters:
    return load_characters("auto", download=False)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of a process: Playwright allows no second one while the first runs."""
    if labs.find_chromium() is None:
        pytest.skip("no Chromium: install it (Debian: apt install chromium) or name one in CHROMIUM=/path/to/it")
    with labs.browser() as browser:
        yield browser


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture(autouse=True)
def with_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """notebooks/conftest.py turns them off for its kernels, in the whole process if it runs both."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def pytest_report_header() -> str:
    source = load_characters("auto", download=False).source
    return f"characters: {source}" + ("" if source == "omniglot" else " (no Omniglot on disk, so its tests are skipped)")
