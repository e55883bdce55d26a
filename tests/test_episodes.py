"""Episodes and the task distributions that draw them."""

import math

import pytest
import torch

from maml_core.tasks import CharacterTasks, SinusoidTasks, load_characters
from maml_core.tasks.characters import SPLITS, rotate
from maml_core.tasks.disk.listing import data_root
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.tasks.sinusoid import wave


def labelled_images(characters: int = 12, drawings: int = 6) -> torch.Tensor:
    """Pictures whose corner pixels encode character and drawing, so that episodes can be traced."""
    images = torch.zeros(characters, drawings, 28, 28, dtype=torch.uint8)
    images[:, :, 0, 0] = torch.arange(1, characters + 1)[:, None]
    images[:, :, 0, 1] = torch.arange(1, drawings + 1)
    return images


def names(x: torch.Tensor) -> torch.Tensor:
    """The (character, drawing) encoded in unrotated pictures x [..., 1, 28, 28]."""
    return (x[..., 0, 0, :2] * 255).round().int()


def test_shapes_and_iteration(characters, generator):
    episodes = CharacterTasks(characters.images, ways=5, shots=2, queries=3).sample(4, generator)
    assert episodes.support_x.shape == (4, 10, 1, 28, 28) and episodes.query_x.shape == (4, 15, 1, 28, 28)
    assert episodes.support_y.shape == (4, 10) and episodes.query_y.shape == (4, 15)
    assert 0 <= episodes.support_x.min() and episodes.support_x.max() <= 1
    assert len(episodes) == 4 and len(episodes[:3]) == 3
    tasks = list(episodes)
    assert len(tasks) == 4 and torch.equal(tasks[2].query_x, episodes.query_x[2])
    double = episodes.to(dtype=torch.float64)
    assert double.support_x.dtype == torch.float64 and double.support_y.dtype == torch.int64


def test_classes_are_distinct_and_support_and_query_disjoint(generator):
    tasks = CharacterTasks(labelled_images(), ways=5, shots=2, queries=3, rotations=False)
    for task in tasks.sample(50, generator):
        support, query = names(task.support_x), names(task.query_x)
        character_of = dict(zip(task.support_y.tolist(), support[:, 0].tolist()))
        assert len(set(character_of.values())) == 5
        for pictures, labels in ((support, task.support_y), (query, task.query_y)):
            assert [character_of[label] for label in labels.tolist()] == pictures[:, 0].tolist()
        drawn = [tuple(picture) for picture in torch.cat([support, query]).tolist()]
        assert len(set(drawn)) == len(drawn)


def test_characters_and_drawings_are_sampled_uniformly(generator):
    episodes = CharacterTasks(labelled_images(), ways=3, shots=1, rotations=False).sample(4000, generator)
    character, drawing = names(episodes.support_x).flatten(0, 1).T
    for values, n in ((character, 12), (drawing, 6)):
        counts = torch.bincount(values, minlength=n + 1)[1:].double()
        expected = 12000 / n
        assert ((counts - expected).abs() < 5 * math.sqrt(expected)).all()


def test_rotation_is_one_per_class_and_task(generator):
    """All of a class's support and query pictures are rotated by the same angle."""
    tasks = CharacterTasks(labelled_images(), ways=4, shots=2, queries=2)
    seen = set()
    corners = torch.tensor([[0, 0], [27, 0], [27, 27], [0, 27]])  # of the marked corner after 0..3 quarter turns
    for task in tasks.sample(60, generator):
        for label in range(4):
            pictures = torch.cat([task.support_x[task.support_y == label], task.query_x[task.query_y == label]])
            turned = [int(torch.tensor([p[r, c] for r, c in corners.tolist()]).argmax()) for p in pictures[:, 0]]
            assert len(set(turned)) == 1
            seen |= set(turned)
    assert seen == {0, 1, 2, 3}


def test_a_character_in_four_orientations_is_four_classes(generator):
    """All are sampled uniformly, no class occurs twice in a task, and its pictures are rotated by the same angle."""
    tasks = CharacterTasks(labelled_images(3), ways=5, shots=2, turned_classes=True)
    corners = torch.tensor([[0, 0], [27, 0], [27, 27], [0, 27]])
    counts: dict[tuple[int, int], int] = {}
    for task in tasks.sample(400, generator):
        marks = torch.stack([task.support_x, task.query_x]).flatten(0, 1)[:, 0, corners[:, 0], corners[:, 1]]  # [2*N*K, 4]
        labels = torch.cat([task.support_y, task.query_y])
        of_label = [{(round(255 * m.max().item()), int(m.argmax())) for m in marks[labels == label]} for label in range(5)]
        assert all(len(found) == 1 for found in of_label) and len(set.union(*of_label)) == 5
        for found in set.union(*of_label):
            counts[found] = counts.get(found, 0) + 1
    assert len(counts) == 12 and all(abs(count - 2000 / 12) < 5 * math.sqrt(2000 / 12) for count in counts.values())


def test_rotate_agrees_with_rot90(characters):
    x = characters.images[:6, :3].unflatten(0, (2, 3))  # [T=2, N=3, D=3, 28, 28]
    quarters = torch.tensor([[0, 1, 2], [3, 2, 1]])
    turned = rotate(x, quarters)
    for t in range(2):
        for n in range(3):
            assert torch.equal(turned[t, n], torch.rot90(x[t, n], int(quarters[t, n]), (-2, -1)))


