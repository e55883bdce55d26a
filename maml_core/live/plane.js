// Tasks in a plane: where MAML, first-order MAML and Reptile move theta, and what curvature and alpha do to them.

import { button, choice, element, key, mount, reset, slider } from "./parts.js";
import { Plot, set, svg } from "./plot.js";
import { adaptedLoss, directions, ellipse, length, ownEllipse, path, rise } from "./quadratics.js";

const SIDE = [-2.5, 2.5];
const LONGEST = 8; // times MAML's length: a longer bar ends there, with a mark
const REACH = 1.2; // arrows show directions only, so that a short one is visible, too; the bars compare lengths
const METHODS = { maml: "MAML", firstOrder: "first order", reptile: "Reptile" };
const COLOUR = { maml: "maml", firstOrder: "first-order", reptile: "reptile" };
const LEVELS = [1 / 3, 2 / 3, 1, 4 / 3, 5 / 3]; // in parts of the way from F's centre to theta: one runs through theta
const CURVATURES = ["curvature_1", "curvature_2", "curvature_3"];
const MOVED = ["alpha", "steps", "tasks", ...CURVATURES, "optima", "theta"];

/** The tasks that a state describes: {tasks: how many, optima, angles, curvature_1, ..., ratio of the two curvatures}. */
export function tasksOf(state) {
  return state.optima.slice(0, state.tasks).map((optimum, i) => {
    const largest = state[CURVATURES[i]];
    return { optimum, curvatures: [largest, state.ratio * largest], angle: state.angles[i] };
  });
}

/** Degrees between two directions. */
export function degrees(u, v) {
  const cosine = (u[0] * v[0] + u[1] * v[1]) / Math.max(length(u) * length(v), 1e-12);
  return (Math.acos(Math.min(1, Math.max(-1, cosine))) * 180) / Math.PI;
}

