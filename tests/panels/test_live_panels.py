"""Live panels without a browser: their state, their picture, the HTML for any page, and what is installed of them."""

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from setuptools import Distribution
from setuptools.command.build_py import build_py
from traitlets import TraitError

from maml_core.figures.style import COLOURS
from maml_core.live import LIVE, LivePlane, LiveSinusoid, fragment
from maml_core.live.base import FOLDER
from maml_core.live.sinusoid import pack
from maml_core.networks import sinusoid_network
from maml_core.panels import PlanePanel
from maml_core.results import load_shipped
from maml_core.tasks.quadratics import directions

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=LIVE)
def live(request):
    return LIVE[request.param]()


def test_stored_output_is_a_picture_a_text_and_a_widget(live):
    """And the picture is that of the present state."""
    before = live.picture()
    live.alpha = 0.05
    data, _ = live._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"}
    png = base64.b64decode(data["image/png"])
    assert png == live.picture() != before
    with Image.open(io.BytesIO(png)) as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 100  # not blank
    assert len(data["text/plain"]) < 100 and "0x" not in data["text/plain"]  # the same in every run


def test_a_wrong_state_is_refused_in_a_sentence():
    with pytest.raises(TypeError, match="LivePlane has no alfa: choose from alpha, angles"):
        LivePlane(alfa=0.1)
    with pytest.raises(TraitError, match="'alpha'.*not be greater than 0.1"):
        LiveSinusoid(alpha=0.5)
    with pytest.raises(TraitError, match="'half'.*'both', 'left', 'right'"):
        LiveSinusoid(half="middle")
    oracle = load_shipped("sinusoid-oracle")[0]
    with pytest.raises(ValueError, match=r"1-40-40-1 network, not w1 \(3, 40\).*sinusoid_network"):
        LiveSinusoid(oracle)


def test_weights_are_packed_in_order_and_kept():
    theta = sinusoid_network().init(torch.Generator().manual_seed(0))
    shuffled = dict(reversed(theta.items()))
    panel = LiveSinusoid(maml=shuffled)
    numbers = np.frombuffer(base64.b64decode(panel.thetas["maml"]), "<f4")
    assert numbers.shape == (1761,)
    assert numbers.tolist() == torch.cat([theta[name].flatten() for name in ("w1", "b1", "w2", "b2", "w3", "b3")]).tolist()
    before = panel.picture()
    shuffled["b3"].add_(1)  # as a later cell may do
    assert panel.picture() == before and panel.thetas["maml"] != pack(shuffled)


def test_starts_where_the_kernel_panels_start():
    """The same points, and the same directions."""
    x, y = LiveSinusoid(shots=7, half="left").points()
    expected = -5 + 5 * torch.rand((1, 20), generator=torch.Generator().manual_seed(0))[:, :7]
    torch.testing.assert_close(x[..., 0], expected)
    torch.testing.assert_close(y, 3 * torch.sin(expected - 0.5))
    panel = LivePlane()
    found, _ = directions(panel.episodes(), torch.tensor(panel.theta), panel.alpha, panel.steps)
    for name, direction in PlanePanel().directions()[0].items():
        torch.testing.assert_close(found[name], direction)


def test_points_stay_in_the_plot():
    """However far one was pulled off an earlier wave: they end where the plot does."""
    panel = LiveSinusoid(shots=3, amplitude=5.0, offsets=[12.0, -12.0, 0.25, *[0.0] * 17])
    x, y = panel.points()
    third = 5 * np.sin(x[0, 2, 0].item() - 0.5) + 0.25
    assert y[0].tolist() == pytest.approx([6.4, -6.4, third], abs=1e-5)


def test_it_remembers_how_it_began(live):
    """All that a reader can change; lists of its own, so that a change of the panel's leaves them alone."""
    began = {name: value for name, value in live.state().items() if name in live.first}
    assert {"alpha", "steps"} < set(live.first) and not set(live.first) & {"thetas", "colours", "ranges", "first"}
    before = json.dumps(live.first)
    assert json.loads(before) == began
    live.alpha = 0.05
    for value in began.values():
        if isinstance(value, list):
            value[0] = None
    assert json.dumps(live.first) == before and live.first["alpha"] != 0.05


def test_its_colours_are_the_concepts(live):
    assert live.colours == {name.replace(" ", "-"): COLOURS[name] for name in live.CONCEPTS}
    source = live._esm
    used = set(re.findall(r"--colour: var\(--([a-z-]+)\)", source)) - {"ink"}
    assert used <= set(live.colours)


class Page(HTMLParser):
    """Counts elements, and collects the attributes that name another file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]


def test_a_fragment_is_self_contained(live):
    text = fragment(live)
    page = Page(text)
    assert page.tags == ["div", "noscript", "img", "style", "script"]
    assert all(address.startswith("data:image/png") for address in page.addresses)
    assert not re.findall(r"^import |^\s*@import|url\(|fetch\(|XMLHttp", text, re.MULTILINE)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}  # a name, which nobody asks for
    assert text == fragment(type(live)())  # the same in every run
    (state,) = re.findall(r"plainModel\((.*)\), el", text)
    assert json.loads(state) == live.state()


def test_nothing_in_the_state_ends_the_script():
    panel = LivePlane()
    panel.colours = {"maml": "</script><b>"}
    assert Page(fragment(panel)).tags.count("b") == 0


def test_joined_modules_declare_no_name_twice(live):
    declared = re.findall(r"^(?:export )?(?:default )?(?:function|const|let|class) (\w+)", live._esm, re.MULTILINE)
    assert len(declared) == len(set(declared)) > 10


def test_an_installation_has_the_front_end(monkeypatch):
    """What setuptools would copy into a wheel."""
    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files()
    command = build_py(distribution)
    command.finalize_options()
    command.manifest_files = {}  # no version control to ask: what pyproject.toml lists
    copied = {ROOT / name for name in command.find_data_files("maml_core.live", "maml_core/live")}
    assert copied == {path for path in FOLDER.iterdir() if path.suffix in (".js", ".css")}


def test_without_anywidget_the_remedy_is_named_and_the_core_works():
    program = """
import sys
sys.modules["anywidget"] = None
import maml_core, maml_core.panels
try:
    import maml_core.live
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "The live panels need anywidget: pip install anywidget, then restart the kernel."
