"""Fixtures that all tests share: the characters on disk (Omniglot, else glyphs; nothing is downloaded), and a generator."""

import pytest
import torch

from maml_core.tasks import Characters, load_characters


@pytest.fixture(scope="session")
def characters() -> Characters:
    return load_characters("auto", download=False)


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
