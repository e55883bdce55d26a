"""mini-ImageNet's recipe from end to end, on a small tree of pictures that are drawn here."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from maml_core import __main__ as cli
from maml_core import reference
from maml_core.layers import max_pool, neighbourhoods
from maml_core.maml import Learner, meta_gradient
from maml_core.networks import Weights, image_network
from maml_core.recipes import find_recipe
from maml_core.tasks import ImageTasks, MiniImageNet
from maml_core.tasks.mini_imagenet import Pictures
from maml_core.training import checkpoints
from maml_core.util import seeded_generator as seeded
from tests.engine.test_trainer import NoHostSync

CLASSES = {"train": 6, "val": 5, "test": 5}
PICTURES = 17


def draw(folder: Path, number: int, hue: int, size: tuple[int, int] = (84, 84), ending: str = "jpg") -> Path:
    """A disc on a ground, in colours of its class."""
    image = Image.new("RGB", size, (hue, 255 - hue, 90))
    ImageDraw.Draw(image).ellipse((5 + number, 10, 50 + number, 60), fill=(255 - hue, hue, 10 * number))
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / f"{number:04}.{ending}", quality=95)
    return folder / f"{number:04}.{ending}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "miniimagenet"
    for part, classes in CLASSES.items():
        for c in range(classes):
            for number in range(PICTURES + (c == 0)):  # the first class has one more
                draw(root / part / f"n{c:08}", number, 40 * c)
    return root


def test_pictures_are_read_class_after_class(tree):
    part = MiniImageNet(tree).split("train")
    assert part.images.shape == (6 * PICTURES + 1, 3, 84, 84) and part.images.dtype == torch.uint8
    assert part.counts.tolist() == [PICTURES + 1] + [PICTURES] * 5
    with Image.open(tree / "train" / "n00000002" / "0003.jpg") as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(part.images[PICTURES + 1 + PICTURES + 3].numpy(), expected)
    assert MiniImageNet(tree).split("validation").counts.sum() == 5 * PICTURES + 1


def test_other_sizes_and_endings_are_taken_and_scaled(tmp_path):
    for part in CLASSES:
        draw(tmp_path / part / "a", 0, 10, (500, 333), "png")
        draw(tmp_path / part / "a", 1, 10, (84, 84), "JPEG")
    assert MiniImageNet(tmp_path).split("test").images.shape == (2, 3, 84, 84)


def test_episodes_hold_each_picture_once_and_its_own_class(tree):
    part = MiniImageNet(tree).split("train")
    tasks = ImageTasks(part, ways=5, shots=2, queries=15)
    episodes = tasks.sample(3, seeded(0))
    assert episodes.support_x.shape == (3, 10, 3, 84, 84) and episodes.query_x.shape == (3, 75, 3, 84, 84)
    assert episodes.query_y[0].tolist() == [label for label in range(5) for _ in range(15)]
    assert 0 <= episodes.support_x.min() and episodes.support_x.max() <= 1
    of_class = torch.arange(6).repeat_interleave(part.counts)
    for task in episodes:
        x = torch.cat([task.support_x.unflatten(0, (5, 2)), task.query_x.unflatten(0, (5, 15))], 1)  # [N, K+Q, ...]
        found = (x.flatten(2)[:, :, None] * 255).round() == part.images.flatten(1)
        places = found.all(-1).float().argmax(-1)  # [N, K+Q]: which picture it is
        assert found.all(-1).any(-1).all() and len(places.unique()) == 5 * 17
        classes = of_class[places]
        assert (classes == classes[:, :1]).all() and len(classes[:, 0].unique()) == 5


def test_pictures_that_are_no_bytes_are_refused(tree):
    part = MiniImageNet(tree).split("train")
    with pytest.raises(
        ValueError, match="ImageTasks takes pictures as torch.uint8, in 0..255, not torch.float32: multiply"
    ):
        ImageTasks(replace(part, images=part.images.float() / 255), 3, 1)


def test_sampling_asks_no_tensor_for_a_number(tree):
    """As a CUDA graph requires."""
    tasks = ImageTasks(MiniImageNet(tree).split("train"), 3, 1)
    with NoHostSync():
        tasks.sample(2, seeded(0))


def test_every_picture_is_drawn_sooner_or_later(tree):
    """Those of the larger class as well, which others do not have as many of."""
    part = MiniImageNet(tree).split("test")
    marked = Pictures(
        torch.arange(len(part.images), dtype=torch.uint8).view(-1, 1, 1, 1), part.counts
    )  # picture = its number
    seen: set[int] = set()
    for seed in range(4):
        episodes = ImageTasks(marked, 5, 8, 9).sample(4, seeded(seed))
        seen |= set((torch.cat([episodes.support_x, episodes.query_x], 1) * 255).round().flatten().int().tolist())
    assert seen == set(range(len(part.images)))


# The network.


def plain_forward(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    """One task with torch's own convolution, normalization and pooling: x [B, 3, H, W] -> logits [B, N]."""
    for i in range(1, 5):
        x = F.conv2d(x, weights[f"conv{i}"].permute(3, 2, 0, 1), padding="same")
        x = F.max_pool2d(F.relu(F.batch_norm(x, None, None, bias=weights[f"beta{i}"], training=True, eps=1e-3)), 2)
    return x.permute(0, 2, 3, 1).flatten(1) @ weights["w5"] + weights["b5"]


