"""What all panels share: a state that can be written down, reset and restored, and one picture for many changes."""

import ast
import inspect
import io
import json
import textwrap
import threading
import time
from html import escape

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from maml_core.panels import DrawingPanel, FamiliesPanel, NavigationPanel, PlanePanel, SinusoidPanel
from maml_core.panels.base import Panel
from maml_core.panels.controls import float_slider
from maml_core.panels.look import style
from maml_core.panels.pixels import Sheet, as_png, as_words, with_texts
from maml_core.panels.your_own.modules import load_modules
from maml_core.recipes import find_recipe
from maml_core.results import load_policy, load_shipped
from maml_core.studies import SHIPPED_AS, load_family
from maml_core.tasks import SinusoidTasks
from tests.panels.test_panels import MOVES


def scope(panel: Panel, images: torch.Tensor) -> dict:
    """What the notebooks have under the names of the constructors' parameters."""
    names = {type(panel).__name__: type(panel), "images": images, "modules": load_modules()}
    if isinstance(panel, FamiliesPanel):
        return names | {"learners": {name: load_family(name)[:2] for name in SHIPPED_AS}}
    if isinstance(panel, NavigationPanel):
        return names | {name: load_policy(f"{name}-20")[0] for name in ("maml", "pretrained")}
    if "images" in panel.code() or isinstance(panel, DrawingPanel):
        theta, record = load_shipped("omniglot-5way-1shot")
        return names | {"learner": record.recipe.build_learner(), "theta": theta}
    names["tasks"] = SinusoidTasks(10, queries=50)
    thetas = {"maml": load_shipped("sinusoid-10shot")[0], "pretrained": load_shipped("sinusoid-pretrained")[0]}
    return names | thetas | {"learner": find_recipe("sinusoid-10shot").build_learner()}


def test_its_line_of_python_makes_it_again_and_reset_takes_it_back(panel, images, monkeypatch):
    first = panel.state(), panel.image.value, panel.text.value
    for name, value in MOVES[type(panel)].items():
        getattr(panel, name).value = value
    panel.copy_state.click()
    line = panel.line.value
    assert "\n" not in line and line == panel.code()
    again = eval(line, scope(panel, images))
    assert type(again) is type(panel) and again.state() == panel.state() == {**panel.state(), **MOVES[type(panel)]}
    assert again.image.value == panel.image.value and again.text.value == panel.text.value
    drawn = []
    monkeypatch.setattr(panel, "update", lambda: drawn.append(1) or type(panel).update(panel))
    panel.reset.click()
    assert (panel.state(), panel.image.value, panel.text.value) == first and len(drawn) == 1
    again.reset.click()  # to what it started with, which is what the line says
    assert again.code() == line


def test_a_page_that_counts_in_binary_makes_no_long_numbers():
    panel = PlanePanel()
    panel.theta_1.value = 0.1 + 0.2
    assert "'theta_1': 0.3," in panel.code()


def test_a_seed_is_part_of_the_line():
    learner, theta = find_recipe("sinusoid-10shot").build_learner(), load_shipped("sinusoid-10shot")[0]
    assert "pretrained, seed=7, state=" in SinusoidPanel(learner, theta, theta, seed=7).code()


def test_a_readers_own_drawing_is_part_of_the_line():
    theta, record = load_shipped("omniglot-5way-1shot")
    learner = record.recipe.build_learner()
    panel = DrawingPanel(learner, theta)
    panel.clear_query.click()
    drawn = [len(field) for field in panel.canvas.strokes[:-1]]
    for x, y in ((650, 20), (680, 60)):
        panel.canvas.pen_down(x, y)
        panel.canvas.pen_up(x, y)
    again = eval(panel.code(), {"DrawingPanel": DrawingPanel, "learner": learner, "theta": theta})
    assert again.canvas.strokes == panel.canvas.strokes and again.image.value == panel.image.value
    picture = again.image.value
    panel.reset.click()
    assert panel.recorded.value == 0 and "strokes" not in panel.code()
    panel.clear_all.click()
    for change in (again.clear_query.click, again.clear_all.click, lambda: draw_a_dash(again)):
        change()
        again.reset.click()
        assert [len(field) for field in again.canvas.strokes] == [*drawn, 2]
        assert again.image.value == picture


def draw_a_dash(panel: DrawingPanel) -> None:
    panel.canvas.pen_down(10, 10)
    panel.canvas.pen_move(60, 60)
    panel.canvas.pen_up()


