"""maml_core's own engines."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from maml_core.engine import Execution, MetaTrainer
from maml_core.engine.precision import check_precision
from maml_core.episodes import Episodes, TaskDistribution
from maml_core.meta_update import MetaUpdate
from maml_core.networks import Network, Weights
from maml_core.training.autotune import choose_block, choose_chunk
from maml_core.util import seeded_generator

from ..workloads import Presampled, Workload, tasks_at_a_time


class Ours:
    """`MetaTrainer` as `python -m maml_core train` uses it.

    steps_per_call:  100 on the sinusoid, so that whole blocks of meta-iterations are timed
    compiles:        whether another dtype requires another compilation
    network:         by default, the recipe's
    """

    def __init__(self, workload: Workload, engine: str, precision: str = "float32", network: Network | None = None) -> None:
        check_precision(precision, workload.device.type)
        self.workload, self.engine, self.precision = workload, engine, precision
        self.name = f"maml_core {engine}" + (f" {precision}" if precision != "float32" else "")
        self.compiles = engine != "eager"
        recipe, learner = workload.recipe, workload.learner
        self.learner = replace(learner, network=network or learner.network)
        self.chunk = choose_chunk(recipe, workload.device.type, engine=engine)
        self.block = choose_block(recipe) if engine == "compiled" else 1
        self.steps_per_call = 100 if workload.is_regression and self.compiles else 1
        self.detail = tasks_at_a_time(self.chunk) + (f", {self.block} meta-steps at a time" if self.block > 1 else "")
        # The check and the timing share one compilation.
        self._trainer = self._build(workload.theta, workload.tasks, recipe.meta_learning_rate)

    def _build(self, theta: Weights, tasks: TaskDistribution, learning_rate: float) -> MetaTrainer:
        """A trainer whose initial weights are a copy of theta."""
        generator = seeded_generator(1, self.workload.device)
        network = replace(self.learner.network, init=lambda _: {name: w.clone() for name, w in theta.items()})
        execution = Execution(engine=self.engine, precision=self.precision, chunk=self.chunk, block=self.block)
        learner, meta_batch = replace(self.learner, network=network), self.workload.recipe.meta_batch
        return MetaTrainer(learner, tasks, generator, meta_batch, update=MetaUpdate(learning_rate), execution=execution)

    def gradient(self, theta: Weights, episodes: Episodes) -> dict[str, Tensor]:
        """The meta-gradient, computed by the same code that is timed."""
        if self.engine == "graph" or (self.engine == "compiled" and self.chunk is None):
            return self._gradient_from_adam(theta, episodes)
        return self._trainer.gradient(theta, episodes)[0]

    def _gradient_from_adam(self, theta: Weights, episodes: Episodes) -> dict[str, Tensor]:
        """Recover the gradient from Adam's state, since a graph of the whole meta-iteration does not return it.

        With so small a learning rate theta stays where it is, and Adam's first moment after n meta-iterations is
        (1 - 0.9^n) g.
        """
        trainer = self._build(theta, Presampled(episodes), learning_rate=1e-30)
        trainer.run(self.block)
        return {name: m / (1 - 0.9**self.block) for name, m in trainer.state()["first_moment"].items()}

    def start(self) -> Callable[[], None]:
        """Start training; each call runs `steps_per_call` meta-iterations and returns when they are done."""

        def call() -> None:
            self._trainer.run(self.steps_per_call)
            if self.workload.device.type == "cuda":
                torch.cuda.synchronize()

        return call
