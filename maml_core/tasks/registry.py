"""Task distributions by name, for recipes: the data that each one reads, and how its tasks are made of them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any, Protocol

from ..episodes import TaskDistribution
from .characters import Characters, CharacterTasks, load_characters
from .mini_imagenet import ImageTasks, MiniImageNet, Pictures
from .sinusoid import SinusoidTasks


class Data(Protocol):
    """A data set with its split; source: its name in results."""

    @property
    def source(self) -> str: ...
    def split(self, part: str, by: str) -> Any: ...


@dataclass(frozen=True)
class TaskSource:
    """Where a recipe's tasks come from.

    build:  (recipe, one part of the data, query points per class) -> the task distribution
    part:   type of one part of the data; NoneType for tasks that are generated
    load:   (source, download) -> all of the data; see `load_characters`
    """

    build: Callable[[Any, Any, int | None], TaskDistribution]
    part: type = NoneType
    load: Callable[[str, bool], Data | None] = lambda source, download: None


TASKS = {
    "sinusoid": TaskSource(
        lambda recipe, _, queries: SinusoidTasks(recipe.shots, queries, tells_wave=recipe.network == "oracle")
    ),
    "omniglot": TaskSource(
        lambda recipe, part, queries: CharacterTasks(part.images, recipe.ways, recipe.shots, queries, recipe.rotations),
        Characters,
        lambda source, download: load_characters(source, download=download),
    ),
    "mini-imagenet": TaskSource(
        lambda recipe, part, queries: ImageTasks(part, recipe.ways, recipe.shots, queries),
        Pictures,
        lambda source, download: MiniImageNet(),
    ),
}
