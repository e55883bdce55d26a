"""Property tests: any valid number works, an invalid one raises an error that names it, and there is never a traceback."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maml_core import __main__ as cli
from maml_core.cli import commands
from maml_core.evaluation import evaluate
from maml_core.maml import Learner
from maml_core.networks import sinusoid_network
from maml_core.tasks import Characters, CharacterTasks, SinusoidTasks
from maml_core.tasks.glyphs import draw_glyphs
from maml_core.util import seeded_generator
from tests.small import make_trainer

CHARACTERS, DRAWINGS = 9, 20
EXTREMES = st.sampled_from([-(2**63), -(10**20), -1, 0, 2**31, 2**63, 10**20])
# Mostly valid numbers: in a command with ten of them, one invalid one is enough.
NUMBERS = st.one_of(*[st.integers(1, 12)] * 8, st.integers(-3, 25), EXTREMES)
SIZES = st.one_of(*[st.floats(1e-4, 0.05)] * 8, st.floats(), st.sampled_from([0.0, -0.01, math.nan, math.inf]))
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return draw_glyphs(CHARACTERS)


def is_positive(value: float) -> bool:
    return 0 < value < math.inf


def outcome(make) -> tuple[object, str]:
    """What a call returns, or the message of its ValueError; any other exception fails the test."""
    try:
        return make(), ""
    except ValueError as error:
        return None, str(error)


@QUICK
@given(
    shots=st.integers(-2, 12), queries=st.none() | st.integers(-2, 12), tasks=st.integers(-2, 5), seed=st.integers(0, 99)
)
def test_waves_have_the_requested_shapes(shots, queries, tasks, seed):
    made, refusal = outcome(lambda: SinusoidTasks(shots, queries).sample(tasks, seeded_generator(seed)))
    wrong = [
        name
        for name, value in (("shots", shots), ("queries", queries), ("tasks", tasks))
        if value is not None and value < 1
    ]
    if wrong:
        assert any(name in refusal for name in wrong)
        return
    assert made.support_x.shape == (tasks, shots, 1) and made.support_y.shape == (tasks, shots)
    assert made.query_x.shape == (tasks, queries or shots, 1)
    assert made.support_x.abs().max() <= 5 and made.query_y.abs().max() <= 5


@QUICK
@given(
    ways=st.integers(-1, CHARACTERS + 2), shots=st.integers(-1, 13), queries=st.none() | st.integers(-1, 13),
    tasks=st.integers(-1, 4), rotations=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_episodes_of_characters_are_valid(images, ways, shots, queries, tasks, rotations, seed):
    made, refusal = outcome(
        lambda: CharacterTasks(images, ways, shots, queries, rotations).sample(tasks, seeded_generator(seed))
    )
    given_numbers = {"ways": ways, "shots": shots, "queries": shots if queries is None else queries, "tasks": tasks}
    wrong = [name for name, value in given_numbers.items() if value < 1]
    wrong += ["ways"] * (ways > CHARACTERS) + ["shots"] * (shots + given_numbers["queries"] > DRAWINGS)
    if wrong:
        assert any(name in refusal for name in wrong)
        return
    K, Q = shots, given_numbers["queries"]
    assert made.support_x.shape == (tasks, ways * K, 1, 28, 28) and made.query_x.shape == (tasks, ways * Q, 1, 28, 28)
    assert made.support_y.tolist() == [[label for label in range(ways) for _ in range(K)]] * tasks
    pictures = torch.cat([made.support_x.unflatten(1, (ways, K)), made.query_x.unflatten(1, (ways, Q))], 2)
    for task in pictures.flatten(1, 2).flatten(2):  # no drawing occurs twice in a task, as support or query
        assert len(task.unique(dim=0)) == ways * (K + Q)


@QUICK
@given(alpha=SIZES, steps=NUMBERS)
def test_learners_accept_valid_settings_only(alpha, steps):
    made, refusal = outcome(lambda: Learner(sinusoid_network(), alpha, steps))
    if is_positive(alpha) and steps >= 0:
        assert made.alpha == alpha
    else:
        assert "alpha" in refusal or "steps" in refusal


@QUICK
@given(meta_batch=NUMBERS, rate=SIZES, chunk=st.none() | NUMBERS, clip=st.none() | SIZES)
def test_trainers_accept_valid_settings_only(meta_batch, rate, chunk, clip):
    learner, tasks = Learner(sinusoid_network(), 0.01), SinusoidTasks(2)
    made, refusal = outcome(
        lambda: make_trainer(learner, tasks, seeded_generator(0), meta_batch, learning_rate=rate, chunk=chunk, clip=clip)
    )
    wrong = ["meta_batch"] * (meta_batch < 1) + ["learning_rate"] * (not is_positive(rate))
    wrong += ["chunk"] * (chunk is not None and chunk < 1) + ["clip"] * (clip is not None and not is_positive(clip))
    assert (made is None) == bool(wrong)
    assert not wrong or any(name in refusal for name in wrong)


@QUICK
@given(steps=st.lists(st.integers(-2, 4), max_size=3), test_tasks=st.integers(-1, 5), batch=st.integers(-1, 4))
def test_evaluation_scores_the_requested_number_of_tasks(steps, test_tasks, batch):
    learner, tasks = Learner(sinusoid_network(), 0.01), SinusoidTasks(2)
    theta = learner.network.init(seeded_generator(0))
    made, refusal = outcome(lambda: evaluate(learner, theta, tasks, steps, seeded_generator(1), test_tasks, batch))
    wrong = ["steps"] * (not steps or min(steps) < 0) + ["test_tasks"] * (test_tasks < 2) + ["batch"] * (batch < 1)
    if wrong:
        assert any(name in refusal for name in wrong)
    else:
        assert made.keys() == set(steps) and all(score.shape == (test_tasks,) for score in made.values())


# The command line. Options are given as --name=value: argparse takes "-1e-05" for an option of its own.

WAYS = st.sampled_from([1, 1, 1, 1, 1, 1, -1, 0, 2])
TRAIN = {
    "alpha": SIZES, "clip": SIZES, "shots": NUMBERS, "queries": NUMBERS, "ways": WAYS, "seed": NUMBERS,
    "meta-batch": NUMBERS, "chunk-tasks": NUMBERS, "validate-every": NUMBERS,
    "iterations": st.sampled_from([1, 2, 1, 2, 1, 2, 0, -1]),
}  # fmt: skip
EVALUATE = {"alpha": SIZES, "shots": NUMBERS, "queries": NUMBERS, "ways": WAYS, "seed": NUMBERS}
EVALUATE |= {"tasks": st.one_of(st.integers(2, 6), st.integers(2, 6), st.sampled_from([1, 0, -3, -(10**20)]))}


def wrong_in(options: dict[str, float]) -> set[str]:
    """The invalid options, determined independently; "points" if each is valid but together they need too many points."""
    wrong = {name for name in ("alpha", "clip") if name in options and not is_positive(options[name])}
    counts = ("shots", "queries", "meta-batch", "chunk-tasks", "validate-every", "iterations")
    wrong |= {name for name in counts if options.get(name, 1) < 1}
    wrong |= {"ways"} if options.get("ways", 1) != 1 else set()
    wrong |= {"tasks"} if options.get("tasks", 2) < 2 else set()
    wrong |= {"seed"} if not 0 <= options.get("seed", 0) < 2**63 else set()
    shots = options.get("shots", 5)
    if options.get("meta-batch", 25) * options.get("ways", 1) * (shots + options.get("queries", shots)) > 1_000_000:
        wrong.add("points")
    return wrong


@pytest.mark.parametrize("command, strategies", [("train", TRAIN), ("evaluate", EVALUATE)])
def test_the_command_line_handles_any_numbers(command, strategies, tmp_path_factory, monkeypatch, capsys):
    monkeypatch.setattr(commands, "load_characters", lambda *arguments, **settings: Characters(draw_glyphs(9), "glyphs"))

    codes = []

    @QUICK
    @given(options=st.fixed_dictionaries({}, optional=strategies))
    def check(options: dict[str, float]) -> None:
        fixed = {"iterations": 1, "meta-batch": 2} if command == "train" else {"tasks": 2}
        options = fixed | options
        out = [f"--out={tmp_path_factory.mktemp('out') / 'run'}"] if command == "train" else []
        code = cli.main([command, "sinusoid-5shot", *(f"--{name}={value}" for name, value in options.items()), *out])
        codes.append(code)
        said, wrong = capsys.readouterr().err, wrong_in(options)
        if not wrong and "no longer finite" not in said:
            assert code == 0, said
            return
        assert code == 2
        sentence = said.splitlines()[-1]
        assert sentence.startswith("maml_core: ") and "Traceback" not in said
        if wrong:
            assert any(name.replace("-", "_") in sentence.replace("-", "_") for name in wrong), (sentence, wrong)
        else:
            assert options["alpha"] > 0.05  # only a large step can diverge in two meta-iterations

    check()
    assert min(codes.count(0), codes.count(2)) > 5  # both outcomes occurred
