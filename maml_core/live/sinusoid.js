// One sine wave: MAML's theta and a pretrained one adapt to the same points, which can be dragged.

import { adapt, meanSquaredError, predict, unpack, wave } from "./network.js";
import { button, choice, element, key, mount, reset, slider } from "./parts.js";
import { Plot, set, svg } from "./plot.js";

const RANGE = [-5, 5];
const GRID = Array.from({ length: 201 }, (_, i) => RANGE[0] + i / 20);
const TALL = [-6.4, 6.4];
const HALVES = { both: RANGE, left: [RANGE[0], 0], right: [0, RANGE[1]] };
const METHODS = { maml: "MAML", baseline: "pretrained" };
const SNAP = 0.2; // a point that is dropped this near to the wave lies on it
const MOVED = ["alpha", "steps", "shots", "amplitude", "phase", "half", "places", "offsets"];

const within = (y) => Math.min(TALL[1], Math.max(TALL[0], y));

/**
 * The support points: a place in [0, 1] of the chosen half, and how far the point was pulled off the wave. When the wave
 * moves, they stop at the plot's edges: the learner fits no point that cannot be seen.
 */
export function supportPoints({ shots, half, places, offsets, amplitude, phase }) {
  const [low, high] = HALVES[half];
  const xs = places.slice(0, shots).map((place) => low + (high - low) * place);
  return { xs, ys: xs.map((x, k) => within(wave(x, amplitude, phase) + offsets[k])) };
}

/** What a panel shows of one theta: its curve before and after the steps, and the mean squared error of both. */
export function results(theta, state) {
  const { xs, ys } = supportPoints(state);
  const target = GRID.map((x) => wave(x, state.amplitude, state.phase));
  const curves = [theta, adapt(theta, xs, ys, state.alpha, state.steps)].map((weights) => predict(weights, GRID));
  return { target, curves, errors: curves.map((curve) => meanSquaredError(curve, target)) };
}

const asError = (error) => (error < 1000 ? error.toFixed(2) : "diverged");

function render({ model, el }) {
  const thetas = Object.fromEntries(Object.entries(model.get("thetas")).map(([name, text]) => [name, unpack(text)]));
  const state = () => Object.fromEntries(MOVED.map((name) => [name, model.get(name)]));
  const change = (name, k, value) => model.set(name, model.get(name).map((old, i) => (i === k ? value : old)));

  const controls = [
    slider(model, "alpha", "alpha", { value: model.get("trained_alpha"), text: "in training" }),
    slider(model, "steps", "steps"),
    slider(model, "shots", "K"),
    slider(model, "amplitude", "amplitude"),
    slider(model, "phase", "phase"),
    choice(model, "half", "points", { both: "everywhere", left: "in the left half", right: "in the right half" }),
  ];
  const buttons = [
    button(model, "new points", () => {
      const drawn = model.get("places").map(() => Math.random());
      return { places: drawn, offsets: drawn.map(() => 0) };
    }),
    reset(model),
  ];

  const views = Object.keys(METHODS).map((method) => {
    const caption = element("figcaption", { style: `--colour: var(--${method})` });
    const place = element("div", { class: "plot" });
    return { method, caption, place, figure: element("figure", {}, caption, place) };
  });
  const legend = element(
    "div",
    { class: "legend" },
    key("dashed", "ink", "the wave"),
    key("triangle", "ink", "support points: drag them"),
    key("line", "before", "before"),
    key("line", "maml", "MAML after the steps"),
    key("line", "baseline", "pretrained after the steps"),
  );
  const beside = element("div", { class: "beside" }, ...views.map((one) => one.figure));
  const body = element("div", { class: "body" }, beside, legend);

  // Sideways a point stays as far from the wave as it is; up and down it is pulled off, so that the learner has to fit a
  // point that no sine wave explains. A pointer does both at once, an arrow key one of them.
  function point(k) {
    const get = () => {
      const { xs, ys } = supportPoints(state());
      return [xs[k], ys[k]];
    };
    return {
      name: `support point ${k + 1}`,
      draw: (parent) => svg(parent, "path", { class: "support", d: "M0 -7L6.5 5H-6.5Z" }),
      get,
      move(x, y, dragged) {
        const [low, high] = HALVES[model.get("half")];
        const place = Math.min(1, Math.max(0, (x - low) / (high - low)));
        const on = wave(low + (high - low) * place, model.get("amplitude"), model.get("phase"));
        const off = within(y) - on;
        const sideways = !dragged && x !== get()[0];
        change("places", k, place);
        if (!sideways) change("offsets", k, dragged && Math.abs(off) < SNAP ? 0 : off);
      },
      home: () => change("offsets", k, 0),
      done: () => model.save_changes(),
    };
  }

  function layout(width) {
    const wide = width >= 640;
    const each = wide ? (width - 16) / 2 : width;
    const height = Math.round(Math.min(380, Math.max(230, 0.62 * each)));
    for (const view of views) {
      const title = `${METHODS[view.method]}: the wave, the support points, and the network before and after the steps`;
      const axes = { x: RANGE, y: TALL, ticks: 2, labels: ["x", "y"], title };
      view.plot = new Plot(view.place, { width: each, height, ...axes });
      const { inside } = view.plot;
      view.before = svg(inside, "path", { class: "curve", style: "--colour: var(--before)" });
      view.target = svg(inside, "path", { class: "curve dashed", style: "--colour: var(--ink)" });
      view.after = svg(inside, "path", { class: "curve after", style: `--colour: var(--${view.method})` });
      view.handles = [];
    }
  }

  function paint() {
    for (const view of views) {
      const { target, curves, errors } = results(thetas[view.method], state());
      const through = (ys) => view.plot.line(GRID.map((x, i) => [x, ys[i]]));
      set(view.target, { d: through(target) });
      set(view.before, { d: through(curves[0]) });
      set(view.after, { d: through(curves[1]) });
      view.told = `mean squared error ${asError(errors[0])} → ${asError(errors[1])}`;
      view.caption.replaceChildren(element("b", {}, METHODS[view.method]), ` ${view.told}`);
      const shots = model.get("shots");
      while (view.handles.length < shots) view.handles.push(view.plot.handle(point(view.handles.length)));
      [...view.plot.over.children].forEach((node, k) => (node.style.display = k < shots ? "" : "none"));
      view.handles.slice(0, shots).forEach((show) => show());
    }
  }

  const summary = () => {
    const told = views.map((one) => `${METHODS[one.method]}: ${one.told}`);
    const steps = model.get("steps");
    return `Before and after ${steps} step${steps === 1 ? "" : "s"}: ${told.join("; ")}.`;
  };
  const title = "MAML and a pretrained network adapt to a wave";
  return mount(model, el, { title, controls, buttons, body, layout, paint, summary });
}

export default { render };
