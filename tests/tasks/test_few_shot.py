"""Tasks from any data set: what is drawn, by data sets whose x says what it is; where labels come from; splits; errors."""

import enum
import gc
import multiprocessing
import os
import pickle
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split

from maml_core.engine import MetaTrainer
from maml_core.episodes import Episodes
from maml_core.maml import Learner
from maml_core.networks import Network
from maml_core.tasks import CIFAR_FS, FewShotTasks
from maml_core.tasks.few_shot.reading_ahead import ReadAhead
from maml_core.util import seeded_generator as seeded
from tests.modules.oracle import loop_over_tasks, seeded_module

SIZES = (6, 9, 5, 7, 6, 8)  # examples of each class


class Marked(Dataset):
    """x = (class, number within the class), float; classes mixed; no attribute tells the labels."""

    def __init__(self, sizes: tuple[int, ...] = SIZES, transform: Callable | None = None) -> None:
        rows = [(label, number) for label, size in enumerate(sizes) for number in range(size)]
        self.rows = [rows[i] for i in torch.randperm(len(rows), generator=seeded(5)).tolist()]
        self.transform, self.reads = transform or (lambda x: x), 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        return self.transform(torch.tensor(self.rows[index], dtype=torch.float32)), self.rows[index][0]


def same(one: Episodes, other: Episodes) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.tensors(), other.tensors()))