function render({ model, el }) {
  const state = () => Object.fromEntries([...MOVED, "angles", "ratio"].map((name) => [name, model.get(name)]));
  const curvatures = CURVATURES.map((name, i) => slider(model, name, `curvature ${i + 1}`));
  const controls = [
    slider(model, "alpha", "alpha"),
    slider(model, "steps", "steps"),
    ...curvatures,
    choice(model, "tasks", "tasks", { 2: "two", 3: "three" }),
  ];
  const buttons = [
    button(model, "flatten the tasks", () => Object.fromEntries(CURVATURES.map((name) => [name, 0.02]))),
    reset(model),
  ];

  const rows = Object.keys(METHODS).map((method) => {
    const bar = element("span", { class: "bar", style: `--colour: var(--${COLOUR[method]})` });
    const cells = { ratio: element("td", { class: "number" }), angle: element("td", { class: "number" }) };
    const name = element("th", { scope: "row" }, METHODS[method]);
    const node = element("tr", {}, name, element("td", { class: "bars" }, bar), cells.ratio, cells.angle);
    return { method, bar, ...cells, node };
  });
  const columns = { method: 1, "length, MAML's is 1": 2, "angle to MAML": 1 };
  const heads = Object.entries(columns).map(([text, colspan]) => element("th", { scope: "col", colspan }, text));
  const head = element("tr", {}, ...heads);
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows.map((row) => row.node)));
  const told = element("p", {});
  const legend = element(
    "div",
    { class: "legend" },
    key("star", "task-0", "a task's optimum: drag it"),
    key("dot", "ink", "θ: drag it"),
    key("line", "task-0", "a task's inner steps, from θ to φ"),
    key("ring", "ink", "the mean loss after these steps: bold through θ, lowest at +"),
  );
  const place = element("div", { class: "plot" });
  const side = element("div", { class: "side" }, table, told, legend);
  const body = element("div", { class: "body" }, element("div", { class: "plane" }, place, side));

  let plot;
  let drawn;
  const star = Array.from({ length: 10 }, (_, i) => {
    const [radius, angle] = [i % 2 ? 4 : 10, (i * Math.PI) / 5];
    return `${radius * Math.sin(angle)} ${-radius * Math.cos(angle)}`;
  });
  const within = (value) => Math.min(SIDE[1], Math.max(SIDE[0], value));

  function layout(width) {
    const wide = width >= 760; // below that, the table would not fit beside the plot
    const size = Math.min(520, Math.round(wide ? 0.56 * width : width));
    body.classList.toggle("wide", wide);
    const axes = { x: SIDE, y: SIDE, ticks: 1, labels: ["first weight", "second weight"] };
    // Both axes in the same units: the margins take 42 pixels of the width and 44 of the height.
    plot = new Plot(place, { width: size, height: size + 2, ...axes, title: "theta among the optima of the tasks" });
    const many = (count, tag, of) => Array.from({ length: count }, (_, i) => svg(plot.inside, tag, of(i)));
    const task = (i) => `--colour: var(--task-${i})`;
    drawn = {
      adapted: many(LEVELS.length, "ellipse", (i) => ({ class: LEVELS[i] === 1 ? "level through" : "level" })),
      centre: many(1, "path", () => ({ class: "centre" }))[0],
      own: many(6, "ellipse", (i) => ({ class: "own", style: task(i >> 1) })),
      paths: many(3, "path", (i) => ({ class: "curve path", style: task(i) })),
      arrows: Object.keys(METHODS).map((method, i) => {
        const style = `--colour: var(--${COLOUR[method]}); --thick: ${7 - 2 * i}px`; // those below stay visible
        return { method, node: svg(plot.inside, "path", { class: "arrow", style }) };
      }),
    };
    drawn.ends = many(3, "circle", (i) => ({ class: "phi", r: 4, style: task(i) })); // above the arrows
    drawn.handles = [0, 1, 2].map((i) =>
      plot.handle({
        name: `optimum of task ${i + 1}`,
        draw(parent) {
          svg(parent, "path", { class: "optimum", d: `M${star.join("L")}Z`, style: task(i) });
          svg(parent, "text", { x: 10, y: -6 }, `θ*${"₁₂₃"[i]}`);
        },
        get: () => model.get("optima")[i],
        move(x, y) {
          const moved = model.get("optima").map((old, j) => (i === j ? [within(x), within(y)] : old));
          model.set("optima", moved);
        },
        done: () => model.save_changes(),
      }),
    );
    drawn.handles.push(
      plot.handle({
        name: "theta",
        draw(parent) {
          svg(parent, "circle", { class: "theta", r: 6 });
          svg(parent, "text", { x: 9, y: 17 }, "θ");
        },
        get: () => model.get("theta"),
        move: (x, y) => model.set("theta", [within(x), within(y)]),
        done: () => model.save_changes(),
      }),
    );
  }

  /** A shaft and a head along a direction, from theta. */
  function arrow(theta, direction) {
    const [x, y] = [plot.px(theta[0]), plot.py(theta[1])];
    const size = length(direction);
    if (size < 1e-9) return "";
    const [u, v] = [direction[0] / size, -direction[1] / size]; // in pixels, where y points down
    const long = plot.px(REACH) - plot.px(0);
    const at = (ahead, aside) => `${(x + ahead * u - aside * v).toFixed(2)} ${(y + ahead * v + aside * u).toFixed(2)}`;
    return `M${at(0, 0)}L${at(long, 0)}M${at(long - 11, 7)}L${at(long, 0)}L${at(long - 11, -7)}`;
  }

  function paint() {
    const now = state();
    const { theta, alpha, steps } = now;
    const tasks = tasksOf(now);
    const found = directions(tasks, theta, alpha, steps);
    for (const { method, node } of drawn.arrows) set(node, { d: arrow(theta, found[method]) });

    const F = adaptedLoss(tasks, alpha, steps);
    const height = F.centre && Math.max(rise(F.M, F.centre, theta), 1e-3);
    drawn.adapted.forEach((node, i) => {
      if (F.centre) plot.place(node, F.centre, ellipse(F.M, height * LEVELS[i] ** 2));
      node.style.display = F.centre ? "" : "none";
    });
    const [x, y] = (F.centre ?? [99, 99]).map((value, i) => (i ? plot.py(value) : plot.px(value)));
    set(drawn.centre, { d: `M${x - 5} ${y}h10M${x} ${y - 5}v10` });

    [0, 1, 2].forEach((i) => {
      const shown = i < tasks.length ? "" : "none";
      const nodes = [drawn.own[2 * i], drawn.own[2 * i + 1], drawn.paths[i], drawn.ends[i], plot.over.children[i]];
      for (const node of [...nodes, curvatures[i].node]) node.style.display = shown;
      if (shown) return;
      [0.1, 0.5].forEach((height, j) => plot.place(drawn.own[2 * i + j], tasks[i].optimum, ownEllipse(tasks[i], height)));
      const phis = path(tasks[i], theta, alpha, steps);
      const [cx, cy] = phis[steps];
      set(drawn.paths[i], { d: plot.line(phis) });
      set(drawn.ends[i], { cx: plot.px(cx), cy: plot.py(cy) });
    });
    drawn.handles.forEach((show) => show());

    for (const row of rows) {
      row.share = length(found[row.method]) / Math.max(length(found.maml), 1e-9);
      row.turn = degrees(found[row.method], found.maml);
      row.bar.style.setProperty("--share", Math.min(1, row.share / LONGEST));
      row.bar.classList.toggle("cut", row.share > LONGEST);
      row.ratio.textContent = row.share < 100 ? row.share.toFixed(2) : "> 100";
      row.angle.textContent = `${row.turn.toFixed(0)}°`;
    }
    const sharpest = alpha * Math.max(...tasks.map((task) => task.curvatures[0]));
    told.textContent = `alpha times the largest curvature: ${sharpest.toFixed(2)}`;
  }

  function summary() {
    const compared = ({ method, angle, ratio }) =>
      `${METHODS[method]}: ${angle.textContent} from MAML's direction, ${ratio.textContent} times as long`;
    return `${rows.slice(1).map(compared).join("; ")}.`;
  }
  const title = "The meta-gradients of MAML, first-order MAML and Reptile";
  return mount(model, el, { title, controls, buttons, body, layout, paint, summary });
}

export default { render };
