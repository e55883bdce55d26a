"""The pen and the panel to draw on: pictures as Omniglot's, strokes as drawn, probabilities as a loop has them."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from ipycanvas.canvas import COMMANDS
from PIL import Image

from maml_core import reference
from maml_core.panels import DrawingPanel
from maml_core.panels.drawing import canvas
from maml_core.panels.drawing.canvas import FIELD, GAP, DrawingCanvas
from maml_core.panels.drawing.panel import YOURS
from maml_core.panels.drawing.strokes import PEN, draw_strokes, load_example
from maml_core.recipes import find_recipe
from maml_core.results import load_shipped
from maml_core.tasks import omniglot
from maml_core.tasks.disk.omniglot_tree import PAPER


@pytest.fixture
def panel() -> DrawingPanel:
    theta, record = load_shipped("omniglot-5way-1shot")
    return DrawingPanel(record.recipe.build_learner(), theta)


def test_a_stroke_becomes_what_omniglots_reader_makes_of_the_same_picture(tmp_path):
    """A bar of the pen's width, painted as an array, saved as a 1-bit file and read as the data set is."""
    bar = np.full((PAPER, PAPER), 255, np.uint8)
    bar[50 : 50 + PEN, 20:81] = 0
    Image.fromarray(bar).convert("1").save(tmp_path / "bar.png")
    expected = omniglot._read_image(tmp_path / "bar.png", "")
    found = draw_strokes([[(20, 52), (80, 52)]]).numpy()
    assert found.shape == (28, 28) and found.dtype == np.uint8
    inside = slice(10, 18)  # the pen's ends are round, the bar's are not
    assert np.abs(found[:, inside].astype(int) - expected[:, inside]).max() <= 1
    assert found[13, 14] > 150 and found[0].max() == 0  # ink is bright, paper is black


def test_a_touch_without_a_move_is_a_dot_and_nothing_is_blank():
    dot = draw_strokes([[(52.5, 52.5)]])
    assert dot[13:15, 13:15].min() > 60 and (dot > 0).sum() < 30
    assert draw_strokes([]).max() == 0
    assert draw_strokes([[]]).max() == 0


def test_strokes_are_as_thick_as_omniglots(characters):
    """Grey values of ink tell how much of a pixel the pen covers; ours must not be a hairline beside theirs."""
    if characters.source != "omniglot":
        pytest.skip("needs Omniglot")

    def darkest(pictures: torch.Tensor) -> float:  # the mean over pictures of the tenth brightest pixel
        return pictures.flatten(1).float().topk(10).values[:, -1].mean().item()

    example = load_example()
    ours = torch.stack([draw_strokes(strokes) for strokes in example["support"] + example["query"]])
    assert darkest(ours) == pytest.approx(darkest(characters.images[::50, 0]), rel=0.1)


def test_recorded_queries_are_named_right(panel):
    for query in range(5):
        panel.recorded.value = query
        probabilities = panel.probabilities()
        assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
        assert probabilities.argmax() == query
        assert f"taken for {query}" in panel._title.get_text()


def test_probabilities_are_the_references(panel):
    """The loop of Algorithm 1 on the five pictures, then the query with the support set beside it."""
    panel.recorded.value, panel.steps.value = 2, 2
    theta, record = load_shipped("omniglot-5way-1shot")
    assert record.recipe.inner_loss == "mean"
    theta = {name: w.clone().requires_grad_() for name, w in theta.items()}
    example = load_example()
    strokes = [*example["support"], example["query"][2]]
    pictures = torch.stack([draw_strokes(one) for one in strokes])[:, None].float() / 255
    loss = reference.mean_cross_entropy(reference.conv_forward)
    frozen = frozenset(f"beta{i}" for i in range(1, 5))
    phi = reference.adapt(loss, theta, pictures[:5], torch.arange(5), panel._learner.alpha, 2, frozen)
    expected = reference.conv_forward(phi, pictures)[5].softmax(-1)
    torch.testing.assert_close(panel.probabilities(), expected.detach(), rtol=1e-3, atol=1e-5)


def draw(panel: DrawingPanel, field: int, strokes: list) -> None:
    """As a mouse does it, in pixels of the canvas."""
    for stroke in strokes:
        places = [(field * (FIELD + GAP) + x * FIELD / PAPER, y * FIELD / PAPER) for x, y in stroke]
        panel.canvas.pen_down(*places[0])
        for place in places[1:]:
            panel.canvas.pen_move(*place)
        panel.canvas.pen_up(*places[-1])


