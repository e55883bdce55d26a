"""One meta-iteration: sample tasks, take the meta-gradient, move theta with Adam (Algorithm 2, lines 3 to 10)."""

import copy
import os
import shutil
from typing import Any

import torch
from torch import Tensor

from .episodes import TaskDistribution
from .maml import Learner, chunked, gradient_of_sum
from .recipes import Recipe

ENGINES = ("auto", "eager", "compiled")

# Meta-iterations from which compiling is won back. On 2 cores a compiled step saves 140 ms of 255 on 5-way 1-shot
# and takes a minute to compile; on the sinusoid it saves 1 ms and takes 15 s.
WORTH_COMPILING = {"sinusoid": 20_000, "conv": 1_000, "mlp": 2_000}

# Pictures (support and query) in one chunk of tasks, so that its activations fit the CPU's caches.
CHUNK_PICTURES = 80


class MetaTrainer:
    """theta, its optimizer and its generator: all that a meta-iteration changes.

    Usable on its own: `trainer = MetaTrainer(learner, tasks, generator, meta_batch=25)`, then `trainer.step()`.
    `tasks` is any object with `sample(tasks, generator) -> Episodes`.
    """

    def __init__(
        self,
        learner: Learner,
        tasks: TaskDistribution,
        generator: torch.Generator,
        meta_batch: int,
        learning_rate: float = 1e-3,
        chunk: int | None = None,
        compiled: bool = False,
    ) -> None:
        self.tasks, self.generator, self.meta_batch, self.chunk = tasks, generator, meta_batch, chunk
        self.theta = learner.network.init(generator)
        self.optimizer = torch.optim.Adam(self.theta.values(), lr=learning_rate)
        self.iteration = 0
        self._gradient = lambda theta, episodes: gradient_of_sum(learner, theta, episodes)
        if compiled:
            self._gradient = torch.compile(self._gradient, fullgraph=True, dynamic=False)

    def step(self) -> Tensor:
        """One meta-iteration (Algorithm 2, lines 3 to 10); returns the mean query loss after adaptation, a scalar."""
        before = self.generator.get_state()
        try:
            episodes = self.tasks.sample(self.meta_batch, self.generator)
            gradient, losses = chunked(self._gradient, self.theta, episodes, self.chunk)
        except BaseException:  # an interrupted iteration has not been: resuming draws the same tasks again
            self.generator.set_state(before)
            raise
        for name, w in self.theta.items():
            w.grad = gradient[name]
        self.optimizer.step()
        self.iteration += 1
        return losses.mean()

    def state(self) -> dict[str, Any]:
        """A copy of all that is needed to go on as if nothing had happened."""
        return {
            "theta": {name: w.clone() for name, w in self.theta.items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "generator": self.generator.get_state(),
            "iteration": self.iteration,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        for name, w in self.theta.items():
            w.copy_(state["theta"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.iteration = state["iteration"]


def choose_engine(recipe: Recipe, iterations: int, engine: str = "auto") -> tuple[bool, str]:
    """Whether to compile the meta-gradient, and a sentence that says why."""
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}.")
    if engine == "eager":
        return False, "Engine: eager."
    if engine == "auto" and iterations < WORTH_COMPILING[recipe.network]:
        return False, f"Engine: eager ({iterations:,} meta-iterations are too few to win a compilation back)."
    if not any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        return False, "Engine: eager (no C++ compiler was found; install g++ or clang++ to train twice as fast)."
    return True, "Engine: compiled (the first meta-iteration compiles, which takes from 15 s to minutes)."


def choose_chunk(recipe: Recipe) -> int | None:
    """Tasks in a chunk: the largest divisor of the meta-batch that fits the caches; equal chunks compile once.

    None, the whole meta-batch, for the sinusoid.
    """
    if recipe.is_regression:
        return None
    pictures = recipe.ways * (recipe.shots + (recipe.queries or recipe.shots))
    fitting = [n for n in range(1, recipe.meta_batch + 1) if recipe.meta_batch % n == 0 and n * pictures <= CHUNK_PICTURES]
    return max(fitting, default=1)