def test_the_network_is_torchs_layers():
    network = image_network(5)
    weights = {name: w.double() for name, w in network.init(seeded(0)).items()}
    weights["beta2"] = torch.randn(32, generator=seeded(1), dtype=torch.float64)
    x = torch.rand((2, 3, 3, 84, 84), generator=seeded(2), dtype=torch.float64)
    assert weights["w5"].shape == (5 * 5 * 32, 5) and network.frozen == {f"beta{i}" for i in range(1, 5)}
    expected = torch.stack([plain_forward(weights, task) for task in x])
    torch.testing.assert_close(network.forward(weights, x), expected, rtol=1e-9, atol=1e-9)


def test_weights_of_their_own_for_every_task():
    network = image_network(3, filters=4, size=20)
    one, other = ({n: w.double() for n, w in network.init(seeded(seed)).items()} for seed in (0, 1))
    x = torch.rand((2, 4, 3, 20, 20), generator=seeded(2), dtype=torch.float64)
    both = {name: one[name] if name in network.frozen else torch.stack([one[name], other[name]]) for name in one}
    expected = [network.forward(w, x[i : i + 1])[0] for i, w in enumerate((one, other))]
    torch.testing.assert_close(network.forward(both, x), torch.stack(expected))


def test_its_meta_gradient_is_the_loops(tree):
    """Second order, through pooling and all, in float64."""
    network = image_network(2, filters=3, size=20)
    theta = {name: w.double() for name, w in network.init(seeded(0)).items()}
    episodes = ImageTasks(MiniImageNet(tree).split("test"), 2, 1, 2).sample(2, seeded(3)).to(dtype=torch.float64)
    small = type(episodes)(*(F.interpolate(t.flatten(0, 1), 20).unflatten(0, t.shape[:2]) if t.dim() == 5 else t
                             for t in episodes.tensors()))  # fmt: skip
    ours, _ = meta_gradient(Learner(network, 0.05, steps=2, inner_loss="mean"), theta, small)
    loss = reference.mean_cross_entropy(plain_forward)
    theirs = reference.meta_gradient(loss, loss, theta, small, 0.05, 2, network.frozen)
    for name, g in theirs.items():
        torch.testing.assert_close(ours[name], g, rtol=1e-8, atol=1e-10)


def test_pieces_against_torch():
    x = torch.randn((1, 2, 7, 6, 3), generator=seeded(0), dtype=torch.float64)
    channels_first = x[0].movedim(-1, 1)
    kernel = torch.randn((4, 3, 3, 3), generator=seeded(1), dtype=torch.float64)
    ours = neighbourhoods(x) @ kernel.permute(2, 3, 1, 0).flatten(0, 2)
    torch.testing.assert_close(ours[0].movedim(-1, 1), F.conv2d(channels_first, kernel, padding=1))
    torch.testing.assert_close(max_pool(x)[0].movedim(-1, 1), F.max_pool2d(channels_first, 2))


