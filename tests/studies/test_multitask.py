"""Multi-task baselines: many regressors on the task axis, their average, and the study's results."""

import json
from dataclasses import replace

import pytest
import torch

from maml_core import __main__ as cli
from maml_core.cli import commands
from maml_core.evaluation import evaluate, mean_and_ci95
from maml_core.meta_update import no_moments
from maml_core.networks import Weights, sinusoid_network
from maml_core.results import load_study, load_study_weights
from maml_core.results.literature import SINUSOID
from maml_core.studies import multitask, multitask_training, registry
from maml_core.studies.multitask import strongest_within_limit
from maml_core.studies.multitask_training import L2, METHODS, NO_PENALTY, TO_THE_MEAN, Regimen, train_regressors
from maml_core.tasks import SinusoidTasks
from maml_core.tasks.sinusoid import wave
from maml_core.util import seeded_generator
from tests.small import read_page

NETWORK = sinusoid_network()
TINY = Regimen(regressors=6, generation=2, steps=40, points=5, learning_rate=5e-3)


def distance(one: Weights, other: Weights) -> float:
    return sum((w - other[name]).square().sum().item() for name, w in one.items()) ** 0.5


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_task_axis_matches_a_loop_over_regressors(generator, strength):
    """torch.optim.Adam on one regressor after another, in float64, with the penalty in the loss."""
    regressors, steps, points, rates = 3, 12, 5, torch.linspace(1e-2, 1e-3, 12, dtype=torch.float64)
    starts = [{name: 30 * w.double() for name, w in NETWORK.init(generator).items()} for _ in range(regressors)]
    theta = {name: torch.stack([start[name] for start in starts]) for name in starts[0]}
    centre = {name: torch.randn(w.shape, generator=generator).double() for name, w in starts[0].items()}
    x = torch.rand((steps, regressors, points), generator=generator).double() * 10 - 5
    amplitude, phase = (part.double() for part in SinusoidTasks(5).draw_waves(regressors, generator))
    ours, _ = multitask_training.descent(NETWORK)(
        theta, no_moments(theta), x, amplitude, phase, centre, torch.tensor(strength, dtype=torch.float64), rates
    )
    for i, start in enumerate(starts):
        own = {name: w.clone().requires_grad_() for name, w in start.items()}
        optimizer = torch.optim.Adam(own.values())
        for step, rate in enumerate(rates):
            optimizer.param_groups[0]["lr"] = rate.item()
            one = {name: w[None] for name, w in own.items()}
            prediction = NETWORK.forward(one, x[step, i][None, :, None])[0]
            loss = ((prediction - wave(x[step, i], amplitude[i], phase[i])) ** 2).mean()
            loss = loss + strength / 2 * sum(((w - centre[name]) ** 2).sum() for name, w in own.items())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for name, w in own.items():
            torch.testing.assert_close(ours[name][i], w.detach(), rtol=1e-10, atol=1e-10)


def test_mean_theta_averages_the_regressors():
    regressors, *_ = train_regressors(NETWORK, seeded_generator(0), regimen=TINY)
    mean = multitask_training.mean_theta(regressors)
    assert {name: w.shape for name, w in mean.items()} == {n: w.shape for n, w in NETWORK.init(seeded_generator(0)).items()}
    for name, w in mean.items():
        torch.testing.assert_close(w, sum(w for w in regressors[name]) / 6)


def test_generations_after_the_first_are_pulled_to_the_mean():
    free, *waves = train_regressors(NETWORK, seeded_generator(0), regimen=TINY)
    pulled, *same = train_regressors(NETWORK, seeded_generator(0), TO_THE_MEAN, 1.0, TINY)
    assert all(torch.equal(one, other) for one, other in zip(waves, same)), "the same waves for every method"
    for name in free:
        assert torch.equal(free[name][:2], pulled[name][:2]), "the first generation"
    for first in (2, 4):
        for i in range(first, first + 2):
            near, far = (
                distance({name: w[i] for name, w in ws.items()}, {name: w[:first].mean(0) for name, w in ws.items()})
                for ws in (pulled, free)
            )
            assert near < 0.5 * far


def test_l2_shrinks_all_generations():
    free, small = (train_regressors(NETWORK, seeded_generator(0), m, s, TINY)[0] for m, s in ((NO_PENALTY, 0.0), (L2, 1.0)))
    for i in range(6):
        short, long = (sum(w[i].square().sum() for w in ws.values()) for ws in (small, free))
        assert short < 0.5 * long