def test_same_seed_same_episodes(characters):
    for tasks in (CharacterTasks(characters.images, 5, 1), SinusoidTasks(5)):
        first, again, other = (tasks.sample(3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(first.tensors(), again.tensors()))
        assert not torch.equal(first.support_x, other.support_x)


def test_the_global_generator_is_not_used(characters, generator):
    before = torch.get_rng_state()
    CharacterTasks(characters.images, 5, 1).sample(2, generator)
    SinusoidTasks(5).sample(2, generator)
    draw_glyphs(3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("by, sizes", [("characters", (1100, 100, 423)), ("alphabets", (869, 95, 659))])
def test_splits_are_disjoint_and_complete(characters, by, sizes):
    parts = {part: characters.split(part, by).images for part in SPLITS[by]}
    assert {part: len(images) for part, images in parts.items()} == dict(zip(("train", "validation", "test"), sizes))
    together = torch.cat(list(parts.values())).flatten(1)
    assert torch.equal(together.sum(0), characters.images.flatten(1).sum(0))
    keys = {bytes(character.numpy().tobytes()) for character in together}
    assert len(keys) == len(torch.unique(characters.images.flatten(1), dim=0))
    with pytest.raises(ValueError, match="train, validation, test"):
        characters.split("dev")
    with pytest.raises(ValueError, match="by must be one of characters, alphabets"):
        characters.split("train", "drawers")


def test_no_alphabet_is_divided_between_splits(characters):
    """Checked against Omniglot's own folders."""
    trees = [data_root() / "omniglot-py" / part for part in ("images_background", "images_evaluation")]
    if characters.source != "omniglot" or not all(tree.is_dir() for tree in trees):
        pytest.skip("Omniglot's folders are not on disk")
    alphabets = [folder.parent.name for tree in trees for folder in sorted(tree.glob("*/*"))]
    train, validation, test = alphabets[:869], alphabets[869:964], alphabets[964:]
    assert (len(set(train)), len(set(validation)), len(set(test))) == (27, 3, 20)
    assert len(set(alphabets)) == 50
    assert torch.equal(characters.split("test", "alphabets").images, characters.images[964:])


def test_glyphs_are_reproducible_and_differ_between_characters():
    glyphs = draw_glyphs(130)
    assert glyphs.shape == (130, 20, 28, 28) and glyphs.dtype == torch.uint8
    assert torch.equal(glyphs, draw_glyphs(130)) and not torch.equal(glyphs, draw_glyphs(130, seed=1))
    assert torch.equal(glyphs[:128], draw_glyphs(140)[:128])
    assert (glyphs.flatten(2).float().std(1).mean() > 1) and (glyphs.flatten(1).max(1).values > 128).all()
    assert load_characters("glyphs").source == "glyphs"


def test_sinusoid_points_lie_on_their_waves(generator):
    tasks = SinusoidTasks(shots=5, queries=7)
    amplitude, phase = tasks.draw_waves(1000, generator)
    assert 0.1 <= amplitude.min() and amplitude.max() <= 5 and 0 <= phase.min() and phase.max() <= math.pi
    episodes = tasks.points_on(amplitude, phase, generator)
    assert episodes.support_x.shape == (1000, 5, 1) and episodes.query_y.shape == (1000, 7)
    assert -5 <= episodes.support_x.min() and episodes.support_x.max() <= 5
    assert torch.equal(episodes.query_y, amplitude * torch.sin(episodes.query_x[..., 0] - phase))
    assert wave(torch.tensor(math.pi / 2), 2.0, 0.0) == 2


def test_sinusoid_support_can_be_restricted_to_one_half(generator):
    episodes = SinusoidTasks(10, x_range=(0, 5)).sample(100, generator)
    assert episodes.support_x.min() >= 0 and episodes.query_x.min() < -4


def test_oracle_gets_amplitude_and_phase(generator):
    """As extra inputs beside x; the points are the same as without them."""
    state = generator.get_state()
    told = SinusoidTasks(5, queries=7, tells_wave=True).sample(20, generator)
    untold = SinusoidTasks(5, queries=7).sample(20, generator.set_state(state))
    assert told.support_x.shape == (20, 5, 3) and told.query_x.shape == (20, 7, 3)
    x, amplitude, phase = told.query_x.unbind(-1)
    torch.testing.assert_close(told.query_y, wave(x, amplitude, phase))
    assert torch.equal(x[..., None], untold.query_x) and torch.equal(told.support_y, untold.support_y)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(ways=5, shots=11), "11 shots and 11 queries need 22 drawings"),
        (dict(ways=5, shots=6, queries=15), "6 shots and 15 queries need 21 drawings"),
        (dict(ways=2000, shots=1), "2000 ways need 2000 characters"),
        (dict(ways=5, shots=0), "must be at least 1"),
        (dict(ways=5, shots=1, queries=0), "must be at least 1"),
    ],
)
def test_invalid_episodes_are_refused(characters, arguments, message):
    with pytest.raises(ValueError, match=message):
        CharacterTasks(characters.images, **arguments)


def test_invalid_sinusoids_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        SinusoidTasks(0)
    with pytest.raises(ValueError, match="smaller to a larger"):
        SinusoidTasks(5, x_range=(1, 1))