def test_drawing_the_recorded_alphabet_by_hand_says_the_same(panel):
    panel.recorded.value = 3
    expected, picture = panel.probabilities(), panel.image.value
    example = load_example()
    panel.clear_all.click()
    assert panel.recorded.value == YOURS and panel.probabilities() is None
    assert "field 0 (5 to go)" in panel.text.value
    for field in range(5):
        draw(panel, field, example["support"][field])
    assert "in the last field" in panel.text.value and panel.probabilities() is None
    draw(panel, 5, example["query"][3])
    torch.testing.assert_close(panel.probabilities(), expected, rtol=1e-3, atol=1e-4)
    assert panel.image.value == picture


def test_clearing_the_query_keeps_the_alphabet(panel):
    before = panel.canvas.strokes[:-1]
    panel.clear_query.click()
    assert panel.canvas.strokes[:-1] == before and panel.canvas.strokes[-1] == []
    assert "in the last field" in panel.text.value
    panel.recorded.value = 0
    assert panel.canvas.strokes[-1] == load_example()["query"][0]


def test_the_pen_stays_in_its_field(panel):
    panel.clear_all.click()
    panel.canvas.pen_move(10, 10)  # it is up
    panel.canvas.pen_up(10, 10)
    panel.canvas.pen_down(FIELD + GAP / 2, 10)  # between two fields
    panel.canvas.pen_move(10, 10)
    panel.canvas.pen_down(10, FIELD + 5)  # below
    panel.canvas.pen_down(-3, 10)
    panel.canvas.pen_up(10, 10)
    assert panel.canvas.strokes == [[]] * 6
    panel.canvas.pen_down(10, 10)
    panel.canvas.pen_move(FIELD + 50, -20)  # leaves its field
    panel.canvas.pen_up()
    assert panel.canvas.strokes[1] == []
    assert panel.canvas.strokes[0] == [[(round(10 * PAPER / FIELD, 1),) * 2, (PAPER, 0)]]


def test_a_finger_draws_as_the_mouse_does(panel):
    panel.clear_all.click()
    send = panel.canvas.canvas._handle_frontend_event
    for event, touches in (("touch_start", [(20, 20)]), ("touch_move", [(60, 60), (0, 0)]), ("touch_end", [])):
        send(None, {"event": event, "touches": [{"x": x, "y": y} for x, y in touches]}, None)
    assert panel.canvas.strokes[0] == [[(round(at * PAPER / FIELD, 1),) * 2 for at in (20, 60)]]


def test_a_page_that_was_loaded_anew_is_told_which_canvas_to_paint(monkeypatch):
    fields = DrawingCanvas(["one", "two"], lambda: None)
    sent = []
    manager = fields.canvas._canvas_manager
    monkeypatch.setattr(manager, "_send_custom", lambda commands, buffers=(): sent.append(commands))
    fields.canvas._handle_custom_msg({"event": "client_ready"}, [])
    (batch,) = sent
    assert batch[0] == [COMMANDS["switchCanvas"], [f"IPY_MODEL_{fields.canvas.model_id}"]] and len(batch) > 10


def test_without_ipycanvas_the_recorded_example_stays(monkeypatch):
    monkeypatch.setattr(canvas, "Canvas", None)
    theta, record = load_shipped("omniglot-5way-1shot")
    panel = DrawingPanel(record.recipe.build_learner(), theta)
    assert any(
        "pip install ipycanvas" in getattr(child, "value", "") for child in panel.children if child is not panel.image
    )
    before = panel.image.value
    panel.recorded.value = 4
    assert panel.image.value != before and panel.probabilities().argmax() == 4


def test_colab_is_told_once_to_load_the_canvas(monkeypatch):
    told = []
    colab = ModuleType("google.colab")
    colab.output = SimpleNamespace(enable_custom_widget_manager=lambda: told.append(True))
    DrawingCanvas(["elsewhere"], lambda: None)
    assert not told
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    for name in ("first", "second"):
        DrawingCanvas([name], lambda: None)
    assert len(told) == 1


def test_an_alphabet_that_is_too_large_is_refused():
    learner = find_recipe("omniglot-20way-1shot").build_learner()
    with pytest.raises(ValueError, match="has 5 characters, not 20"):
        DrawingPanel(learner, learner.network.init(torch.Generator()))