def test_regressors_learn_their_own_waves():
    regimen = replace(TINY, regressors=2, steps=800, points=20)
    regressors, *waves = train_regressors(NETWORK, seeded_generator(1), regimen=regimen)
    errors = multitask_training.own_wave_errors(NETWORK, regressors, *waves)
    others = multitask_training.own_wave_errors(NETWORK, regressors, *(part.flip(0) for part in waves))
    assert errors.shape == (2,) and (errors < 0.3).all() and (errors < 0.2 * others).all()


def test_denormals_are_only_flushed_during_training():
    """Afterwards they count again, even after an error."""
    with pytest.raises(RuntimeError), multitask_training.denormals_as_zero():
        raise RuntimeError
    train_regressors(NETWORK, seeded_generator(0), regimen=replace(TINY, steps=10))
    assert (torch.tensor([1e-39]) * 0.5).item() > 0


@pytest.mark.parametrize(
    "errors, strength, tries",
    [((0.01, 0.5, 0.6), 1e-1, 1), ((0.5, 0.019, 0.01), 1e-2, 2), ((0.5, 0.02, 0.03), 1e-2, 3)],
)
def test_strongest_within_limit(monkeypatch, errors, strength, tries):
    """Or the one with the lowest error, if none is within the limit."""
    errors = dict(zip((1e-1, 1e-2, 1e-3), errors))
    monkeypatch.setattr(multitask, "STRENGTHS", tuple(errors))
    assert strongest_within_limit(errors.__getitem__) == (strength, dict(list(errors.items())[:tries]))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: train_regressors(NETWORK, seeded_generator(0), "L1"), "method must be one of no reg.*, L2, .* not 'L1'"),
        (lambda: train_regressors(NETWORK, seeded_generator(0), L2, -1.0), "strength must be at least 0, not -1.0"),
        (lambda: train_regressors(NETWORK, seeded_generator(0), NO_PENALTY, 1.0), "must be 0 with 'no reg.* not 1.0"),
        (lambda: Regimen(regressors=30), r"regressors must be a multiple of generation \(25\), not 30"),
        (lambda: Regimen(steps=15), r"steps must be a multiple of block \(10\), not 15"),
        (lambda: Regimen(points=0), "points must be at least 1, not 0"),
    ],
)
def test_invalid_arguments_are_rejected_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_small_study_ships_its_averages(tmp_path, monkeypatch, capsys):
    """From the command line, with weights that `load_study_weights` reads."""
    monkeypatch.setattr(multitask, "has_compiler", lambda: False)
    monkeypatch.setattr(multitask, "TEST_TASKS", 4)
    monkeypatch.setattr(multitask, "tuned_alpha", lambda *arguments: 0.01)
    monkeypatch.setattr(multitask, "STRENGTHS", (0.1, 1.0))
    monkeypatch.setattr(commands, "STUDY_FOLDER", tmp_path)
    monkeypatch.setattr("maml_core.results.shipped.STUDY_FOLDER", tmp_path)
    monkeypatch.setattr(commands, "load_characters", lambda source: pytest.fail("sine waves need no characters"))
    small_study = replace(registry.STUDIES["multi-task"], answer=lambda context: multitask.multi_task(context, TINY))
    monkeypatch.setitem(registry.STUDIES, "multi-task", small_study)
    assert cli.main(["study", "multi-task", "--ship"]) == 0
    study = json.loads((tmp_path / "multi-task.json").read_text())
    assert len(study["rows"]) == 2 * 3 * 3 * 11 and "weights" not in study and "rows in" in capsys.readouterr().out
    assert {row["generation"] for row in study["extra"]["by_generation"]} == {1, 2}
    trainings = {(row["method"], row["seed"]) for row in study["extra"]["trainings"]}
    assert trainings == {(m, s) for m in METHODS for s in (0, 1)}
    expected, *_ = train_regressors(NETWORK, seeded_generator(0), regimen=TINY)
    theta, recipe = load_study_weights("multi-task", NO_PENALTY)
    assert recipe.network == "sinusoid"
    for name, w in multitask_training.mean_theta(expected).items():
        assert torch.equal(theta[name], w)


