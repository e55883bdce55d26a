// A plot in SVG: sharp on every screen, coloured by CSS, and its points take the pointer and the arrow keys.

/** An SVG element, appended to a parent. */
export function svg(parent, tag, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(made, attributes);
  made.textContent = text;
  parent?.append(made);
  return made;
}

/** Give a node these attributes. */
export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const MARGIN = { left: 34, right: 8, top: 8, bottom: 36 };
const FAR = 1e5; // pixels: a curve that diverges is cut off well outside the picture, since SVG knows no infinity

/** Axes over x and y = [low, high] in width x height CSS pixels. `inside` clips what is drawn; `over` does not. */
export class Plot {
  constructor(parent, { width, height, x, y, ticks, labels, title }) {
    this.size = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
    this.ranges = [x, y];
    this.root = svg(null, "svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title });
    parent.replaceChildren(this.root);
    const frame = svg(this.root, "g", { transform: `translate(${MARGIN.left} ${MARGIN.top})` });
    const axes = svg(frame, "g", { class: "axes", "aria-hidden": "true" });
    const [w, h] = this.size;
    for (let at = Math.ceil(x[0] / ticks) * ticks; at <= x[1]; at += ticks) {
      svg(axes, "path", { d: `M${this.px(at)} 0V${h}` });
      svg(axes, "text", { x: this.px(at), y: h + 16, "text-anchor": "middle" }, number(at));
    }
    for (let at = Math.ceil(y[0] / ticks) * ticks; at <= y[1]; at += ticks) {
      svg(axes, "path", { d: `M0 ${this.py(at)}H${w}` });
      svg(axes, "text", { x: -7, y: this.py(at) + 4, "text-anchor": "end" }, number(at));
    }
    svg(axes, "text", { x: w / 2, y: h + 32, "text-anchor": "middle" }, labels[0]);
    svg(axes, "text", { transform: `translate(-24 ${h / 2}) rotate(-90)`, "text-anchor": "middle" }, labels[1]);
    this.inside = svg(frame, "svg", { width: w, height: h, "aria-hidden": "true" }); // a nested svg clips its content
    this.over = svg(frame, "g");
  }

  px(x) {
    const [low, high] = this.ranges[0];
    return clamp(((x - low) / (high - low)) * this.size[0], -FAR, FAR) || 0;
  }

  py(y) {
    const [low, high] = this.ranges[1];
    return clamp(((high - y) / (high - low)) * this.size[1], -FAR, FAR) || 0;
  }

  /** The point of the plot below a pointer, [x, y]. */
  at({ clientX, clientY }) {
    const box = this.root.getBoundingClientRect(); // the inner svg's box is that of what is drawn, not of the axes
    const [[left, right], [low, high]] = this.ranges;
    return [
      left + ((clientX - box.left - MARGIN.left) / this.size[0]) * (right - left),
      high - ((clientY - box.top - MARGIN.top) / this.size[1]) * (high - low),
    ];
  }

  /** The path through points [x, y]. */
  line(points) {
    return points.map(([x, y], i) => `${i ? "L" : "M"}${this.px(x).toFixed(2)} ${this.py(y).toFixed(2)}`).join("");
  }

  /** Move an ellipse {radii, angle} around a centre; radii in units of the plot. */
  place(node, centre, { radii, angle }) {
    const scale = this.size[0] / (this.ranges[0][1] - this.ranges[0][0]);
    const [rx, ry] = radii.map((radius) => clamp(radius * scale, 0, FAR) || 0);
    const turn = `translate(${this.px(centre[0])} ${this.py(centre[1])}) rotate(${(-angle * 180) / Math.PI})`;
    set(node, { rx, ry, transform: turn });
  }

  /**
   * A point that can be dragged, and moved by the arrow keys in steps of 0.1 (Shift: 1). draw(parent) draws it around
   * [0, 0]; get() returns [x, y]; move(x, y) sets it; done() follows the last move; home(), if any, is for the Home key.
   * Returns show(), which brings its place and its description up to date.
   */
  handle({ name, draw, get, move, done, home }) {
    const node = svg(this.over, "g", { class: "handle", tabindex: 0, role: "slider", "aria-label": name });
    svg(node, "circle", { class: "ring", r: 13 }); // invisible until it has the focus: a larger target for fingers
    draw(node);
    let grip = null; // from the pointer to the point, so that it does not jump when it is grasped off its centre
    // A finger drags the point rather than the page: Chromium heeds no `touch-action` of elements inside an SVG.
    node.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    node.addEventListener("pointerdown", (event) => {
      if (event.button || !event.isPrimary) return; // another button, a second finger
      const [[x, y], [px, py]] = [get(), this.at(event)];
      grip = [x - px, y - py];
      node.setPointerCapture(event.pointerId);
      node.focus();
      event.preventDefault(); // no text is selected on the way
    });
    node.addEventListener("pointermove", (event) => {
      if (!grip || !event.isPrimary) return;
      const [px, py] = this.at(event);
      move(px + grip[0], py + grip[1], true);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      node.addEventListener(end, (event) => {
        if (!grip || !event.isPrimary) return;
        grip = null;
        done();
      });
    }
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    node.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's: Alt+Left is the page before
      if (event.key === "Home" ? !home : !ways[event.key]) return;
      event.preventDefault(); // the page stays where it is
      const [x, y] = get();
      const size = event.shiftKey ? 1 : 0.1;
      if (event.key === "Home") home();
      else move(x + size * ways[event.key][0], y + size * ways[event.key][1], false);
      done();
    });
    return () => {
      const [x, y] = get();
      const [[low, high]] = this.ranges;
      set(node, {
        transform: `translate(${this.px(x).toFixed(2)} ${this.py(y).toFixed(2)})`,
        "aria-valuemin": low,
        "aria-valuemax": high,
        "aria-valuenow": x.toFixed(2),
        "aria-valuetext": `${x.toFixed(1)}, ${y.toFixed(1)}`,
      });
    };
  }
}

/** A number with a true minus sign. */
export const number = (value) => `${Math.round(value * 100) / 100}`.replace("-", "\u2212");
