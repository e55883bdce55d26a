"""How panels look, and what screen readers find in them: one style sheet, and what ipywidgets cannot set.

JupyterLab's variables follow its theme; elsewhere, the colours are those around the panel. The picture stays a white card.
"""

import json
from collections.abc import Sequence
from html import escape

import ipywidgets as widgets

from .controls import FloatSlider

WIDEST = "clamp(1100px, 150vh, 1400px)"  # of a panel
AROUND = 330  # pixels of the screen's height that are not the picture's: the page's bars, a line of code, controls, numbers
SMALLEST = 640  # of a picture, where a page is low or, in a frame of its own, has no height to go by
NARROWEST = 340  # of a column of sliders: 200 and more are left for the track

_CSS = """
.maml-panel { max-width: WIDEST; color: var(--jp-content-font-color1, inherit); }
.maml-panel .widget-label, .maml-panel .widget-readout { color: var(--jp-content-font-color1, inherit); }
.maml-panel .widget-readout { min-width: 44px; width: 44px; margin-left: 4px; }
.maml-picture { box-sizing: border-box; padding: 6px; border-radius: 6px; background: #ffffff; }
.maml-text .widget-html-content { line-height: 1.5; font-variant-numeric: tabular-nums; }
.maml-code input { font-family: var(--jp-code-font-family, monospace); }
.maml-trained { margin-bottom: 9px !important; }
.maml-trained .noUi-target::after { position: absolute; top: 9px; padding: 3px 4px 0; white-space: nowrap;
  border: 0 solid currentColor; font-size: 10px; line-height: 9px; content: "alpha of training";
  color: var(--jp-content-font-color2, inherit); }
"""

# Run when the style is put into a page. What is missing then, since it is made later, is named once the panel is in use.
# A slider's value is said as it is shown: by itself, it would be 0.30000000000000004.
_NAME = """
const panel = this.closest('.maml-panel');
const sayAsShown = (handle, readout) => {
  const say = () => {
    const shown = readout.textContent;
    if (handle.getAttribute('aria-valuetext') !== shown) handle.setAttribute('aria-valuetext', shown);
  };
  say();
  new MutationObserver(say).observe(handle, {attributeFilter: ['aria-valuetext']});
};
const name = () => {
  panel.querySelectorAll('.widget-slider').forEach(slider => {
    const handle = slider.querySelector('[role=slider]'), readout = slider.querySelector('.widget-readout');
    if (!handle || handle.hasAttribute('aria-label')) return;
    handle.setAttribute('aria-label', slider.querySelector('.widget-label').textContent);
    sayAsShown(handle, readout);
  });
  panel.querySelectorAll('.maml-picture').forEach(picture => { picture.alt = WHAT });
  panel.querySelectorAll('.maml-text').forEach(text => text.setAttribute('role', 'status'));
};
name();
if (!panel.dataset.named) {
  panel.dataset.named = 'yes';
  setTimeout(name, 1000);
  ['focusin', 'pointerover'].forEach(event => panel.addEventListener(event, name));
  panel.addEventListener('focusin', event => {
    if (event.target.closest('.maml-code')) {
      event.target.select();
      navigator.clipboard?.writeText(event.target.value).catch(() => {});
    }
  });
}
"""


def picture_layout(width: float, height: float) -> dict[str, str]:
    """The layout of a picture of these proportions: as wide as the panel, but not too high to be seen with its controls."""
    most = f"max({SMALLEST}px, calc((100vh - {AROUND}px) * {width / height:.3f}))"
    return {"width": "100%", "height": "auto", "max_width": most}


def sliders_grid(sliders: Sequence[widgets.Widget]) -> widgets.GridBox:
    """Sliders in as many columns as there is room for."""
    columns = f"repeat(auto-fit, minmax(min({NARROWEST}px, 100%), 1fr))"
    return widgets.GridBox(sliders, layout={"grid_template_columns": columns, "grid_gap": "2px 20px", "width": "100%"})


def wrapping_row(controls: Sequence[widgets.Widget]) -> widgets.HBox:
    """Other controls side by side, in more rows where there is no room."""
    return widgets.HBox(controls, layout={"flex_flow": "row wrap", "grid_gap": "2px 8px", "align_items": "center"})


def style(sliders: Sequence[widgets.Widget], what: str) -> str:
    """HTML that styles a panel and marks the alpha of training on its sliders, at every width.

    what: the picture shows, for screen readers.
    """
    marks = ""
    for slider in sliders:
        if isinstance(slider, FloatSlider) and slider.trained is not None and slider.min <= slider.trained <= slider.max:
            slider.add_class("maml-trained").add_class(place := f"maml-{slider.model_id}")
            left = 100 * (slider.trained - slider.min) / (slider.max - slider.min)
            side, far = ("left", left) if left <= 50 else ("right", 100 - left)  # the words are on the longer side
            mark = f"{side}: {far:.2f}%; border-{side}-width: 2px"
            marks += f".maml-panel .{place} .noUi-target::after {{ {mark}; }}\n"
    script = escape(_NAME.replace("WHAT", json.dumps(what)))
    return f'<style onload="{script}">{_CSS.replace("WIDEST", WIDEST)}{marks}</style>'
