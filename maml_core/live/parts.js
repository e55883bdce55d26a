// What both panels are made of: elements, controls that set the model, and redrawing once per frame.

/** An HTML element with attributes and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * A slider beside a field to type in, for the model's number `name`; its range comes from Python, ranges[name] =
 * [lowest, highest, step]. mark: a value worth a tick below the slider, {value, text}.
 */
export function slider(model, name, text, mark) {
  const [min, max, step] = model.get("ranges")[name];
  const span = `${min} to ${max}, in steps of ${step}`; // what is typed ends up there
  const range = element("input", { type: "range", min, max, step, "aria-label": text });
  const field = element("input", { type: "number", min, max, step, title: span, "aria-label": `${text}, as a number` });
  const track = element("span", { class: "track" }, range);
  if (mark) {
    const place = (mark.value - min) / (max - min);
    track.append(element("span", { class: "mark", style: `--place: ${place}` }, mark.text));
  }
  const digits = `${step}`.split(".")[1]?.length ?? 0;
  const show = () => {
    range.value = model.get(name);
    if (document.activeElement !== field) field.value = model.get(name).toFixed(digits);
  };
  range.addEventListener("input", () => model.set(name, range.valueAsNumber));
  range.addEventListener("change", () => model.save_changes());
  field.addEventListener("change", () => {
    const typed = Math.min(max, Math.max(min, field.valueAsNumber));
    if (!Number.isNaN(typed)) model.set(name, Number(typed.toFixed(digits))); // an empty field changes nothing
    model.save_changes();
    field.value = model.get(name).toFixed(digits);
  });
  return { node: element("div", { class: "slider" }, element("span", { class: "name" }, text), track, field), show };
}

/** One of a few values for the model's `name`. options: {value: text}. */
export function choice(model, name, text, options) {
  const all = Object.entries(options).map(([value, words]) => element("option", { value }, words));
  const select = element("select", { "aria-label": text }, ...all);
  select.addEventListener("change", () => {
    const number = typeof model.get(name) === "number";
    model.set(name, number ? Number(select.value) : select.value);
    model.save_changes();
  });
  const show = () => (select.value = model.get(name));
  return { node: element("div", { class: "choice" }, element("span", { class: "name" }, text), select), show };
}

/** A button that changes the model: changes() returns {name: value}. */
export function button(model, text, changes) {
  const node = element("button", { type: "button" }, text);
  node.addEventListener("click", () => {
    for (const [name, value] of Object.entries(changes())) model.set(name, value);
    model.save_changes();
  });
  return node;
}

/** A button that puts everything back to how the model began, in whichever of its views it is pressed. */
export const reset = (model) => button(model, "reset", () => model.get("first"));

/** A line of the legend. mark: the class of its swatch in live.css; colour: a custom property. */
export function key(mark, colour, text) {
  const swatch = element("span", { class: `swatch ${mark}`, style: `--colour: var(--${colour})` });
  return element("span", { class: "key" }, swatch, text);
}

/**
 * Put a panel into el: controls, buttons, then `body`. layout(width) builds what depends on the width in CSS pixels,
 * paint() brings everything up to date with the model, and summary() is what a screen reader hears where a change ends.
 * Returns the function that removes the panel's listeners.
 */
export function mount(model, el, { title, controls, buttons, body, layout, paint, summary }) {
  const status = element("div", { class: "unseen", role: "status" });
  const nodes = [...controls.map((one) => one.node), element("div", { class: "buttons" }, ...buttons)];
  const bar = element("div", { class: "controls", role: "group", "aria-label": "controls" }, ...nodes);
  const root = element("div", { class: "maml-live", "aria-label": title, role: "group" });
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation(); // to JupyterLab an arrow key means another cell
  });
  for (const [name, colour] of Object.entries(model.get("colours"))) root.style.setProperty(`--${name}`, colour);
  root.append(bar, body, status);
  el.append(root);

  let frame = 0;
  let settled = 0;
  let width = 0;
  let focused = -1; // the place of the point with the focus, while layout replaces it
  const points = () => [...root.querySelectorAll(".handle")].filter((point) => point.style.display !== "none");
  const redraw = () => {
    if (!width || frame) return; // many changes, one picture: the display's frame rate is enough
    frame = requestAnimationFrame(() => {
      frame = 0;
      controls.forEach((one) => one.show());
      paint();
      points()[focused]?.focus({ preventScroll: true });
      focused = -1;
      clearTimeout(settled); // of a drag, only its end is read out
      settled = setTimeout(() => (status.textContent = summary()), 500);
    });
  };
  const resized = new ResizeObserver(() => {
    const now = Math.floor(body.clientWidth);
    if (!now || now === width) return;
    width = now;
    const place = points().findIndex((point) => point.matches(":focus"));
    if (place >= 0) focused = place; // a second resize before the frame finds none
    layout(width);
    redraw();
  });
  resized.observe(body);
  model.on("change", redraw);
  return () => {
    model.off("change", redraw);
    resized.disconnect();
    cancelAnimationFrame(frame);
    clearTimeout(settled);
  };
}
