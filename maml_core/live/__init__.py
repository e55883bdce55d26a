"""Two panels that explain the paper without a kernel: their front end, in JavaScript, computes by itself.

In JupyterLab, VS Code and Colab they are `anywidget` widgets; `fragment` puts one into any HTML page.
"""

from .base import Live, fragment
from .plane import LivePlane
from .sinusoid import LiveSinusoid

LIVE: dict[str, type[Live]] = {"sinusoid": LiveSinusoid, "plane": LivePlane}

__all__ = ["LIVE", "Live", "LivePlane", "LiveSinusoid", "fragment"]
