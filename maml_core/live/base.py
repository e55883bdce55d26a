"""What the live panels share: their state, the JavaScript that they run, a picture for GitHub, and HTML for any page.

The kernel holds only the state. All that moves is computed in the browser, by modules that a page can import as they
are: `bundle` joins them, since a widget's front end is a single module.
"""

import base64
import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..figures.style import COLOURS, STYLE

try:
    import anywidget
except ImportError as error:
    raise ImportError("The live panels need anywidget: pip install anywidget, then restart the kernel.") from error
import traitlets

FOLDER = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "\./\w+\.js";\n', re.MULTILINE)


def bundle(*names: str) -> str:
    """The JavaScript modules of these names as one, each before those that import it."""
    return "\n".join(IMPORT.sub("", (FOLDER / f"{name}.js").read_text(encoding="utf-8")) for name in names)


def number(kind: type[traitlets.TraitType], value: float, low: float, high: float, step: float) -> Any:
    """A number that a slider moves between low and high; another value raises TraitError, which names the limit."""
    return kind(value, min=low, max=high).tag(sync=True, step=step)


class Live(anywidget.AnyWidget):
    """A panel whose front end computes by itself. A subclass has its state as traits, and draws a still picture of it."""

    _css = (FOLDER / "live.css").read_text(encoding="utf-8")
    ALT = "a live panel"
    SIZE = (8.0, 3.2)  # of the picture, inches
    CONCEPTS: tuple[str, ...] = ()  # whose colours it uses, names of figures.COLOURS

    colours = traitlets.Dict().tag(sync=True)
    ranges = traitlets.Dict().tag(sync=True)  # of the sliders: {name: [lowest, highest, step]}
    first = traitlets.Dict().tag(sync=True)  # what "reset" brings back: {name: value when the panel was made}

    def __init__(self, **state: Any) -> None:
        """state: values of the panel's traits. Raises TypeError for a name that is none of them."""
        sliders = {name: trait for name, trait in self.traits(sync=True).items() if "step" in trait.metadata}
        if unknown := sorted(set(state) - set(self.names())):
            raise TypeError(f"{type(self).__name__} has no {', '.join(unknown)}: choose from {', '.join(self.names())}.")
        super().__init__(
            colours={name.replace(" ", "-"): COLOURS[name] for name in self.CONCEPTS},
            ranges={name: [trait.min, trait.max, trait.metadata["step"]] for name, trait in sliders.items()},
            **state,
        )
        # Readers change no dict: those are weights, colours and ranges.
        changing = {name: value for name, value in self.state().items() if not isinstance(value, dict)}
        self.first = copy.deepcopy(changing)

    @classmethod
    def names(cls) -> list[str]:
        """What the front end is given, by name."""
        names = set(cls.class_trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names())
        return sorted(name for name in names if not name.startswith("_"))

    def state(self) -> dict[str, Any]:
        """The present values of `names`."""
        return {name: getattr(self, name) for name in self.names()}

    def draw(self, figure: Figure) -> None:
        """Draw the present state for readers without JavaScript."""
        raise NotImplementedError

    def picture(self) -> bytes:
        """The present state as a PNG."""
        png = io.BytesIO()
        with matplotlib.style.context(STYLE):
            figure = Figure(figsize=self.SIZE, dpi=100, layout="constrained")
            self.draw(figure)
            FigureCanvasAgg(figure).print_png(png)
        return png.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        data["text/plain"] = f"{type(self).__name__}: run this cell in JupyterLab, VS Code or Colab to drag its points"
        data["image/png"] = base64.b64encode(self.picture()).decode()
        return data, metadata


def fragment(widget: Live) -> str:
    """HTML that shows a panel in its present state on any page: without a kernel, other files, or a request.

    Several fragments may share a page. Where JavaScript is turned off, the picture stands instead.
    """
    kind, png = type(widget).__name__, base64.b64encode(widget.picture()).decode()
    state = json.dumps(widget.state()).replace("<", "\\u003c")  # nothing in it can end the script
    page = bundle("page")
    size = " ".join(f'{name}="{100 * inches:.0f}"' for name, inches in zip(("width", "height"), widget.SIZE))
    # A page's modules run in its order: each one takes the first place that is still free.
    return f"""<div class="maml-live-page" data-panel="{kind}">
<noscript><img src="data:image/png;base64,{png}" alt="{widget.ALT}" {size} style="max-width: 100%; height: auto"></noscript>
</div>
<style>
{widget._css}</style>
<script type="module">
{widget._esm}
{page}
const el = document.querySelector('.maml-live-page[data-panel="{kind}"]:not([data-shown])');
el.dataset.shown = "";
render({{ model: plainModel({state}), el }});
</script>
"""
