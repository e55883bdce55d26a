"""The paper's settings by name (appendix A and the authors' code), as data.

The paper's text and code differ here and there, and both are silent on much: docs/choices.md says what we chose.
"""

import difflib
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any

from .episodes import TaskDistribution, query_points
from .learners.adapting import adapting
from .learners.registry import LEARNERS, READERS, check_adapts
from .maml import Learner
from .meta_update import SCHEDULES
from .networks import Network, context_network, conv_network, image_network, mlp_network, sinusoid_network
from .tasks.characters import SPLITS, CharacterTasks
from .tasks.registry import TASKS
from .tasks.shifted import JitteredTasks
from .util.checks import at_least, fraction, one_of, positive

# The paper's largest meta-batch has 3,200 points: this is there to catch a slip of the keyboard.
MOST_POINTS = 1_000_000

NETWORKS = {
    "sinusoid": lambda ways: sinusoid_network(),
    "oracle": lambda ways: sinusoid_network(inputs=3),
    "conv": conv_network,
    "context": context_network,
    "mlp": mlp_network,
    "image": image_network,
}
USUAL_TASKS = {"sinusoid": "sinusoid", "oracle": "sinusoid", "image": "mini-imagenet"}  # the others: "omniglot"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a meta-training, apart from the seed.

    network:          "sinusoid", "oracle" (the sinusoid's, which is told each wave), "conv", "mlp", or "image"
                      for mini-ImageNet
    ways, shots:      N and K
    queries:          query points per class in training and at test; the code takes K, so None means K
    test_queries:     query points per class at test, where they are others than in training
    alpha:            size of an inner step
    inner_steps:      inner steps in meta-training; 0 is no adaptation: plain training on all tasks together
    test_steps:       inner steps at test, ascending; the last is the one that is reported
    meta_batch:       T, tasks per meta-iteration
    meta_iterations:  how long the paper trains
    inner_loss:       "sum" over points divided by K, as the code has it, or "mean"
    split:            of the characters: "characters", as the code has it, or whole "alphabets" (`Characters.split`)
    variant:          one of LEARNERS; those of READERS have no use for alpha, inner_loss and first_order
    adapts:           which weights adapt in the inner loop, one of adapting.CHOICES; some variants decide it themselves
    schedule:         of the learning rate: "constant", or "cosine", from meta_learning_rate to 0 in meta_iterations
    clip:             the largest absolute value in a meta-gradient (None: any), as the code has on mini-ImageNet
    averaging:        what a meta-iteration keeps of theta's running average, which is validated and shipped; None: none
    turned_classes:   in training, a character in each of its four orientations is a class of its own
    jitter:           in training, every picture is turned, moved and scaled a little
    distribution:     of tasks, one of TASKS; None: the one that the paper gives this network
    """

    name: str
    network: str
    ways: int
    shots: int
    alpha: float
    inner_steps: int
    test_steps: tuple[int, ...]
    meta_batch: int
    meta_iterations: int = 60_000
    queries: int | None = None
    inner_loss: str = "sum"
    first_order: bool = False
    rotations: bool = True
    split: str = "characters"
    meta_learning_rate: float = 1e-3
    clip: float | None = None
    variant: str = "maml"
    test_queries: int | None = None
    adapts: str = "everything"
    schedule: str = "constant"
    averaging: float | None = None
    turned_classes: bool = False
    jitter: bool = False
    distribution: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "test_steps", tuple(self.test_steps))  # JSON knows lists only
        one_of(NETWORKS, network=self.network)
        one_of(TASKS, distribution=self.data)
        one_of(LEARNERS, variant=self.variant)
        check_adapts(self.variant, self.adapts)
        one_of(SCHEDULES, schedule=self.schedule)
        one_of(SPLITS, split=self.split)
        counts = ("ways", "shots", "queries", "test_queries", "meta_batch", "meta_iterations")
        at_least(1, **{name: getattr(self, name) for name in counts})
        at_least(0, inner_steps=self.inner_steps)
        positive(alpha=self.alpha, clip=self.clip, meta_learning_rate=self.meta_learning_rate)
        fraction(averaging=self.averaging)
        if (self.turned_classes or self.jitter) and self.data != "omniglot":
            raise ValueError(f"turned_classes and jitter change characters, and {self.name} learns {self.data}.")
        points = self.meta_batch * self.points_per_task
        if points > MOST_POINTS:
            raise ValueError(
                f"meta_batch, ways, shots and queries make {points:,} points in a meta-iteration, and more than "
                f"{MOST_POINTS:,} would fill the memory: lower one of them."
            )
        if self.is_regression and self.ways != 1:
            raise ValueError(f"ways must be 1 for a regression, not {self.ways}: there are no classes to tell apart.")

    @property
    def is_regression(self) -> bool:
        return self.network in ("sinusoid", "oracle")

    @property
    def data(self) -> str:
        """What it learns, one of TASKS: "sinusoid", "omniglot" or "mini-imagenet"."""
        return self.distribution or USUAL_TASKS.get(self.network, "omniglot")

    @property
    def points_per_task(self) -> int:
        """N * (K + Q), support and query points of a task in training."""
        return self.ways * (self.shots + query_points(self.shots, self.queries))

    @property
    def horizon(self) -> int | None:
        """Meta-iterations until the learning rate is 0; None where it stays."""
        return self.meta_iterations if self.schedule == "cosine" else None

    def build_network(self) -> Network:
        return adapting(NETWORKS[self.network](self.ways), self.adapts)

    def build_learner(self) -> Learner:
        build = LEARNERS[self.variant]
        return build(self.build_network(), self.alpha, self.inner_steps, self.inner_loss, self.first_order)

    def build_tasks(self, part: Any = None, queries: int | None = None) -> TaskDistribution:
        """p(T) of this recipe.

        part:    one part of the data's split, such as `load_characters().split("train")`; None for sine waves
        queries: another number of query points per class than in training
        """
        source = TASKS[self.data]
        if source.part is not NoneType and not isinstance(part, source.part):
            raise ValueError(f"{self.name} learns {self.data}: its pictures must be given, not {type(part).__name__}.")
        return source.build(self, part, self.queries if queries is None else queries)

    def build_training_tasks(self, part: Any = None) -> TaskDistribution:
        """p(T) to train on: that of `build_tasks`, with what the recipe adds to it in training alone."""
        tasks = self.build_tasks(part)
        if self.turned_classes and isinstance(tasks, CharacterTasks):
            tasks = replace(tasks, turned_classes=True)
        return JitteredTasks(tasks) if self.jitter else tasks


def _omniglot(ways: int, shots: int, network: str = "conv") -> Recipe:
    name = f"omniglot-{ways}way-{shots}shot" + ("-mlp" if network == "mlp" else "")
    if ways == 5:
        return Recipe(name, network, 5, shots, 0.4, 1, (0, 1, 3), 32)
    return Recipe(name, network, 20, shots, 0.1, 5, (0, 1, 5), 16)


def _mini_imagenet(shots: int) -> Recipe:
    """Section 5.2: 15 query points per class in training and K at test, and clipped meta-gradients, as in the code."""
    return Recipe(
        f"mini-imagenet-5way-{shots}shot", "image", 5, shots, 0.01, 5, (0, 1, 5, 10), 4 if shots == 1 else 2,
        queries=15, test_queries=shots, clip=10.0,
    )  # fmt: skip


def _sinusoid(shots: int) -> Recipe:
    return Recipe(f"sinusoid-{shots}shot", "sinusoid", 1, shots, 0.01, 1, (0, 1, 5, 10), 25, 70_000)


def _first_order(recipe: Recipe) -> Recipe:
    return replace(recipe, name=f"{recipe.name}-first-order", first_order=True)


def _fast(ways: int, shots: int, meta_batch: int, meta_iterations: int) -> Recipe:
    """One step of the last block alone, whose alpha is learned from 1 on; a larger learning rate that falls to 0."""
    return Recipe(
        f"omniglot-{ways}way-{shots}shot-fast", "conv", ways, shots, 1.0, 1, (0, 1), meta_batch, meta_iterations,
        inner_loss="mean", meta_learning_rate=4e-3, variant="learned-alphas", adapts="last block", schedule="cosine",
    )  # fmt: skip


def _best(recipe: Recipe, meta_iterations: int) -> Recipe:
    """The fast recipe for longer, against overfitting: turned characters as classes of their own, and jittered pictures."""
    recipe = replace(recipe, name=recipe.name.replace("fast", "best"), meta_iterations=meta_iterations)
    return replace(recipe, averaging=0.998, turned_classes=True, jitter=True)


def _alphabets(recipe: Recipe) -> Recipe:
    return replace(recipe, name=f"{recipe.name}-alphabets", split="alphabets")


def _reader(recipe: Recipe, variant: str) -> Recipe:
    """The same episodes for another family; reading takes one step."""
    return replace(recipe, name=f"{recipe.name}-{variant}", variant=variant, inner_steps=1, test_steps=(0, 1))


# The code's inner loss is the sum. On 5-way 1-shot the mean learns faster and is not behind after 8,000
# meta-iterations of each (notebook 03), so the mean is what the plain name stands for and ships.
_FIVE_WAY_ONE_SHOT = replace(_omniglot(5, 1), inner_loss="mean")

RECIPES = {
    recipe.name: recipe
    for recipe in (
        *(_sinusoid(shots) for shots in (5, 10, 20)),
        # The paper's baselines (section 5.1), trained without an inner step: one network regressed to all waves
        # together and fine-tuned at test, and an oracle that is told amplitude and phase as two more inputs, and takes
        # no step at test: steps of MAML's size throw it off (its gradients grow with the amplitude that is its input).
        replace(_sinusoid(10), name="sinusoid-pretrained", inner_steps=0),
        replace(_sinusoid(10), name="sinusoid-oracle", network="oracle", inner_steps=0, test_steps=(0,)),
        _FIVE_WAY_ONE_SHOT,
        replace(_omniglot(5, 1), name="omniglot-5way-1shot-sum"),
        _omniglot(5, 5),
        _omniglot(20, 1),
        replace(_omniglot(20, 1), name="omniglot-20way-1shot-mean", inner_loss="mean"),
        _omniglot(20, 5),
        _omniglot(5, 1, "mlp"),
        _omniglot(5, 5, "mlp"),
        _first_order(_FIVE_WAY_ONE_SHOT),
        _first_order(_omniglot(5, 5)),
        _first_order(_omniglot(20, 1)),
        _first_order(_omniglot(20, 5)),
        # What the paper's recipe takes a night for, in minutes: which layers want to adapt is chapter 4's question.
        _fast(5, 1, 32, 4_000),
        replace(_fast(5, 5, 16, 8_000), jitter=True),
        replace(_fast(20, 1, 16, 12_000), jitter=True),
        replace(_fast(20, 5, 8, 6_000), jitter=True),
        *(_best(fast, 24_000) for fast in (_fast(5, 1, 32, 4_000), _fast(20, 1, 16, 12_000))),
        # Alphabets that training never saw: a harder question than the paper's new characters of known alphabets.
        _alphabets(_FIVE_WAY_ONE_SHOT),
        _alphabets(_omniglot(20, 1)),
        *(_reader(recipe, variant) for recipe in (_FIVE_WAY_ONE_SHOT, _omniglot(20, 1)) for variant in READERS),
        _mini_imagenet(1),
        _mini_imagenet(5),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; a ValueError names the nearest ones."""
    if name in RECIPES:
        return RECIPES[name]
    near = difflib.get_close_matches(name, RECIPES, n=3, cutoff=0.4) or list(RECIPES)
    raise ValueError(f"There is no recipe {name!r}; did you mean {' or '.join(near)}?")