# From the command line to the evaluation.


def test_recipe_is_the_papers():
    recipe = find_recipe("mini-imagenet-5way-1shot")
    assert (recipe.alpha, recipe.inner_steps, recipe.test_steps[-1], recipe.meta_batch) == (0.01, 5, 10, 4)
    assert (recipe.queries, recipe.test_queries, recipe.clip, recipe.inner_loss) == (15, 1, 10.0, "sum")
    assert (
        sum(w.numel() for w in recipe.build_network().init(seeded(0)).values())
        == 9 * 3 * 32 + 3 * 9 * 32 * 32 + 4 * 32 + 800 * 5 + 5
    )


def test_train_and_evaluate_end_to_end(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAML_DATA", str(tree.parent))
    monkeypatch.setattr("maml_core.training.monitor.VALIDATION_TASKS", 2)
    out = tmp_path / "run"
    command = ["train", "mini-imagenet-5way-1shot", "--iterations", "2", "--meta-batch", "1", "--queries", "3"]
    assert cli.main([*command, "--inner-steps", "1", "--out", str(out)]) == 0
    assert "on mini-imagenet into" in capsys.readouterr().out
    assert checkpoints.load(out / "weights.pt")["data"] == "mini-imagenet"
    judge = ["evaluate", "mini-imagenet-5way-1shot", "--weights", str(out / "weights.pt"), "--tasks", "2", "--json"]
    for more, queries in ([], 1), (["--queries", "4"], 4), (["--shots", "2"], 2), (["--shots", "2", "--queries", "3"], 3):
        assert cli.main([*judge, *more]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["data"] == "mini-imagenet" and result["queries"] == queries and result["steps"] == 10
        assert 0 <= result["accuracy"] <= 1


def refused(arguments: list[str], capsys) -> str:
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


def test_missing_pictures_name_where_to_get_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MAML_DATA", str(tmp_path))
    said = refused(["train", "mini-imagenet-5way-1shot", "--iterations", "1"], capsys)
    assert "No mini-ImageNet under" in said and "https://image-net.org" in said and "train/CLASS" in said
    (tmp_path / "miniimagenet" / "train").mkdir(parents=True)
    assert "(val, test missing)" in refused(["train", "mini-imagenet-5way-1shot", "--iterations", "1"], capsys)


def test_what_does_not_fit_is_refused_by_name(tree, tmp_path):
    part = MiniImageNet(tree).split("test")
    with pytest.raises(ValueError, match="6 ways need 6 classes, and there are 5"):
        ImageTasks(part, 6, 1)
    with pytest.raises(ValueError, match="3 shots and 15 queries need 18 pictures of a class, and n00000001 has 17"):
        ImageTasks(part, 5, 3, 15)
    with pytest.raises(ValueError, match="part must be one of train, validation, test"):
        MiniImageNet(tree).split("all")
    for part_name in CLASSES:
        draw(tmp_path / part_name / "a", 0, 10)
    (tmp_path / "test" / "a" / "0000.jpg").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="0000.jpg is not a readable picture"):
        MiniImageNet(tmp_path).split("test")
    (tmp_path / "val" / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no pictures"):
        MiniImageNet(tmp_path).split("validation")


# mini-ImageNet as people have it.


@pytest.fixture
def tables(tree, tmp_path) -> Path:
    """The same pictures as Ravi and Larochelle's split has them: one folder, and three tables in no order."""
    (tmp_path / "images").mkdir()
    for part in CLASSES:
        rows = []
        for file in sorted((tree / part).glob("*/*.jpg"), reverse=True):
            name = f"{part}{file.parent.name}{file.name}"
            (tmp_path / "images" / name).symlink_to(file)
            rows.append(f"{name},{file.parent.name}")
        (tmp_path / f"{part}.csv").write_text("\n".join(["filename,label", *rows, ""]))
    return tmp_path


def test_tables_and_folders_give_the_same(tree, tables):
    for part in ("train", "validation", "test"):
        ours, expected = MiniImageNet(tables).split(part), MiniImageNet(tree).split(part)
        assert torch.equal(ours.images, expected.images) and torch.equal(ours.counts, expected.counts)
        assert ours.names == expected.names == tuple(f"n{c:08}" for c in range(len(expected.counts)))


def test_tables_of_windows_are_read(tree, tables):
    """A byte order mark, other line ends, a column of numbers in front."""
    lines = (tables / "val.csv").read_text().split()
    numbered = [f"{number},{line}" for number, line in zip(["", *range(len(lines))], lines)]
    (tables / "val.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(numbered).encode())
    assert torch.equal(MiniImageNet(tables).split("validation").images, MiniImageNet(tree).split("validation").images)


def test_pictures_that_a_table_names_in_vain(tables):
    gone = sorted((tables / "images").glob("test*"))[3:6]
    for file in gone:
        file.unlink()
    with pytest.raises(ValueError, match="lists 86 pictures, and 3 of them are missing, first .*: add them") as refusal:
        MiniImageNet(tables).split("test")
    assert str(gone[0]) in str(refusal.value)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\xfe\x00", b"filename,label\n", b"filename,label\nx.jpg\n"])
def test_tables_that_are_none_are_named(tables, content):
    (tables / "test.csv").write_bytes(content)
    with pytest.raises(ValueError, match="test.csv (is not a table|has no rows|has a row without)"):
        MiniImageNet(tables).split("test")


def test_what_is_missing_beside_the_tables_is_named(tables):
    (tables / "val.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"\(val.csv missing\).*train.csv, val.csv and test.csv beside it"):
        MiniImageNet(tables)


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found"])
def test_what_systems_leave_behind_is_no_class(tree, tmp_path, name):
    """Neither a folder with pictures in it, at any depth, nor what looks like a picture beside the others."""
    root = shutil.copytree(tree, tmp_path / "mine")
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        draw(folder / name, 0, 10)
        (folder / "._0000.jpg").write_bytes(b"no picture")
        (folder / "Thumbs.db").write_bytes(b"no picture")
    for part in ("train", "validation", "test"):
        ours, expected = MiniImageNet(root).split(part), MiniImageNet(tree).split(part)
        assert ours.names == expected.names and torch.equal(ours.images, expected.images)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1", "CMYK", "P", "RGBA"])
def test_unusual_modes_keep_their_colours(tmp_path, mode):
    """A ramp of greys, or as much of it as the mode has, and opaque where it could be transparent."""
    ramp = np.tile(np.linspace(0, 255, 84).round().astype(np.uint8), (84, 1))
    grey = Image.fromarray(ramp if mode != "1" else ramp // 128 * 255)
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else (
        grey.convert("RGB").convert("CMYK") if mode == "CMYK" else grey.convert(mode))  # fmt: skip
    for part in CLASSES:
        (tmp_path / part / "a").mkdir(parents=True)
        image.save(tmp_path / part / "a" / "0.jpg", format="TIFF")  # what a file is says its beginning, not its name
    ours = MiniImageNet(tmp_path).split("test").images[0]
    assert np.array_equal(ours.numpy(), np.stack([np.asarray(grey.convert("L"))] * 3))


def test_a_class_with_too_few_pictures_is_named(tree, tmp_path, monkeypatch, capsys):
    root = shutil.copytree(tree, tmp_path / "miniimagenet")
    for file in sorted((root / "train" / "n00000003").iterdir())[5:]:
        file.unlink()
    monkeypatch.setenv("MAML_DATA", str(tmp_path))
    said = refused(["train", "mini-imagenet-5way-1shot", "--iterations", "1"], capsys)
    assert "1 shots and 15 queries need 16 pictures of a class, and n00000003 has 5" in said
    part = MiniImageNet(root).split("train").to("cpu")
    with pytest.raises(ValueError, match="n00000003 has 5"):
        ImageTasks(part, 5, 1, 15)


def test_without_pillow_a_sentence_names_it(tree, monkeypatch, capsys):
    monkeypatch.setenv("MAML_DATA", str(tree.parent))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    said = refused(["train", "mini-imagenet-5way-1shot", "--iterations", "1"], capsys)
    assert said == "maml_core: Reading pictures needs Pillow: pip install pillow."
