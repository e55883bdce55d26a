"""One JupyterLab server for all browser tests, and where their screenshots go."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser import lab as labs
from tests.browser import plain


@pytest.fixture(scope="session")
def lab(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    folder = tmp_path_factory.mktemp("review")
    labs.copy_review(folder)
    server = labs.Lab(folder, folder / "server.log")
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where the pictures go: SCREENSHOTS, or a folder that git ignores. CI keeps them."""
    folder = Path(os.environ.get("SCREENSHOTS", labs.ROOT / "runs" / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_folder(chromium: Browser) -> Iterator[plain.Open]:
    """Opens the root of a plain file server for a folder."""
    with plain.folders(chromium) as open_it:
        yield open_it