def message(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert text.endswith(".") and "\n" not in text
    return text


# What is drawn.


@pytest.mark.parametrize("cache", [True, False])
def test_episodes_hold_each_example_once_and_its_own_class(cache):
    tasks = FewShotTasks(Marked(), ways=4, shots=2, queries=3, cache=cache)
    episodes = tasks.sample(50, seeded(0))
    assert episodes.support_x.shape == (50, 8, 2) and episodes.query_x.shape == (50, 12, 2)
    seen = set()
    for task in episodes:
        assert task.support_y.tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and task.support_y.dtype == torch.int64
        assert task.query_y.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
        class_of: dict[int, float] = {}
        examples = []
        for part_x, part_y in ((task.support_x, task.support_y), (task.query_x, task.query_y)):
            for (label, number), y in zip(part_x.tolist(), part_y.tolist()):
                assert class_of.setdefault(y, label) == label
                examples.append((label, number))
        assert len(set(class_of.values())) == 4 and len(set(examples)) == 4 * 5
        seen |= set(examples)
    assert seen == set(Marked().rows)  # the last examples of larger classes as well


def test_every_class_gets_every_label():
    episodes = FewShotTasks(Marked(), ways=3, shots=1, queries=1).sample(400, seeded(1))
    pairs = torch.stack([episodes.support_x[..., 0].long(), episodes.support_y], -1).flatten(0, 1)
    found, counts = pairs.unique(dim=0, return_counts=True)
    assert len(found) == 6 * 3 and counts.min() > 30 and counts.max() < 110  # 400 / 6 = 67 expected


def test_the_same_seed_draws_the_same_cached_or_not():
    cached, read = (FewShotTasks(Marked(), 3, 1, 4, cache=cache) for cache in (True, False))
    one, other = seeded(3), seeded(3)
    for _ in range(3):
        assert same(cached.sample(5, one), read.sample(5, other))
    assert torch.equal(one.get_state(), other.get_state())
    assert not same(cached.sample(5, seeded(3)), cached.sample(5, seeded(4)))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    tasks = FewShotTasks(Marked(transform=lambda x: x + torch.rand(2)), 3, 1, 1, cache=False)
    tasks.sample(2, seeded(0))
    tasks.reading_ahead(workers=0).sample(2, seeded(0))
    FewShotTasks(Marked(), 3, 1, 1, cache=True).sample(2, seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_cache_is_read_once_and_only_for_what_is_used():
    data = Marked()
    data.targets = [label for label, _ in data.rows]
    train, test = FewShotTasks(data, 2, 1, 1, cache=True).split(train=[0, 1, 2], test=[3, 4, 5])
    data.reads = 0
    for seed in range(3):
        train.sample(4, seeded(seed))
    assert data.reads == sum(SIZES[:3])
    whole = FewShotTasks(data, 2, 1, 1, cache=True)
    whole.sample(1, seeded(0))
    data.reads = 0
    (part,) = whole.split(test=[3, 4, 5])
    assert same(part.sample(4, seeded(0)), test.sample(4, seeded(0))) and data.reads == sum(SIZES[3:])  # test's own


def test_auto_caches_what_fits(monkeypatch):
    assert FewShotTasks(Marked(), 3, 1, 1).cached
    monkeypatch.setattr("maml_core.tasks.few_shot.distribution.CACHE_BYTES", 8 * sum(SIZES) - 1)
    assert not FewShotTasks(Marked(), 3, 1, 1).cached
    monkeypatch.setattr("maml_core.tasks.few_shot.distribution.CACHE_BYTES", 8 * sum(SIZES))
    assert FewShotTasks(Marked(), 3, 1, 1).cached


def test_a_random_transform_is_drawn_anew_unless_cached():
    def noisy(x):
        return torch.cat([x, torch.rand(1)])

    def noises(cache):
        episodes = FewShotTasks(Marked(transform=noisy), 6, 1, 4, cache=cache).sample(20, seeded(0))
        found: dict[tuple, set] = {}
        for label, number, noise in episodes.query_x.flatten(0, 1).tolist():
            found.setdefault((label, number), set()).add(noise)
        return found.values()

    assert all(len(values) == 1 for values in noises(True))
    assert sum(len(values) for values in noises(False)) > 470  # of 20 tasks x 6 ways x 4 queries
    read = FewShotTasks(Marked(transform=noisy), 6, 1, 4, cache=False)
    assert same(read.sample(2, seeded(0)), read.sample(2, seeded(0)))  # it follows the generator too


# Reading ahead.


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_ahead_changes_nothing(workers):
    tasks = FewShotTasks(Marked(transform=lambda x: x + torch.rand(2) / 8), 3, 1, 4, cache=False)
    ahead, one, other = tasks.reading_ahead(workers), seeded(3), seeded(3)
    for size in (4, 4, 4, 4, 4, 4, 3):
        assert same(ahead.sample(size, one), tasks.sample(size, other))
        assert torch.equal(one.get_state(), other.get_state())  # what a checkpoint holds
    torch.rand(1, generator=one)  # somebody else draws
    other.set_state(one.get_state())
    assert same(ahead.sample(3, one), tasks.sample(3, other))
    saved = one.get_state()
    first = ahead.sample(3, one)
    ahead.sample(3, one)
    one.set_state(saved)  # resumed
    assert same(ahead.sample(3, one), first)


def test_dropout_does_not_start_the_workers_anew(monkeypatch):
    """Its random numbers leave the generator alone, from whose state the tasks that were read ahead follow."""
    starts = []
    start = ReadAhead._start
    monkeypatch.setattr(ReadAhead, "_start", lambda self, *arguments: (starts.append(1), start(self, *arguments)))
    module = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    learner = Learner(Network.from_module(module, cross_entropy, 3), 0.1)
    tasks = FewShotTasks(Marked(), 3, 1, 4, cache=False).reading_ahead(2)
    MetaTrainer(learner, tasks, seeded(0), 4).run(3)
    assert len(starts) == 1


def test_an_error_of_a_worker_arrives_and_reading_goes_on_with_what_was_drawn():
    def broken(x):
        if flag.exists():
            raise OSError("the disk is gone")
        return x

    flag = SimpleNamespace(exists=lambda: False)
    tasks = FewShotTasks(Marked(transform=broken), 3, 1, 1, cache=False)
    ahead, generator = tasks.reading_ahead(1), seeded(0)
    flag.exists = lambda: True
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.sample(2, generator)
    gc.collect()  # the error's traceback is a cycle that holds `ahead`; workers that end as part of it take 5 s
    flag.exists = lambda: False
    assert same(ahead.sample(2, generator), tasks.sample(2, seeded(0)))


def test_workers_leave_ctrl_c_to_the_training():
    tasks = FewShotTasks(Marked(), 3, 1, 1, cache=False)
    ahead, one, other = tasks.reading_ahead(2), seeded(0), seeded(0)
    for iteration in range(8):
        assert same(ahead.sample(2, one), tasks.sample(2, other))
        for worker in multiprocessing.active_children() if iteration > 0 else ():  # by then, both have started
            os.kill(worker.pid, signal.SIGINT)


def test_what_workers_get_can_be_sent_to_them():
    """Where processes do not fork, as on macOS and Windows."""
    examples = FewShotTasks([(torch.ones(1), i % 2) for i in range(4)], 2, 1, 1).examples
    sent, stack = pickle.loads(pickle.dumps((examples, torch.stack)))
    assert torch.equal(stack([sent[0, 0], sent[1, 0]]), torch.ones(2, 1))


def test_cached_tasks_need_no_reading_ahead():
    tasks = FewShotTasks(Marked(), 3, 1, 1, cache=True)
    assert tasks.reading_ahead(2) is tasks


def test_the_cache_can_be_read_by_workers():
    one, two = (FewShotTasks(Marked((40, 50)), 2, 1, 1, cache=True, workers=workers) for workers in (0, 2))
    assert same(one.sample(9, seeded(0)), two.sample(9, seeded(0)))


@pytest.mark.parametrize("cache", [True, False])
def test_a_training_resumes_bit_for_bit(cache):
    def init(generator):
        return {"w": torch.randn(2, 3, generator=generator) / 8, "b": torch.zeros(3)}

    def forward(weights, x):
        return x @ weights["w"] + weights["b"][..., None, :]

    def trainer(tasks):
        network = Network(init, forward, lambda logits, y: cross_entropy(logits.mT, y, reduction="none"), ways=3)
        return MetaTrainer(Learner(network, alpha=0.1, steps=1), tasks, seeded(0), meta_batch=4)

    tasks = FewShotTasks(Marked(), 3, 1, 1, cache=cache)
    plain = trainer(tasks).run(6)
    ahead = trainer(tasks.reading_ahead(1))
    first = ahead.run(3)
    resumed = trainer(tasks.reading_ahead(1))
    resumed.load_state(ahead.state())
    assert torch.equal(torch.cat([first, resumed.run(3)]), plain)


# Devices.


def test_episodes_come_on_the_device_asked_for():
    for cache in (True, False):
        tasks = FewShotTasks(Marked(), 3, 1, 1, cache=cache)
        assert same(tasks.to("cpu").sample(3, seeded(0)), tasks.sample(3, seeded(0)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    tasks = FewShotTasks(Marked(), 3, 1, 1, cache=True)
    read = FewShotTasks(Marked(), 3, 1, 1, cache=False)
    drawn = [t.sample(3, seeded(0, "cuda")) for t in (tasks, tasks.to("cuda"), read, read.to("cuda"))]
    assert all(same(drawn[0], other) for other in drawn[1:]) and drawn[0].support_x.is_cuda
    assert tasks.to("cuda").sample(3, seeded(0)).query_x.is_cuda


# Where labels come from.


@pytest.mark.parametrize("name", ["targets", "labels", "_labels"])
@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda labels: [torch.tensor(label) for label in labels]])
def test_labels_from_attributes_without_reading(name, kind):
    data = Marked()
    setattr(data, name, kind([label for label, _ in data.rows]))
    tasks = FewShotTasks(data, 3, 1, 1)
    assert tasks.classes == tuple(range(6)) and data.reads == 1  # one for the shape


def test_labels_from_reading_all_examples(capsys):
    data = Marked()
    data.labels = ["cat", "dog"]  # names of something, not a label for each example
    tasks = FewShotTasks(data, 3, 1, 1)
    assert tasks.classes == tuple(range(6)) and data.reads == len(data) + 1
    assert "finding classes" in capsys.readouterr().err
    assert repr(tasks) == "FewShotTasks(3-way 1-shot, 1 queries, 6 classes, 41 examples, cached)"


def test_labels_that_are_passed_win():
    data = Marked()
    data.targets = [0] * len(data)
    strings = ["abcdef"[label] for label, _ in data.rows]
    expected = FewShotTasks(Marked(), 3, 1, 1).sample(4, seeded(0))
    for labels in (strings, strings.__getitem__, np.array(strings), [np.str_(label) for label in strings]):
        tasks = FewShotTasks(data, 3, 1, 1, labels=labels)
        assert tasks.classes == tuple("abcdef") and same(tasks.sample(4, seeded(0)), expected)
    assert FewShotTasks(data, 1, 1, 1, labels=lambda i: 1.0 * (i % 2)).classes == (0, 1)


class Kind(enum.Enum):
    ROUND, SQUARE, FLAT = range(3)


@pytest.mark.parametrize("labels", [list(Kind), [("b", 1), (1, "a"), None]])
def test_labels_without_an_order_are_classes_as_they_come(labels):
    """The tasks are those of numbers in that order."""
    data = [(torch.tensor([float(i % 3), i]), labels[(i + 1) % 3]) for i in range(12)]
    tasks = FewShotTasks(data, 2, 1, 2)
    assert tasks.classes == tuple(labels[i] for i in (1, 2, 0))
    numbered = FewShotTasks([(x, i % 3) for i, (x, _) in enumerate(data)], 2, 1, 2)
    assert same(tasks.sample(4, seeded(0)), numbered.sample(4, seeded(0)))
    assert tasks.split(train=[labels[0], labels[1]])[0].classes == (labels[1], labels[0])


@pytest.mark.parametrize("known", [True, False])
def test_labels_through_subsets_and_concatenations(known):
    data = Marked()
    if known:
        data.targets = [label for label, _ in data.rows]
    half = Subset(data, torch.randperm(len(data), generator=seeded(2))[:20].tolist())
    rest, _ = random_split(Marked(), [30, len(data) - 30], generator=seeded(1))
    both = ConcatDataset([half, Subset(ConcatDataset([rest]), range(25))])
    episodes = FewShotTasks(both, 4, 1, 2, skip_small=True).sample(10, seeded(0))
    for task in episodes:
        assert len(set(task.support_x[:, 0].tolist())) == 4
        for (label, _), y in zip(task.query_x.tolist(), task.query_y.tolist()):
            assert label == task.support_x[y, 0]


def test_labels_are_those_after_the_target_transform():
    data = Marked()
    data.targets = [label for label, _ in data.rows]
    data.class_to_idx, data.target_transform = {name: i for i, name in enumerate("abcdef")}, lambda label: label % 2
    tasks = FewShotTasks(data, 2, 1, 1)
    assert tasks.classes == (0, 1)
    with pytest.raises(ValueError, match="'a', which is none of the 2 classes"):
        tasks.split(train=["a", "b"])


# Splits.


def test_fractions_deal_out_disjoint_classes_by_seed():
    tasks = FewShotTasks(Marked((4,) * 20), 2, 1, 1)
    parts = tasks.split(train=0.6, validation=0.2, test=0.2, seed=0)
    assert [len(part.classes) for part in parts] == [12, 4, 4]
    assert sorted(label for part in parts for label in part.classes) == list(range(20))
    assert [p.classes for p in tasks.split(train=0.6, validation=0.2, test=0.2, seed=0)] == [p.classes for p in parts]
    assert tasks.split(train=0.6, test=0.4, seed=1)[0].classes != parts[0].classes
    for part in parts:
        assert set(part.sample(60, seeded(0)).query_x[..., 0].flatten().tolist()) == set(part.classes)
    assert [len(part.classes) for part in tasks.split(a=0.1, b=0.15)] == [2, 3]  # some may be left over
    assert [len(part.classes) for part in tasks.split(**dict.fromkeys("abcdefghij", 0.1))] == [2] * 10


def test_lists_of_labels_and_names():
    data = Marked()
    data.targets, data.class_to_idx = [label for label, _ in data.rows], {name: i for i, name in enumerate("abcdef")}
    train, test = FewShotTasks(data, 2, 1, 1).split(train=["f", 2, np.int64(4)], test=[torch.tensor(1), "a"])
    assert train.classes == (2, 4, 5) and test.classes == (0, 1)
    assert set(test.sample(20, seeded(0)).support_x[..., 0].flatten().tolist()) == {0, 1}


def test_the_split_of_cifar_fs():
    names = [name for part in CIFAR_FS.values() for name in part]
    assert [len(part) for part in CIFAR_FS.values()] == [64, 16, 20] and len(set(names)) == 100
    data = Marked((3,) * 100)
    data.targets, data.class_to_idx = [label for label, _ in data.rows], {n: i for i, n in enumerate(sorted(names))}
    train, validation, test = FewShotTasks(ConcatDataset([data, data]), 5, 1, 5).split(**CIFAR_FS)
    assert [sorted(names)[label] for label in validation.classes] == sorted(CIFAR_FS["validation"])
    assert len(train.classes) == 64 and train.sample(2, seeded(0)).query_x.shape == (2, 25, 2)


# What x may be.


def tiny(x: list) -> FewShotTasks:
    """Two classes of two examples each, from their four x."""
    return FewShotTasks(list(zip(x, (0, 0, 1, 1))), 2, 1, 1)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (torch.full((1, 2), 51, dtype=torch.uint8), torch.full((1, 2), 0.2)),
        (np.full((3,), 255, np.uint8), torch.ones(3)),
        (np.full((3,), True), torch.ones(3)),
        (np.float64(2.5) * np.ones((2, 2)), torch.full((2, 2), 2.5)),
        (torch.tensor([0.1], dtype=torch.float64), torch.tensor([0.1])),
        (Image.new("L", (5, 3), 51), torch.full((1, 3, 5), 0.2)),
    ],
)
def test_x_becomes_float(x, expected, cache):
    tasks = FewShotTasks([(x, i // 2) for i in range(4)], 2, 1, 1, cache=cache)
    found = tasks.sample(1, seeded(0)).support_x
    assert found.dtype == torch.float32 and torch.equal(found, expected.expand(1, 2, *expected.shape))


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_integers_stay_integers(dtype, cache):
    """As nn.Embedding takes them, exactly."""
    ids = torch.tensor([[2**24 + 1, -(2**31) + 1], [3, 4]]).clamp(min=torch.iinfo(dtype).min, max=torch.iinfo(dtype).max)
    for x in (ids.to(dtype), ids.to(dtype).numpy()):
        found = FewShotTasks([(x, i // 2) for i in range(4)], 2, 1, 1, cache=cache).sample(1, seeded(0)).query_x
        assert found.dtype == torch.int64 and torch.equal(found, ids.expand(1, 2, 2, 2))


def test_words_reach_an_embedding():
    """The first loss is that of torch's own layers, one task after the other."""

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(20, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(x).mean(1))

    tasks = FewShotTasks([(torch.tensor([i, 19 - i, i // 2]), i // 4) for i in range(20)], 2, 2, 2)
    module = seeded_module(Words).float()
    trainer = MetaTrainer(Learner(Network.from_module(module, cross_entropy, 2), 0.1), tasks, seeded(0), 3)
    found = trainer.run(1)[0]
    _, expected = loop_over_tasks(module, cross_entropy, tasks.sample(3, seeded(0)), 0.2, 1)
    torch.testing.assert_close(found, expected.mean())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "CMYK", "HSV"])
def test_pil_images_are_converted_as_torchvision_does(mode):
    functional = pytest.importorskip("torchvision.transforms.functional")
    values = torch.randint(0, 256, (4, 6, 4), generator=seeded(0)).to(torch.uint8).numpy()
    image = Image.fromarray(values, "RGBA").convert(mode)
    assert image.mode == mode
    episodes = FewShotTasks([(image, 0), (image, 0)], 1, 1, 1).sample(1, seeded(0))
    assert torch.equal(episodes.support_x[0, 0], functional.to_tensor(image).float())


def as_x(image: Image.Image) -> torch.Tensor:
    """What tasks make of one picture, [C, H, W]."""
    return FewShotTasks([(image, 0), (image, 0)], 1, 1, 1).sample(1, seeded(0)).support_x[0, 0]


def test_palettes_become_their_colours():
    colours = torch.tensor([[200, 0, 50], [10, 250, 0], [0, 0, 0], [255, 255, 255]], dtype=torch.uint8)
    numbers = torch.randint(0, 4, (4, 6), generator=seeded(0))
    image = Image.fromarray(numbers.to(torch.uint8).numpy(), "P")
    image.putpalette(colours.flatten().tolist())
    assert torch.equal(as_x(image), (colours[numbers] / 255).movedim(-1, 0))
    image.info["transparency"] = 2  # the number of a colour, which becomes the white below it
    colours[2] = 255
    assert torch.equal(as_x(image), (colours[numbers] / 255).movedim(-1, 0))


def test_grey_with_16_bits_is_scaled(tmp_path):
    values = torch.randint(0, 2**16, (4, 6), generator=seeded(0)).numpy().astype(np.uint16)
    image = Image.fromarray(values)
    image.save(tmp_path / "deep.png")
    for deep in (image, Image.open(tmp_path / "deep.png")):
        torch.testing.assert_close(as_x(deep)[0], torch.from_numpy(values / 65535).float(), rtol=0, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pil_images_of_an_unknown_range_are_refused(mode):
    with pytest.raises(ValueError, match=f"x of example 0 is a PIL image of mode {mode}, where black and white") as error:
        tiny([Image.new(mode, (3, 3))] * 4)
    assert "give the data set a transform" in message(error)


def test_uint8_is_cached_as_uint8():
    tasks = FewShotTasks([(Image.new("RGB", (4, 4)), i // 2) for i in range(4)], 2, 1, 1)
    tasks.sample(1, seeded(0))
    assert tasks._cache.dtype == torch.uint8 and tasks._cache.shape == (4, 3, 4, 4)


def test_time_series_from_a_csv_file(tmp_path):
    """The recipe in the docstring."""
    lines = [f"{label},{label + 0.5},{number},0" for number in range(20) for label in (3, 1, 2, 7, 5, 9)]
    (tmp_path / "series.csv").write_text("\n".join(lines))
    rows = np.loadtxt(tmp_path / "series.csv", delimiter=",", dtype=np.float32)
    x, y = torch.from_numpy(rows[:, 1:]), torch.from_numpy(rows[:, 0]).long()
    tasks = FewShotTasks(TensorDataset(x, y), ways=5, shots=1, queries=15)
    episodes = tasks.sample(25, seeded(0))
    assert episodes.support_x.shape == (25, 5, 3) and tasks.classes == (1, 2, 3, 5, 7, 9)
    assert torch.equal(episodes.query_x[..., 0].view(25, 5, 15), episodes.support_x[..., :1].expand(25, 5, 15))


# torchvision's data sets, from small files in their layouts.


def test_image_folder(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    for i, name in enumerate(("ant", "bee", "cat", "dog")):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGB", (5, 4), (40 * i, number, 0)).save(tmp_path / name / f"{number}.png")
    tasks = FewShotTasks(datasets.ImageFolder(tmp_path), 2, 1, 2)
    train, test = tasks.split(train=["bee", "dog"], test=["ant", 2])
    episodes = train.sample(8, seeded(0))
    assert episodes.support_x.shape == (8, 2, 3, 4, 5)
    red = (episodes.query_x[:, :, 0, 0, 0] * 255).round()
    assert set(red.flatten().tolist()) == {40, 120} and test.classes == (0, 2)
    assert (red.view(8, 2, 2)[..., 0] == red.view(8, 2, 2)[..., 1]).all()


def test_mnist(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    labels = np.arange(60, dtype=np.uint8) % 10
    pictures = np.broadcast_to(labels[:, None, None] * 20, (60, 28, 28))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 60, 28, 28) + pictures.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 60) + labels.tobytes())
    both = ConcatDataset([datasets.MNIST(tmp_path, train=train) for train in (True, False)])
    tasks = FewShotTasks(both, 5, 2, 10)
    assert tasks.classes == tuple(range(10)) and tasks.split(test=["0 - zero", *range(1, 5)])[0].classes == (0, 1, 2, 3, 4)
    for task in tasks.sample(3, seeded(0)):
        shade = (task.query_x * 255).round().amax((1, 2, 3)).view(5, 10)
        assert task.query_x.shape == (50, 1, 28, 28) and (shade == shade[:, :1]).all() and len(shade[:, 0].unique()) == 5


def omniglot(root: Path, background: bool, monkeypatch) -> Dataset:
    datasets = pytest.importorskip("torchvision.datasets")
    part = "images_background" if background else "images_evaluation"
    for i, character in enumerate(("Greek/character01", "Greek/character02", "Latin/character01")):
        folder = root / "omniglot-py" / part / character
        folder.mkdir(parents=True)
        for drawing in range(5):
            Image.new("1", (105, 105), i % 2).save(folder / f"{drawing:04}.png")
    monkeypatch.setattr(datasets.Omniglot, "_check_integrity", lambda self: True)  # the archive's checksum
    return datasets.Omniglot(root, background)


def test_omniglot_without_strokes(tmp_path, monkeypatch):
    tasks = FewShotTasks(omniglot(tmp_path, True, monkeypatch), 2, 1, 4)
    names = tasks.examples.dataset._characters  # in the file system's order, and numbered in it
    assert [names[label] for label in tasks.classes] == ["Greek/character01", "Greek/character02", "Latin/character01"]
    (part,) = tasks.split(train=["Greek/character02", "Latin/character01"])
    episodes = part.sample(4, seeded(0))
    assert part.classes == tasks.classes[1:] and episodes.query_x.shape == (4, 8, 1, 105, 105)
    assert (episodes.query_x.mean((2, 3, 4)).view(4, 2, 4).sum(1) == 1).all()


def test_characters_with_the_same_number_are_not_mixed_up(tmp_path, monkeypatch):
    one = omniglot(tmp_path, True, monkeypatch)
    other = omniglot(tmp_path, False, monkeypatch)
    other._characters = ["Klingon/character01", *one._characters[1:]]
    with pytest.raises(ValueError, match="number their classes differently") as error:
        FewShotTasks(ConcatDataset([one, other]), 2, 1, 1)
    assert "pass labels=" in message(error)
    labels = [f"{part}{label}" for part in "ab" for _, label in one._flat_character_images]
    assert len(FewShotTasks(ConcatDataset([one, other]), 2, 1, 1, labels=labels).classes) == 6


def test_fake_data_of_torchvision():
    datasets = pytest.importorskip("torchvision.datasets")
    transforms = pytest.importorskip("torchvision.transforms")
    data = datasets.FakeData(40, (3, 8, 8), 4, transform=transforms.Compose([transforms.Resize(6), transforms.ToTensor()]))
    labels = [data[i][1] for i in range(40)]
    tasks = FewShotTasks(data, 2, 1, 2, cache=False)
    of_x = {tuple(data[i][0].flatten().tolist()): labels[i] for i in range(40)}
    for task in tasks.sample(3, seeded(0)):
        classes = [of_x[tuple(x.flatten().tolist())] for x in task.query_x]
        assert classes[0] == classes[1] != classes[2] == classes[3] and task.query_x.shape == (4, 3, 6, 6)


# Errors.


def test_an_iterable_data_set_cannot_be_indexed():
    class Stream(IterableDataset):
        def __iter__(self):
            yield torch.zeros(2), 0

    for stream in (Stream(), iter([])):
        with pytest.raises(ValueError, match="cannot be indexed") as error:
            FewShotTasks(stream, 2, 1, 1)
        assert "give a map-style data set" in message(error)


@pytest.mark.parametrize(
    ("item", "found"),
    [(torch.zeros(2), "a Tensor of shape [2]"), ({"x": 0}, "a dict"), ((0, 1, 2), "a tuple of 3")],
)
def test_items_that_are_no_pair(item, found):
    for labels in (None, [0] * 4):
        with pytest.raises(ValueError, match="not a pair") as error:
            FewShotTasks([item] * 4, 1, 1, 1, labels=labels)
        assert f"Example 0 of the data set is {found}, not a pair (x, label): wrap" in message(error)


def test_x_that_is_no_tensor():
    with pytest.raises(ValueError, match="x of example 0 is a str: give the data set a transform"):
        tiny(["a"] * 4)


def test_differing_shapes():
    x = [torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), torch.zeros(3, 4, 5), torch.zeros(3, 4, 4)]
    with pytest.raises(ValueError, match="All x need one shape") as error:
        tiny(x).sample(1, seeded(0))
    assert "example 0 has [3, 4, 4] (float32) and example 2 [3, 4, 5] (float32)" in message(error)
    assert "a transform that resizes" in message(error)
    with pytest.raises(ValueError, match="need one shape and type"):
        tiny([torch.zeros(2, dtype=torch.uint8), *(torch.zeros(2),) * 3]).sample(1, seeded(0))


def test_small_classes():
    with pytest.raises(ValueError, match="class 2 has 5") as error:
        FewShotTasks(Marked(), 3, 2, 4)
    assert "2 shots and 4 queries need 6" in message(error) and "skip_small=True" in message(error)
    tasks = FewShotTasks(Marked(), 3, 2, 4, skip_small=True)
    assert tasks.classes == (0, 1, 3, 4, 5)
    with pytest.raises(ValueError, match="need 5 classes of at least 8 examples, and there are 2: lower ways"):
        FewShotTasks(Marked(), 5, 1, 7, skip_small=True)


def test_fewer_classes_than_ways():
    with pytest.raises(ValueError, match="7 ways need 7 classes, and there are 6: lower ways"):
        FewShotTasks(Marked(), 7, 1, 1)
    with pytest.raises(ValueError, match="1 ways need 1 classes, and there are 0"):
        FewShotTasks([], 1, 1, 1)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (dict(train=0.7, test=0.3), "3 ways need 3 classes, and test gets 2 of 6: give it more or lower ways."),
        (dict(train=[0, 1, 2], test=[3, 4]), "3 ways need 3 classes, and test gets 2 of 6: give it more or lower ways."),
        (dict(train=0.7, test=0.5), "The fractions of a split add up to 1.2: they must not exceed 1."),
        (dict(train=64, test=20), "train must lie between 0 and 1, not 64."),
        (dict(train=0.5, test=[1, 2, 3]), "split got numbers and lists (train, test): give a fraction for all parts"),
        (dict(train=[0, 1, 2], test=[2, 3, 4]), "test lists 2, which train has: put each class into one part."),
        (dict(train=[0, 1, "cow"]), "train lists 'cow', which is none of the 6 classes (0, 1, 2, 3, 4, ...)."),
    ],
)
def test_splits_that_cannot_be(parts, expected):
    with pytest.raises(ValueError) as error:
        FewShotTasks(Marked(), 3, 1, 1).split(**parts)
    assert message(error).startswith(expected)


@pytest.mark.parametrize("label", [0.25, torch.zeros(10), [1, 2]])
def test_labels_that_are_no_class(label):
    with pytest.raises(ValueError, match="The label of example 0 is .*, not a class") as error:
        FewShotTasks([(torch.zeros(1), label)] * 2, 1, 1, 1)
    assert "pass labels=" in message(error)


def test_labels_of_another_length():
    with pytest.raises(ValueError, match="labels has 40 entries and the data set 41 examples"):
        FewShotTasks(Marked(), 3, 1, 1, labels=[0] * 40)


def test_arguments_that_cannot_be():
    for wrong in ({"cache": "yes"}, {"workers": -1}, {"shots": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be "):
            FewShotTasks(Marked(), **{"ways": 3, "shots": 1, "queries": 1} | wrong)
    with pytest.raises(ValueError, match="tasks must be at least 1"):
        FewShotTasks(Marked(), 3, 1, 1).sample(0, seeded(0))
