"""N-way K-shot tasks from any data set of (x, label)."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from ...episodes import Episodes, TaskDistribution, query_points
from ...util.checks import at_least, fraction
from ...util.seeding import seeded_generator
from ..sampling import check_classes, class_episodes, draw_examples
from .class_index import Label, Labels, members_of_classes, names_of_classes, plain
from .examples import Examples, Key, scaled
from .reading_ahead import ReadAhead

CACHE_BYTES = 2_000_000_000  # what cache="auto" reads into memory


class FewShotTasks:
    """p(T) over the classes of a data set: any map-style `torch.utils.data.Dataset` whose items are pairs (x, label).

        tasks = FewShotTasks(dataset, ways=5, shots=1, queries=15)
        train, validation, test = tasks.split(train=0.6, validation=0.2, test=0.2, seed=0)  # no class in two of them
        episodes = train.sample(25, torch.Generator().manual_seed(0))

    Time series from a csv file of rows (label, v1, .., vn):

        rows = numpy.loadtxt("series.csv", delimiter=",", dtype=numpy.float32)
        x, y = torch.from_numpy(rows[:, 1:]), torch.from_numpy(rows[:, 0]).long()
        tasks = FewShotTasks(torch.utils.data.TensorDataset(x, y), ways=5, shots=1, queries=15)
        episodes = tasks.sample(25, torch.Generator().manual_seed(0))  # support_x [25, 5, n]

    x is `dataset[i][0]`, after the data set's own transforms: a tensor or a numpy array, which keep their shape, or a PIL
    image, which becomes [C, H, W] (a palette as RGB, 16-bit grey with 8 bits). uint8 is taken for pixels and scaled to
    0..1; other integers, such as the ids that nn.Embedding takes, become int64, and other types float32. All x must have
    one shape and type. Labels stand for classes; for regression, write a task distribution of your own.

    ways:       N, distinct classes in a task
    shots:      K, support examples of each
    queries:    Q, query examples of each; default K
    labels:     the class of every example in a sequence, or a function of the example's index. By default, classes come
                from the data set's attribute `targets`, `labels` or `_labels` (or Omniglot's own), also through Subset and
                ConcatDataset; where there is none, all examples are read once to find them. A class is an int, a string
                or anything hashable; classes are in the order of `<`, or of their first examples where that fails.
    skip_small: leave out classes of fewer than K + Q examples, which are an error otherwise
    cache:      True keeps all x in memory, in one tensor that is read when the first tasks are drawn (uint8 and PIL
                images as bytes: leave out ToTensor). It freezes random transforms: each example is transformed once.
                False reads the examples of every meta-batch from the data set, with new random transforms; those that
                draw from torch follow the generator. "auto", the default, is True for up to 2 GB.
    workers:    processes that read the cache; 0 reads in this one

    `classes` are the labels in use. Raises ValueError where such tasks cannot be drawn, and says why.
    """

    def __init__(
        self, dataset: Dataset, ways: int, shots: int, queries: int | None = None, *, labels: Labels | None = None,
        skip_small: bool = False, cache: bool | str = "auto", workers: int = 0,
    ) -> None:  # fmt: skip
        if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
            raise ValueError(
                f"{type(dataset).__name__} cannot be indexed, and tasks draw examples by index: give a map-style data set "
                "(with __getitem__ and __len__); list(dataset) is one if it fits into memory."
            )
        if cache not in (True, False, "auto"):
            raise ValueError(f'cache must be True, False or "auto", not {cache!r}.')
        at_least(0, workers=workers)
        self.ways, self.shots, self.queries, self.workers = ways, shots, query_points(shots, queries), workers
        need = self.shots + self.queries
        self._names = names_of_classes(dataset) if labels is None else {}
        members = members_of_classes(dataset, labels, self._names)
        if skip_small:
            members = {label: indices for label, indices in members.items() if len(indices) >= need}
        few = min(members, key=lambda label: len(members[label]), default=None)
        check_classes(
            ways, shots, self.queries, len(members), f"classes of at least {need} examples" if skip_small else "classes",
            len(members[few]) if members else 0,
            f"examples of every class (skip_small=True leaves out those of fewer), and class {few!r} has",
        )  # fmt: skip
        self._device: torch.device | None = None
        self._cache: Tensor | None = None
        self._use(members)
        self.examples = Examples(dataset, int(self._indices[0]))
        size = len(self._indices) * self.examples.like.nbytes
        self.cached = size <= CACHE_BYTES if cache == "auto" else bool(cache)

    def __repr__(self) -> str:
        sizes = f"{len(self.classes)} classes, {len(self._indices):,} examples, {'cached' if self.cached else 'read anew'}"
        return f"FewShotTasks({self.ways}-way {self.shots}-shot, {self.queries} queries, {sizes})"

    @property
    def classes(self) -> tuple[Label, ...]:
        return tuple(self._members)

    def split(self, *, seed: int = 0, **parts: float | Sequence[Any]) -> tuple["FewShotTasks", ...]:
        """Tasks of disjoint classes, one distribution for each part, in the order of the arguments.

        parts: by name, either fractions of the classes, which are then dealt out at random by `seed`; or lists of labels,
               for which the names in the data set's `class_to_idx` may stand: `split(train=["cat", 3], test=["dog", 7])`.
        Raises ValueError for fractions that add up to more than 1, for a class that is unknown or listed twice, and for a
        part of fewer classes than `ways`.
        """
        shares = {name: share for name, share in parts.items() if isinstance(share, (int, float))}
        if shares and len(shares) < len(parts):
            raise ValueError(f"split got numbers and lists ({', '.join(parts)}): give a fraction for all parts, or a list.")
        chosen = self._dealt(shares, seed) if shares else self._listed(parts)
        for name, labels in chosen.items():
            if len(labels) < self.ways:
                raise ValueError(
                    f"{self.ways} ways need {self.ways} classes, and {name} gets {len(labels)} of {len(self.classes)}: "
                    "give it more or lower ways."
                )
        return tuple(self._part(labels) for labels in chosen.values())

    def to(self, device: torch.device | str) -> "FewShotTasks":
        """The same tasks with their episodes on `device`. The cache is moved there, so that sampling happens there too.

        Without this, episodes are on the generator's device. Engines that record a CUDA graph need a cache on the GPU.
        """
        moved = copy.copy(self)
        moved._device = torch.device(device)
        moved._counts = self._counts.to(device)
        if self.cached:
            moved._cache = self._all().to(device)
        return moved

    def reading_ahead(self, workers: int = 2) -> TaskDistribution:
        """The same tasks for a training: workers read the next meta-batches while it computes. Cached tasks need none.

        `sample` returns exactly what it would return here, and leaves the generator in the same state: what comes next is
        drawn from a copy of it. So a checkpoint resumes bit for bit, with or without workers. Another generator, state or
        number of tasks than expected is answered correctly as well, but drops what was read ahead and starts the workers
        again; so make one of these for the training, and validate on the tasks themselves. Call `to` first, if at all.
        Each worker holds up to two meta-batches in shared memory (/dev/shm).
        """
        at_least(0, workers=workers)
        return self if self.cached else ReadAhead(self, workers)

    def sample(self, tasks: int, generator: torch.Generator) -> Episodes:
        """`tasks` tasks: x float32, or int64 for integers, [T, N*K, ...], y int64 [T, N*K] = 0 0 .. 1 1 .. N-1.

        Classes are drawn without replacement within a task, and examples within a class. Raises ValueError where x of
        the drawn examples differ in shape.
        """
        if self.cached:
            cache = self._all()
            rows, _ = self._draw(tasks, generator)
            return self.episodes(cache[rows.to(cache.device)], generator.device)
        x = torch.stack([self.examples[key] for key in self.keys(tasks, generator)])
        return self.episodes(x.unflatten(0, (tasks, self.ways, -1)), generator.device)

    # What reading ahead needs as well.

    def keys(self, tasks: int, generator: torch.Generator) -> list[Key]:
        """What to read for `tasks` tasks: T*N*(K+Q) indices of examples, with seeds for random transforms."""
        rows, seeds = self._draw(tasks, generator)
        return list(zip(self._indices[rows.cpu()].flatten().tolist(), seeds.flatten().tolist()))

    def episodes(self, x: Tensor, device: torch.device) -> Episodes:
        """Episodes of x [T, N, K+Q, ...], on the device that `to` was given, else on this one."""
        drawn = class_episodes(x.to(self._device or device), self.shots)
        return replace(drawn, support_x=scaled(drawn.support_x), query_x=scaled(drawn.query_x))

    def _draw(self, tasks: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows of the drawn examples [T, N, K+Q], class after class as in the cache, and a seed for each."""
        at_least(1, tasks=tasks)
        counts, each = self._counts.to(generator.device), self.shots + self.queries
        rows, numbers = draw_examples(counts, self._largest, tasks, self.ways, each, generator)
        return rows, (numbers * 2**24).long()  # float32 has 24 random bits

    # Classes and the cache.

    def _use(self, members: dict[Label, Tensor]) -> None:
        """Draw from these classes. The largest size is a number of Python's, as asking the GPU for it would wait."""
        self._members, self._indices = members, torch.cat(list(members.values()))
        sizes = [len(indices) for indices in members.values()]
        self._counts, self._largest = torch.tensor(sizes, device=self._device), max(sizes)

    def _all(self) -> Tensor:
        if self._cache is None:
            self._cache = self.examples.read(self._indices.tolist(), self.workers)
        return self._cache

    def _part(self, labels: Sequence[Label]) -> "FewShotTasks":
        part, kept_labels = copy.copy(self), set(labels)
        part._use({label: indices for label, indices in self._members.items() if label in kept_labels})
        if self._cache is not None:
            kept = torch.isin(self._indices, part._indices)  # both are class after class, in the same order
            part._cache = self._cache[kept.to(self._cache.device)]
        return part

    def _dealt(self, shares: dict[str, float], seed: int) -> dict[str, list[Label]]:
        fraction(**shares)
        if sum(shares.values()) > 1 + 1e-9:
            raise ValueError(f"The fractions of a split add up to {sum(shares.values()):g}: they must not exceed 1.")
        order = torch.randperm(len(self.classes), generator=seeded_generator(seed)).tolist()
        dealt, total = {}, 0.0
        for name, share in shares.items():
            start, total = round(total * len(order)), total + share
            dealt[name] = [self.classes[i] for i in order[start : round(total * len(order))]]
        return dealt

    def _listed(self, parts: dict[str, Any]) -> dict[str, list[Label]]:
        part_of: dict[Label, str] = {}
        for name, labels in parts.items():
            for given in map(plain, labels):
                label = given if given in self._members else self._names.get(given, given)  # type: ignore[call-overload]
                if label not in self._members:
                    some = ", ".join(map(repr, self.classes[:5])) + (", ..." if len(self.classes) > 5 else "")
                    raise ValueError(f"{name} lists {given!r}, which is none of the {len(self.classes)} classes ({some}).")
                if label in part_of:
                    raise ValueError(f"{name} lists {given!r}, which {part_of[label]} has: put each class into one part.")
                part_of[label] = name
        return {name: [label for label in part_of if part_of[label] == name] for name in parts}