def shipped(method: str, seed: int = 0) -> dict:
    return next(t for t in load_study("multi-task").extra["trainings"] if (t["method"], t["seed"]) == (method, seed))


@pytest.mark.parametrize("seed", multitask.SEEDS)
@pytest.mark.parametrize("method", METHODS)
def test_shipped_regressors_have_learned_their_waves(method, seed):
    """Errors are below the paper's 0.02 on average with regularization, and for most regressors without it."""
    training = shipped(method, seed)
    assert training["median"] < 0.02 and training["share_below_limit"] > 0.75
    assert training["own_wave_error"] < (0.03 if method == NO_PENALTY else 0.02)


@pytest.mark.parametrize("method", [L2, TO_THE_MEAN])
def test_shipped_strength_is_the_highest_within_the_limit(method):
    study = load_study("multi-task")
    tried = {row["strength"]: row["own_wave_error"] for row in study.extra["tried"] if row["method"] == method}
    assert {shipped(method, seed)["strength"] for seed in multitask.SEEDS} == {min(tried)}
    limit = study.settings["limit"]
    assert tried[min(tried)] < limit and all(e >= limit for s, e in tried.items() if s > min(tried))
    assert len(tried) > 1, "a higher one exceeds the limit"


@pytest.mark.parametrize("method", METHODS)
def test_evaluation_of_the_shipped_average_can_be_repeated(method):
    """On other waves, with the tuned alpha, it agrees up to both intervals."""
    theta, recipe = load_study_weights("multi-task", method)
    rows = {row["steps"]: row for row in load_study("multi-task").rows
            if (row["method"], row["seed"], row["shots"]) == (method, 0, 5)}  # fmt: skip
    learner = replace(recipe.build_learner(), alpha=rows[0]["alpha"])
    scores = evaluate(learner, theta, SinusoidTasks(5, queries=100), (0, 1, 5, 10), seeded_generator(7), 400)
    for step, score in scores.items():
        mean, ci95 = mean_and_ci95(score)
        assert abs(mean - rows[step]["mean"]) < 1.5 * (ci95 + rows[step]["ci95"])
    length = sum(w.square().sum().item() for w in theta.values()) ** 0.5
    assert length == pytest.approx(shipped(method)["length_of_mean"], abs=1e-3)


def test_results_page_matches_the_study():
    """Only averages of regressors regularized to the mean can be fine-tuned; the others do no better than predicting 0."""
    rows = {(r["method"], r["seed"], r["steps"]): r for r in load_study("multi-task").rows if r["shots"] == 5}
    page = read_page("docs/results.md")
    generator, zero = seeded_generator(0), []
    for _ in range(24):  # the study's test waves
        zero.append(SinusoidTasks(5, queries=100).sample(25, generator).query_y.square().mean().item())
    near, far = (f"{rows[TO_THE_MEAN, seed, 10]['mean']:.2f}" for seed in multitask.SEEDS)
    paper = SINUSOID[f"multi-task, {TO_THE_MEAN}"][10]
    assert f"after ten steps it is then at {near} and {far} (the paper: {paper})" in page
    assert f"a network that always predicts 0 has {sum(zero) / 24:.2f}" in page
    trial = {(r["generation"], r["seed"]): r for r in load_study("multi-task").extra["by_generation"] if r["steps"] == 10}
    one, many = (" and ".join(f"{trial[g, seed]['mean']:.2f}" for seed in multitask.COMPARED_SEEDS) for g in (1, 25))
    assert f"one at a time ends at {one} where 25 at a time end at {many}" in page
    for seed in multitask.SEEDS:
        for method in (NO_PENALTY, L2):
            assert all(rows[method, seed, step]["mean"] == pytest.approx(4.4, abs=0.1) for step in (1, 5, 10))
        pretrained = next(r for r in load_study("error-against-steps").rows
                          if (r["method"], r["shots"], r["steps"]) == ("pretrained", 5, 10))  # fmt: skip
        assert rows[TO_THE_MEAN, seed, 10]["mean"] - pretrained["mean"] > 0.4, "behind pretraining"
        assert SINUSOID["multi-task, L2"][1] > rows[L2, seed, 1]["mean"] + 2
        assert SINUSOID["multi-task, no regularization"][10] < rows[NO_PENALTY, seed, 10]["mean"] - 0.5
