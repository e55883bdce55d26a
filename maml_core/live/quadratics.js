// Tasks in a plane: L_i(theta) = 1/2 (theta - c_i)^T A_i (theta - c_i), and where three methods move theta.
// Pure functions of plain float64 numbers: tests/browser/test_live.py compares them with maml_core.
//
// A task is {optimum: c, curvatures: [a, b], angle}: the eigenvalues of its Hessian A, and where the first one points.

const times = (A, v) => A.map((row) => row[0] * v[0] + row[1] * v[1]);
const minus = (u, v) => [u[0] - v[0], u[1] - v[1]];
const along = (u, t, v) => [u[0] + t * v[0], u[1] + t * v[1]];
const sum = (vectors) => vectors.reduce((u, v) => along(u, 1, v), [0, 0]);
export const length = (v) => Math.hypot(...v);

/** The symmetric matrix with these eigenvalues, turned by an angle. */
function matrix([a, b], angle) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const mixed = (a - b) * cos * sin;
  return [[a * cos * cos + b * sin * sin, mixed], [mixed, a * sin * sin + b * cos * cos]];
}

/** grad L_i = A (theta - c). */
const slope = (task, theta) => times(matrix(task.curvatures, task.angle), minus(theta, task.optimum));

/** The inner loop of one task: theta, then phi after 1, 2, ... `steps` gradient steps of size alpha. */
export function path(task, theta, alpha, steps) {
  const phis = [theta];
  for (let step = 0; step < steps; step++) phis.push(along(phis[step], -alpha, slope(task, phis[step])));
  return phis;
}

/**
 * Minus each method's meta-gradient at theta, the mean over the tasks.
 *
 * MAML differentiates through the inner steps. Each of them is phi - alpha A (phi - c), whose derivative is I - alpha A,
 * so the chain rule multiplies the gradient at phi by I - alpha A once for each step. First-order MAML leaves that out.
 * Reptile goes from theta to phi, here per unit of alpha and step, so that its length compares with the other two.
 */
export function directions(tasks, theta, alpha, steps) {
  const mean = (one) => sum(tasks.map(one)).map((value) => value / tasks.length);
  const adapted = (task) => path(task, theta, alpha, steps)[steps];
  return {
    maml: mean((task) => {
      const A = matrix(task.curvatures, task.angle);
      let gradient = slope(task, adapted(task));
      for (let step = 0; step < steps; step++) gradient = along(gradient, -alpha, times(A, gradient));
      return gradient.map((value) => -value);
    }),
    firstOrder: mean((task) => slope(task, adapted(task)).map((value) => -value)),
    reptile: mean((task) => minus(adapted(task), theta).map((value) => value / (alpha * steps))),
  };
}

/**
 * The loss after adaptation, averaged over the tasks, as a function of theta: again a quadratic,
 *
 *     F(theta) = lowest + 1/2 (theta - centre)^T M (theta - centre).
 *
 * Since phi - c = (I - alpha A)^steps (theta - c), task i contributes the Hessian M_i = A (I - alpha A)^(2 steps), which
 * has A's eigenvectors. Returns {centre, lowest, M}; centre is null where a step solves the tasks in some direction, so
 * that F is flat along it.
 */
export function adaptedLoss(tasks, alpha, steps) {
  const parts = tasks.map(({ optimum, curvatures, angle }) => {
    const M = matrix(curvatures.map((a) => (a * (1 - alpha * a) ** (2 * steps)) / tasks.length), angle);
    return { M, optimum, pull: times(M, optimum) };
  });
  const M = [0, 1].map((row) => sum(parts.map((part) => part.M[row])));
  const determinant = M[0][0] * M[1][1] - M[0][1] ** 2;
  if (!(determinant > 1e-12 * (M[0][0] + M[1][1]) ** 2)) return { centre: null, lowest: 0, M };
  const pull = sum(parts.map((part) => part.pull));
  const centre = [
    (M[1][1] * pull[0] - M[0][1] * pull[1]) / determinant,
    (M[0][0] * pull[1] - M[0][1] * pull[0]) / determinant,
  ];
  return { centre, lowest: parts.reduce((all, part) => all + rise(part.M, part.optimum, centre), 0), M };
}

/** 1/2 (theta - centre)^T M (theta - centre): how far a quadratic has risen at theta. */
export function rise(M, centre, theta) {
  const d = minus(theta, centre);
  const Md = times(M, d);
  return (d[0] * Md[0] + d[1] * Md[1]) / 2;
}

/** The level line on which the quadratic has risen by `height`: an ellipse's two radii, and the angle of the first one. */
export function ellipse(M, height) {
  const [middle, half] = [(M[0][0] + M[1][1]) / 2, Math.hypot((M[0][0] - M[1][1]) / 2, M[0][1])];
  const angle = Math.atan2(2 * M[0][1], M[0][0] - M[1][1]) / 2;
  return { radii: [middle + half, middle - half].map((eigenvalue) => Math.sqrt((2 * height) / eigenvalue)), angle };
}

/** A task's own level line. */
export const ownEllipse = (task, height) => ellipse(matrix(task.curvatures, task.angle), height);
