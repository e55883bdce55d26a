"""The plain loop of `maml_core.reference`: what one would write without a library; its float32 error sets the limit."""

from collections.abc import Callable

import torch
from torch import Tensor

from maml_core.episodes import Episodes
from maml_core.networks import Weights
from maml_core.util import seeded_generator

from ..workloads import Workload, reference_gradient, tasks_at_a_time


class PlainLoop:
    """`reference.meta_gradient` and torch's Adam."""

    name, steps_per_call, compiles, precision, detail = "plain loop", 1, False, "float32", tasks_at_a_time(1)

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    def gradient(self, theta: Weights, episodes: Episodes) -> dict[str, Tensor]:
        return reference_gradient(self.workload, theta, episodes)

    def start(self) -> Callable[[], None]:
        """Start training; each call runs one meta-step and returns when it is done."""
        workload = self.workload
        theta = {name: w.clone() for name, w in workload.theta.items()}
        adam = torch.optim.Adam(theta.values(), lr=workload.recipe.meta_learning_rate)
        generator = seeded_generator(1, workload.device)

        def meta_step() -> None:
            episodes = workload.tasks.sample(workload.recipe.meta_batch, generator)
            for name, g in self.gradient(theta, episodes).items():
                theta[name].grad = g
            adam.step()
            if workload.device.type == "cuda":
                torch.cuda.synchronize()

        return meta_step
