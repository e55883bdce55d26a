"""JAX: sampling, meta-gradient and Adam in one jitted function, in the fastest variant that we found.

Tried on S without any gain: threefry instead of rbg, sampling inside the scan, unrolled scans, longer blocks, a
hand-batched forward, and XLA's flags for threads, fast math and scheduling.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import Array
from jax.flatten_util import ravel_pytree
from torch import Tensor

from maml_core import networks
from maml_core.engine.precision import check_precision
from maml_core.episodes import Episodes
from maml_core.tasks import sinusoid

from ..timing import Clock
from ..workloads import Workload, tasks_at_a_time
from . import jax_network

# On GPUs JAX multiplies float32 matrices in TF32 by default; all others here do not.
jax.config.update("jax_default_matmul_precision", "highest")

CHUNKS = (1, 2, 4, 8, None)


def to_jax(x: Tensor, device: jax.Device) -> Array:
    array = x.detach().cpu().numpy()
    return jax.device_put(array if array.dtype.kind == "f" else array.astype(np.int32), device)


def sample_waves(key: Array, steps: int, tasks: int, shots: int) -> jax_network.Task:
    """Like `SinusoidTasks.sample`, but `steps` meta-batches at once: x [steps, T, K, 1], y [steps, T, K]."""
    keys = jax.random.split(key, 3)
    low, high = sinusoid.AMPLITUDE
    amplitude = jax.random.uniform(keys[0], (steps, tasks, 1), minval=low, maxval=high)
    phase = jax.random.uniform(keys[1], (steps, tasks, 1), maxval=math.pi)
    x = jax.random.uniform(keys[2], (steps, tasks, 2 * shots), minval=-5.0, maxval=5.0)
    y = amplitude * jnp.sin(x - phase)
    return x[..., :shots, None], y[..., :shots], x[..., shots:, None], y[..., shots:]


class Jax:
    """One variant.

    chunk:           tasks under one vmap (see `jax_network.meta_gradient`)
    steps_per_call:  meta-steps per call of the jitted function
    """

    compiles = False  # it does, but within seconds

    def __init__(
        self,
        workload: Workload,
        name: str,
        chunk: int | None = None,
        stock: bool = False,
        steps_per_call: int = 1,
        precision: str = "float32",
    ) -> None:
        self.workload, self.name, self.chunk, self.steps_per_call = workload, name, chunk, steps_per_call
        self.convolution = jax_network.stock_convolution if stock else jax_network.im2col_convolution
        self.precision = precision
        if precision == "bf16":
            self.convolution = jax_network.bf16_convolution
        self.device = jax.devices("gpu" if workload.device.type == "cuda" else "cpu")[0]
        convolution = "" if workload.is_regression else f"{'stock convolution' if stock else 'im2col'}, "
        self.detail = convolution + tasks_at_a_time(chunk)

    def _gradient(self, theta: jax_network.Weights, episodes: jax_network.Task) -> jax_network.Weights:
        return jax_network.meta_gradient(self.workload.learner, theta, episodes, self.chunk, self.convolution)

    def gradient(self, theta: networks.Weights, episodes: Episodes) -> dict[str, Tensor]:
        """The meta-gradient; in float64, for this call only, if theta is float64."""
        with jax.enable_x64(next(iter(theta.values())).dtype == torch.float64):
            arrays = {name: to_jax(w, self.device) for name, w in theta.items()}
            gradient = jax.jit(self._gradient)(arrays, tuple(to_jax(x, self.device) for x in episodes.tensors()))
            return {name: torch.from_numpy(np.array(g)).to(self.workload.device) for name, g in gradient.items()}

    def start(self) -> Callable[[], None]:
        """Start training; each call runs `steps_per_call` meta-steps and returns when they are done."""
        workload, recipe = self.workload, self.workload.recipe
        theta = {name: to_jax(w, self.device) for name, w in workload.theta.items()}
        # All weights as one vector: Adam is then a single kernel instead of one per tensor.
        flat, unravel = ravel_pytree(theta)

        def meta_step(state: tuple[Array, ...], episodes: jax_network.Task) -> tuple[tuple[Array, ...], None]:
            w, mean, square, step = state
            gradient, _ = ravel_pytree(self._gradient(unravel(w), episodes))
            step, mean, square = step + 1, 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            move = mean / (1 - 0.9**step) / (jnp.sqrt(square / (1 - 0.999**step)) + 1e-8)
            return (w - recipe.meta_learning_rate * move, mean, square, step), None

        if workload.is_regression:

            def sample_and_step(state: tuple[Array, ...], key: Array) -> tuple[tuple[Array, ...], Array]:
                key, subkey = jax.random.split(key)
                episodes = sample_waves(subkey, self.steps_per_call, recipe.meta_batch, recipe.shots)
                return jax.lax.scan(meta_step, state, episodes)[0], key

            jitted = jax.jit(sample_and_step)
            extra = jax.device_put(jax.random.key(1), self.device)
        else:

            def one_step(
                state: tuple[Array, ...], episodes: jax_network.Task
            ) -> tuple[tuple[Array, ...], jax_network.Task]:
                return meta_step(state, episodes)[0], episodes

            jitted = jax.jit(one_step)
            extra = tuple(to_jax(x, self.device) for x in workload.episodes.tensors())

        current = [jax.device_put((flat, 0 * flat, 0 * flat, jnp.zeros(())), self.device), extra]

        def call() -> None:
            current[:] = jax.block_until_ready(jitted(*current))

        return call


def variants(workload: Workload) -> list[Jax]:
    """The sides to time: for S, one step per call and a scan of 100; else a vmap over all tasks, and the fastest chunks."""
    if workload.is_regression:
        return [Jax(workload, "jax jit"), Jax(workload, "jax jit+scan", steps_per_call=100)]
    sides = [Jax(workload, "jax vmap"), fastest(workload)]
    try:
        check_precision("bf16", workload.device.type)
    except ValueError:  # not supported by this processor
        return sides
    return [*sides, fastest(workload, "bf16")]


def fastest(workload: Workload, precision: str = "float32") -> Jax:
    """The fastest number of tasks at a time; on a GPU, XLA's own convolution is tried too."""
    name = "jax" if precision == "float32" else f"jax {precision}"
    print(f"{workload.name}: finding the fastest number of tasks at a time for {name}", flush=True)
    timed: list[tuple[float, Jax]] = []
    for stock in (False, True) if workload.device.type == "cuda" and precision == "float32" else (False,):
        for chunk in CHUNKS:
            if chunk is not None and workload.recipe.meta_batch % chunk:
                continue
            side = Jax(workload, name, chunk, stock, precision=precision)
            clock = Clock(side.start(), 1)
            clock.warm_up()
            for _ in range(3):
                clock.sample()
            timed.append((clock.median, side))
    return min(timed, key=lambda pair: pair[0])[1]
