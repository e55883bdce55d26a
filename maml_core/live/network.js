// The paper's regression network (section 5.1), 1-40-40-1 with ReLU, and its inner loop.
// Pure functions of plain float64 numbers: tests/browser/test_live.py compares them with maml_core.

const UNITS = 40;
const SIZES = { w1: UNITS, b1: UNITS, w2: UNITS * UNITS, b2: UNITS, w3: UNITS, b3: 1 };

/** theta = {w1, b1, w2, b2, w3, b3} from base64 of its numbers, little-endian float32; w2 is by rows, [in, out]. */
export function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const numbers = Float64Array.from(new Float32Array(bytes.buffer));
  let end = 0;
  return Object.fromEntries(Object.entries(SIZES).map(([name, size]) => [name, numbers.slice(end, (end += size))]));
}

/** The paper's target function: A sin(x - phase). */
export const wave = (x, amplitude, phase) => amplitude * Math.sin(x - phase);

/** What both hidden layers and the output are for one input x. */
function activations({ w1, b1, w2, b2, w3, b3 }, x) {
  const h1 = w1.map((w, i) => Math.max(0, x * w + b1[i]));
  const h2 = b2.slice();
  for (let i = 0; i < UNITS; i++) {
    if (h1[i] === 0) continue; // about half of the units: not worth a row of products
    for (let j = 0; j < UNITS; j++) h2[j] += h1[i] * w2[i * UNITS + j];
  }
  let f = b3[0];
  for (let j = 0; j < UNITS; j++) {
    h2[j] = Math.max(0, h2[j]);
    f += h2[j] * w3[j];
  }
  return { h1, h2, f };
}

/** f(x) for every x. */
export const predict = (theta, xs) => xs.map((x) => activations(theta, x).f);

/** The mean of (f - y)^2. */
export const meanSquaredError = (fs, ys) => fs.reduce((sum, f, k) => sum + (f - ys[k]) ** 2, 0) / fs.length;

/** grad_theta L(theta) for L = 1/K sum_k (f(x_k) - y_k)^2: the chain rule, from the output back to the input. */
export function gradient(theta, xs, ys) {
  const { w2, w3 } = theta;
  const g = Object.fromEntries(Object.entries(theta).map(([name, w]) => [name, new Float64Array(w.length)]));
  xs.forEach((x, k) => {
    const { h1, h2, f } = activations(theta, x);
    const df = (2 * (f - ys[k])) / xs.length; // dL/df of this point
    const dh2 = w3.map((w, j) => (h2[j] > 0 ? df * w : 0)); // a ReLU that is off passes nothing back
    g.b3[0] += df;
    for (let j = 0; j < UNITS; j++) {
      g.w3[j] += df * h2[j];
      g.b2[j] += dh2[j];
    }
    for (let i = 0; i < UNITS; i++) {
      if (h1[i] === 0) continue;
      let dh1 = 0;
      for (let j = 0; j < UNITS; j++) {
        g.w2[i * UNITS + j] += h1[i] * dh2[j];
        dh1 += w2[i * UNITS + j] * dh2[j];
      }
      g.w1[i] += dh1 * x;
      g.b1[i] += dh1;
    }
  });
  return g;
}

/** The inner loop: theta -> phi after `steps` gradient steps of size alpha on the support points (xs, ys). */
export function adapt(theta, xs, ys, alpha, steps) {
  let phi = theta;
  for (let step = 0; step < steps; step++) {
    const g = gradient(phi, xs, ys);
    const moved = ([name, w]) => [name, w.map((value, i) => value - alpha * g[name][i])];
    phi = Object.fromEntries(Object.entries(phi).map(moved));
  }
  return phi;
}
