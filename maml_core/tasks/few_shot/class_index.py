"""Which examples of a data set belong to which class, found without reading them wherever the data set knows."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from ...util.progress import progress

Label = Hashable
Labels = Sequence[Any] | Tensor | Callable[[int], Any]  # of all examples, or a function of an example's index


def members_of_classes(dataset: Dataset, labels: Labels | None, names: Mapping[str, Label]) -> dict[Label, Tensor]:
    """The indices [M] of each class's examples, int64 and ascending; the classes in the order of their names or labels, or
    of their first examples where labels cannot be compared.

    labels: where the labels come from; if None, the data set's attributes (see `FewShotTasks`), else its items
    names:  of classes, as far as they have any. Omniglot's numbers depend on how the file system lists its folders.
    Raises ValueError for a label that is no class, and for labels that are not as many as the examples.
    """
    total = len(dataset)  # type: ignore[arg-type]
    found: Iterable[Any] | None = map(labels, range(total)) if callable(labels) else labels
    if found is None:
        found = _known(dataset)
    if found is None:
        found = _scanned(dataset, total)
    members: dict[Label, list[int]] = {}
    count = 0
    for index, label in enumerate(found):
        members.setdefault(plain(label, index), []).append(index)
        count += 1
    if count != total:
        raise ValueError(f"labels has {count:,} entries and the data set {total:,} examples: give one label for each.")
    name_of = {label: name for name, label in names.items()}
    order: Iterable[Any] = members
    with suppress(TypeError):  # labels without an order, such as an Enum's: as they come
        order = sorted(members, key=lambda label: (type(label).__name__, name_of.get(label, ""), label))
    return {label: torch.tensor(members[label]) for label in order}


def names_of_classes(dataset: Any) -> dict[str, Label]:
    """The labels that names stand for, where the data set has names for its classes; {} where it has none.

    Raises ValueError for a ConcatDataset whose parts give one label to classes of different names.
    """
    if isinstance(dataset, Subset):
        return names_of_classes(dataset.dataset)
    if isinstance(dataset, ConcatDataset):
        names: dict[str, Label] = {}
        for part in map(names_of_classes, dataset.datasets):
            meanings = {label: name for name, label in names.items()}
            for name, label in part.items():
                if meanings.get(label, name) != name or names.get(name, label) != label:
                    raise ValueError(
                        f"The concatenated data sets number their classes differently ({name!r} is {label!r} in one of "
                        "them, not in all): pass labels=, one for each example."
                    )
            names |= part
        return names
    if getattr(dataset, "target_transform", None):
        return {}  # the names are those of other labels
    named = getattr(dataset, "class_to_idx", None)
    characters = getattr(dataset, "_characters", ())  # torchvision's Omniglot
    return dict(named) if isinstance(named, Mapping) else {name: label for label, name in enumerate(characters)}


def plain(label: Any, index: int | None = None) -> Label:
    """A label as a dictionary key: tensors and numpy's scalars become numbers or strings, whole floats ints.

    index: of the example, for the message of the ValueError where that is not possible.
    """
    value = label.item() if hasattr(label, "item") and math.prod(label.shape) == 1 else label
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (float, Tensor)) or not isinstance(value, Hashable):
        where = "A label" if index is None else f"The label of example {index}"
        found = value if isinstance(value, float) else described(value)
        raise ValueError(
            f"{where} is {found}, not a class: FewShotTasks is for classification; pass labels= with one class for each "
            "example."
        )
    return value


def pair(dataset: Any, index: int) -> tuple[Any, Any]:
    """One item of the data set; ValueError where it is not a pair (x, label)."""
    item = dataset[index]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise ValueError(
            f"Example {index} of the data set is {described(item)}, not a pair (x, label): wrap the data set in one whose "
            "items are such pairs."
        )
    return item[0], item[1]


def _known(dataset: Any) -> list[Any] | None:
    """All labels, as far as the data set's attributes have them."""
    if isinstance(dataset, Subset):
        inner = _known(dataset.dataset)
        return None if inner is None else [inner[index] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_known(part) for part in dataset.datasets]
        return None if None in parts else [label for part in parts for label in part or ()]
    labels = _attribute(dataset)
    change = getattr(dataset, "target_transform", None)
    if labels is None or change is None:
        return labels
    return [change(label) for label in labels]


def _attribute(dataset: Any) -> list[Any] | None:
    for name in ("targets", "labels", "_labels"):
        value: Any = getattr(dataset, name, None)
        try:
            if len(value) == len(dataset):  # a list of the classes' names is shorter
                return value.tolist() if hasattr(value, "tolist") else list(value)
        except TypeError:  # None, a method, or a 0-d tensor
            continue
    pictures = getattr(dataset, "_flat_character_images", None)  # torchvision's Omniglot: (file, class)
    return None if pictures is None else [label for _, label in pictures]


def _scanned(dataset: Any, total: int) -> list[Any]:
    with torch.random.fork_rng(devices=[]):  # transforms may draw, and the caller's draws are not to change
        return [pair(dataset, index)[1] for index in progress(range(total), "finding classes")]


def described(value: Any) -> str:
    if hasattr(value, "shape"):
        return f"a {type(value).__name__} of shape {list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