def assigned(kind: type) -> set[str]:
    """The names of the attributes that the methods of a class set."""
    nodes = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind))))
    ours = (node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return {node.attr for node in ours if isinstance(node.value, ast.Name) and node.value.id == "self"}


def test_a_panel_overwrites_nothing_of_the_base(panel):
    """And each of its moving artists is drawn once."""
    kinds = type(panel).__mro__[: type(panel).__mro__.index(Panel)]
    assert {"image", "_below"} <= assigned(Panel)
    assert not set().union(*map(assigned, kinds)) & assigned(Panel)
    artists = [id(artist) for artist in (*panel._moving, *panel._below)]
    assert len(set(artists)) == len(artists)


@pytest.mark.parametrize(
    "state, told",
    [
        ({"alhpa": 0.1}, "PlanePanel has no control 'alhpa': it has alpha, steps, curvature_1"),
        ({"alpha": 7}, "alpha of PlanePanel cannot be 7: choose a number from 0.01 to 1.0, with at most 2 digits."),
        ({"alpha": "big"}, "alpha of PlanePanel cannot be 'big': choose a number from 0.01"),
        ({"steps": 0}, "steps of PlanePanel cannot be 0: choose a number from 1 to 5."),
    ],
)  # fmt: skip
def test_a_state_that_cannot_be_is_refused_in_a_sentence(state, told):
    with pytest.raises(ValueError) as caught:
        PlanePanel(state)
    assert str(caught.value).startswith(told)


def test_changes_that_come_while_it_draws_make_one_picture():
    """Ten threads, as when messages pile up: the first draws, all that wait are answered by one more picture."""
    started, go_on, drawn = threading.Event(), threading.Event(), []

    class Slow(PlanePanel):
        def update(self) -> str:
            drawn.append(self.alpha.value)
            if len(drawn) == 2:  # the first picture is the constructor's
                started.set()
                go_on.wait(10)
            return super().update()

    panel = Slow()
    threads = [threading.Thread(target=setattr, args=(panel.alpha, "value", 0.1 + i / 100)) for i in range(10)]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 10
    while panel.alpha.value != 0.19 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # the last thread asks for its picture
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(drawn) == 3 and drawn[-1] == panel.alpha.value


def test_a_typed_value_is_used_as_it_is_shown():
    slider = float_slider("alpha", 0.01, 0.001, 0.1, 0.001)
    slider.value = 0.02349
    assert slider.value == 0.023 and slider.readout_format == ".3f"
    slider.value = 0.011000000000000003  # as a page counts its steps; an answer would disturb a drag
    assert slider.value == 0.011000000000000003
    assert float_slider("alpha", 0.125, 0.01, 1, 0.01).value == 0.125  # its first value is shown as it is


@pytest.mark.parametrize("trained, side, part", [(0.25, "left", "25.00"), (0.9, "right", "10.00")])
def test_the_alpha_of_training_is_marked(trained, side, part):
    slider = float_slider("alpha", 0.5, 0, 1, 0.01, trained)
    assert f".maml-{slider.model_id} .noUi-target::after {{ {side}: {part}%;" in style([slider], "a picture")
    assert "maml-trained" in slider._dom_classes and "::after { left: " not in style([], "a picture")


def test_every_control_says_what_it_does(panel):
    shown = [control for row in panel.children[:2] for control in row.children]
    assert all(control.description and control.tooltip for control in shown)
    what = escape(json.dumps(type(panel).__doc__.partition("\n")[0]))
    assert f"picture.alt = {what}" in panel._style.value


def test_titles_have_room_at_both_ends_of_all_sliders(panel):
    """No two texts of the picture touch, and none leaves it: as Pillow writes them, in pixels."""
    sliders = {name: control for name in panel.state() if hasattr(control := getattr(panel, name), "readout_format")}
    figure, renderer = panel._canvas.figure, panel._canvas.get_renderer()
    for end in ("min", "max"):
        panel.set_all({name: getattr(slider, end) for name, slider in sliders.items()})
        boxes = []
        for ax in figure.axes:
            for text in (ax.title, ax._left_title, ax.xaxis.label, *ax.texts):
                if text.get_text().strip():
                    boxes.append((text.get_text(), text.get_window_extent(renderer)))
        for i, (name, box) in enumerate(boxes):
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1, name
            for other, beside in boxes[:i]:
                apart = max(box.x0 - beside.x1, beside.x0 - box.x1)
                assert apart >= 8 or box.y0 >= beside.y1 or beside.y0 >= box.y1, (name, other)


def test_a_png_is_what_pillow_reads_back(generator):
    pixels = torch.randint(256, (37, 51, 3), generator=generator, dtype=torch.uint8).numpy()
    with Image.open(io.BytesIO(as_png(Image.fromarray(pixels)))) as image:
        assert image.mode == "RGB" and np.array_equal(np.asarray(image), pixels)


def test_texts_are_where_matplotlib_would_write_them():
    """Ink within a pixel of the extent, for the alignments of titles, labels and numbers beside bars."""
    figure = Figure((4, 3), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    ax = figure.subplots()
    texts = [ax.set_title("error 3.21"), ax.set_xlabel("12% right"), ax.text(0.5, 0.5, "97%", va="center")]
    for text in texts:
        text.set_animated(True)
    canvas.draw()
    before = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    for text in texts:
        ink = np.abs(np.asarray(with_texts(canvas.buffer_rgba(), [text], figure.dpi)) - before).sum(-1) > 60
        rows, columns = ink.any(1).nonzero()[0], ink.any(0).nonzero()[0]
        box = text.get_window_extent()
        assert abs(columns[0] - box.x0) < 4 and abs(columns[-1] + 1 - box.x1) < 4
        height = before.shape[0]
        assert height - box.y1 - 3 <= rows[0] and rows[-1] <= height - box.y0 + 3


def test_sheets_are_enlarged_without_mixing():
    figure = Figure((1, 1), dpi=100)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    small = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 130, 251]]], np.uint8)
    ax.add_image(Sheet(ax, as_words(torch.tensor(small) / 255).numpy()))
    ax.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5))
    ax.set_axis_off()
    canvas.draw()
    assert np.array_equal(np.asarray(canvas.buffer_rgba())[..., :3], small.repeat(50, 0).repeat(50, 1))
