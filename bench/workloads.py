"""The workloads: four of the paper's settings, taken from `maml_core.recipes` so that they cannot drift apart."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maml_core import reference
from maml_core.episodes import Episodes, TaskDistribution
from maml_core.maml import Learner
from maml_core.networks import Weights
from maml_core.recipes import Recipe, find_recipe
from maml_core.tasks import load_characters
from maml_core.util import seeded_generator

RECIPE_NAMES = {
    "S": "sinusoid-10shot",
    "O": "omniglot-5way-1shot",
    "O20": "omniglot-20way-1shot",
    "O5": "omniglot-5way-5shot",
}


@dataclass(frozen=True)
class Presampled:
    """A task distribution that always returns the same episodes, so that all sides use the same ones."""

    episodes: Episodes

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        return self.episodes


@dataclass(frozen=True)
class Workload:
    """One setting, with everything that a side needs to run it.

    tasks:     what meta-steps sample from: the sinusoid's task distribution, which is timed too, or `Presampled`
    theta:     initial weights, from `Network.init`
    episodes:  one meta-batch, on which gradients are compared
    data:      "sinusoid", "omniglot" or "glyphs"
    """

    name: str
    recipe: Recipe
    tasks: TaskDistribution
    theta: Weights
    episodes: Episodes
    data: str

    @property
    def learner(self) -> Learner:
        return self.recipe.build_learner()

    @property
    def is_regression(self) -> bool:
        return self.recipe.is_regression

    @property
    def device(self) -> torch.device:
        return self.episodes.query_x.device


def build_workload(
    name: str, device: str = "cpu", tasks: int | None = None, inner_steps: int | None = None, seed: int = 0
) -> Workload:
    """Build the workload of that name; the sweeps override the recipe's `tasks` and `inner_steps`."""
    recipe = find_recipe(RECIPE_NAMES[name])
    recipe = replace(recipe, meta_batch=tasks or recipe.meta_batch, inner_steps=inner_steps or recipe.inner_steps)
    generator = seeded_generator(seed, device)
    theta = recipe.build_network().init(generator)
    if recipe.is_regression:
        distribution = recipe.build_tasks()
        episodes = distribution.sample(recipe.meta_batch, generator)
        return Workload(name, recipe, distribution, theta, episodes, "sinusoid")
    characters = load_characters("auto", download=False).to(device)
    episodes = recipe.build_tasks(characters.split("train")).sample(recipe.meta_batch, generator)
    return Workload(name, recipe, Presampled(episodes), theta, episodes, characters.source)


def reference_gradient(workload: Workload, theta: Weights, episodes: Episodes) -> dict[str, Tensor]:
    """The plain loop's meta-gradient, in the dtype of its arguments."""
    learner = workload.learner
    forward = reference.sinusoid_forward if workload.is_regression else reference.conv_forward
    if workload.is_regression:
        inner = outer = reference.mean_squared_error(forward)
    else:
        outer = reference.mean_cross_entropy(forward)
        inner = reference.sum_over_shots(forward, learner.network.ways) if learner.inner_loss == "sum" else outer
    return reference.meta_gradient(inner, outer, theta, episodes, learner.alpha, learner.steps, learner.network.frozen)


def tasks_at_a_time(chunk: int | None) -> str:
    """A description of how many tasks a side processes at a time."""
    if chunk is None:
        return "all tasks at once"
    return "one task at a time" if chunk == 1 else f"{chunk} tasks at a time"
