"""The house style: one colour per concept, Okabe and Ito's and Paul Tol's, which colour-blind readers can tell apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "target": "#000000",
    "support": "#000000",
    "before": "#999999",
    "maml": "#0072B2",
    "first order": "#E69F00",
    "baseline": "#D55E00",
    "right": "#009E73",
    "wrong": "#D55E00",
    "task 0": "#009E73",
    "task 1": "#CC79A7",
    "task 2": "#56B4E9",
    "inner sum": "#CC79A7",
    "reptile": "#5D3A9B",
    "anil": "#CC6677",
    "meta-sgd": "#8C510A",
    "maml++": "#117733",
    "imaml": "#999933",
    "oracle": "#009E73",
    "mlp": "#555555",
    "alphabets": "#56B4E9",
    # What adapts: everything is MAML's blue, the head ANIL's red.
    "last block": "#AA4499",
    "body": "#661100",
    # Three families; MAML keeps its blue. Yellow, teal and wine (Paul Tol) differ clearly from it and from each other.
    "prototypes": "#DDAA33",
    "matching": "#44AA99",
    "memory": "#882255",
    # Where batch norm's statistics come from: the query batch has MAML's blue, as it is the paper's protocol.
    "one query": "#56B4E9",
    "support only": "#009E73",
}

STYLE = Path(__file__).with_name("maml.mplstyle")  # all that is no colour of a concept


def use_style() -> None:
    """Set matplotlib's defaults for a whole notebook or script."""
    import matplotlib.style

    matplotlib.style.use(STYLE)


def explain_dashes(ax: "Axes") -> None:
    """A line of the legend for what is drawn twice: with another seed, it is dashed."""
    ax.plot([], [], color="#666666", lw=1.5, ls="--", label="dashed: second seed")


def draw_band(
    ax: "Axes", x: Sequence[float], mean: Sequence[float], ci95: Sequence[float], colour: str,
    label: str | None = None, **line: Any,
) -> None:  # fmt: skip
    """A line with its 95% interval as a band."""
    low, high = ([m + sign * c for m, c in zip(mean, ci95)] for sign in (-1, 1))
    ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    ax.plot(x, mean, **{"marker": "o", "ms": 3.5, "color": colour, "label": label, **line})
