"""Every panel of the registry, on test characters; the one that computes a lot beforehand computes less."""

import pytest
import torch

from maml_core.panels import AlphaPanel, Panel
from maml_core.panels.registry import PANELS


@pytest.fixture(scope="module")
def images(characters) -> torch.Tensor:
    return characters.split("test").images


@pytest.fixture(params=PANELS)
def panel(request, images, monkeypatch) -> Panel:
    if request.param == "alpha":
        monkeypatch.setattr(AlphaPanel, "TASKS", 20)
        monkeypatch.setattr(AlphaPanel, "POINTS", 13)
    return PANELS[request.param](images)
