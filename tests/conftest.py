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


def pytest_report_header() -> str:
    source = load_characters("auto", download=False).source
    return f"characters: {source}" + ("" if source == "omniglot" else " (no Omniglot on disk, so its tests are skipped)")
