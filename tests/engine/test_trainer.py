"""The engines against the loop over tasks in float64, and against each other."""

import copy
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from maml_core import layers, maml, networks, reference
from maml_core.engine import Execution, MetaTrainer, compiling, precision
from maml_core.engine.distributed import Shard
from maml_core.engine.divergence import Diverged
from maml_core.engine.matmul import use_backend
from maml_core.engine.precision import in_precision
from maml_core.episodes import Episodes
from maml_core.evaluation import scores_by_step
from maml_core.maml import Learner, gradient_of_sum
from maml_core.meta_update import adam, no_moments
from maml_core.recipes import RECIPES, find_recipe
from maml_core.tasks import CharacterTasks, SinusoidTasks
from maml_core.training.autotune import choose_block, choose_chunk, choose_engine, choose_workers
from tests.small import make_trainer

SINUSOID = find_recipe("sinusoid-5shot")
CONV = find_recipe("omniglot-5way-1shot")

needs_compiler = pytest.mark.skipif(not compiling.has_compiler(), reason="no C++ compiler on this machine")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trainer_of(recipe=SINUSOID, tasks=None, **settings) -> MetaTrainer:
    tasks = tasks or recipe.build_tasks()
    return make_trainer(recipe.build_learner(), tasks, seeded(0), **settings)


def in_float64(trainer: MetaTrainer) -> MetaTrainer:
    """The same trainer with theta and moments in float64."""
    state = trainer._state
    theta = {name: w.double() for name, w in state.theta.items()}
    trainer._state = replace(state, theta=theta, moments=no_moments(theta))
    return trainer


class Sine64(SinusoidTasks):
    """Sine waves in float64, sampled inside the compiled graph."""

    def build(self, numbers, tasks):
        return super().build(numbers.double(), tasks)


def assert_close(ours, theirs, tolerance: float) -> None:
    """Dictionaries of tensors, each within `tolerance` of the largest value of its counterpart."""
    assert ours.keys() == theirs.keys()
    for name, w in theirs.items():
        assert (ours[name] - w).abs().max() <= tolerance * (w.abs().max() + 1e-12), name


# Adam.


def test_adam_matches_torch(generator):
    theta = {name: torch.randn(shape, generator=generator) for name, shape in (("w", (5, 3)), ("b", (3,)))}
    theirs = {name: w.clone() for name, w in theta.items()}
    optimizer, moments = torch.optim.Adam(theirs.values(), lr=0.01), no_moments(theta)
    for _ in range(20):
        gradient = {name: torch.randn(w.shape, generator=generator) for name, w in theta.items()}
        theta, moments = adam(theta, gradient, moments, 0.01)
        for name, w in theirs.items():
            w.grad = gradient[name]
        optimizer.step()
        for name, w in theirs.items():
            torch.testing.assert_close(theta[name], w, rtol=1e-5, atol=1e-6)


# The compiled engine. its eager twin is compared with the loop over tasks in test_maml.


@needs_compiler
@pytest.mark.parametrize("steps, first_order", [(2, False), (1, True)])
def test_compiled_gradient_equals_the_loop_over_tasks(steps, first_order):
    learner = Learner(networks.sinusoid_network(), 0.01, steps, first_order=first_order)
    theta = {name: w.double() for name, w in learner.network.init(seeded(1)).items()}
    episodes = SinusoidTasks(5).sample(3, seeded(2)).to(dtype=torch.float64)
    compiled = compiling.compile_whole(lambda theta, episodes: gradient_of_sum(learner, theta, episodes))
    ours = {name: g / 3 for name, g in compiled(theta, episodes)[0].items()}
    loss = reference.mean_squared_error(reference.sinusoid_forward)
    assert_close(ours, reference.meta_gradient(loss, loss, theta, episodes, 0.01, steps, first_order=first_order), 1e-10)


@needs_compiler
@pytest.mark.parametrize("network", ["conv", "mlp"])
def test_compiled_characters_equal_the_loop_over_tasks(network, characters):
    """Few filters and small ways, so that compiling is bearable: the graph has every operator of the real one."""
    net = networks.conv_network(2, filters=4) if network == "conv" else networks.mlp_network(2)
    forward = reference.conv_forward if network == "conv" else reference.mlp_forward
    learner = Learner(net, 0.4, 1)
    generator = seeded(1)
    theta = {name: w.double() for name, w in net.init(generator).items()}
    episodes = CharacterTasks(characters.images, 2, 1).sample(3, generator).to(dtype=torch.float64)
    compiled = compiling.compile_whole(lambda theta, episodes: gradient_of_sum(learner, theta, episodes))
    ours = {name: g / 3 for name, g in compiled(theta, episodes)[0].items()}
    inner, outer = reference.sum_over_shots(forward, 2), reference.mean_cross_entropy(forward)
    assert_close(ours, reference.meta_gradient(inner, outer, theta, episodes, 0.4, 1, net.frozen), 1e-10)


@needs_compiler
def test_compiled_blocks_equal_single_eager_steps():
    """Sampling, gradient and Adam in one graph, two meta-iterations per call and one left over, in float64."""
    tasks = Sine64(5)
    eager, compiled = (in_float64(trainer_of(tasks=tasks, engine=e, block=2)) for e in ("eager", "compiled"))
    assert (eager.block, compiled.block) == (1, 2)
    torch.testing.assert_close(compiled.run(5), eager.run(5), rtol=1e-10, atol=0)
    assert compiled.iteration == eager.iteration == 5
    assert torch.equal(compiled.generator.get_state(), eager.generator.get_state())
    for name, w in eager.theta.items():
        torch.testing.assert_close(compiled.theta[name], w, rtol=0, atol=1e-9)


@needs_compiler
def test_any_number_of_compiled_trainers():
    """torch limits how often it compiles a function, so each trainer compiles a copy of its own."""
    with torch._dynamo.config.patch(recompile_limit=1):
        compiled = [compiling.compile_whole(lambda x, n=n: x * n + 1) for n in range(2)]
        assert [f(torch.ones(2))[0].item() for f in compiled] == [1, 2]


def test_failing_compiler_falls_back_to_eager(monkeypatch):
    """With a one-line message, and the same results as the eager engine."""

    def failing(function, device):
        def call(*arguments):
            raise RuntimeError("g++: internal error\nmore")

        return call

    monkeypatch.setattr("maml_core.engine.trainer.compile_whole", failing)
    trainer, said = trainer_of(engine="compiled"), []
    trainer.prepare(said.append)
    assert len(said) == 1 and "Engine: eager" in said[0] and "g++: internal error" in said[0]
    assert trainer.engine == "eager" and trainer.iteration == 0
    assert torch.equal(trainer.run(3), trainer_of().run(3))


def test_without_a_compiler_the_trainer_warns_and_is_eager(monkeypatch):
    """Called as in the README; the warning is the sentence that the command line prints."""
    for module in ("engine.trainer", "training.autotune"):
        monkeypatch.setattr(f"maml_core.{module}.has_compiler", lambda: False)
    monkeypatch.setattr("maml_core.engine.trainer.compile_whole", lambda *arguments: pytest.fail("without a compiler"))
    with pytest.warns(UserWarning) as said:
        trainer = MetaTrainer(
            SINUSOID.build_learner(), SINUSOID.build_tasks(), seeded(0), 4, execution=Execution(engine="compiled")
        )
    assert [str(warning.message) for warning in said] == [choose_engine(SINUSOID, 10**6, "compiled")[1]]
    assert "no C++ compiler was found" in str(said[0].message) and said[0].filename == __file__
    assert trainer.engine == "eager" and torch.equal(trainer.run(3), trainer_of().run(3))


@pytest.mark.parametrize("error", [RuntimeError("g++: internal error\nmore"), OSError(28, "No space left on device")])
@pytest.mark.parametrize("settings", [{}, {"chunk": 2}, {"block": 3}], ids=str)
def test_compilation_failing_at_the_first_step_falls_back_to_eager(monkeypatch, error, settings):
    def failing(*arguments):
        raise error

    monkeypatch.setattr("maml_core.engine.trainer.has_compiler", lambda: True)
    monkeypatch.setattr(torch, "compile", lambda *arguments, **options: failing)
    trainer = trainer_of(engine="compiled", **settings)
    with pytest.warns(UserWarning, match="Engine: eager, since compilation failed: .*(g\\+\\+|No space left)") as said:
        losses = trainer.run(4)
    assert len(said) == 1 and "more" not in str(said[0].message)
    assert trainer.engine == "eager" and torch.equal(losses, trainer_of(**settings).run(4))


@pytest.mark.parametrize("where", ["the graph", "the tasks"])
def test_later_errors_are_raised(monkeypatch, where):
    """Once the compiled engine has worked, an error in the graph or in the tasks is raised and does not change engines."""
    mistake, works = RuntimeError(f"a mistake in {where}"), True

    def failing(*arguments):
        raise mistake

    def compiled(function, **options):
        return lambda *arguments: function(*arguments) if works else failing()

    monkeypatch.setattr("maml_core.engine.trainer.has_compiler", lambda: True)
    monkeypatch.setattr(torch, "compile", compiled)
    trainer = trainer_of(engine="compiled")
    if where == "the graph":
        trainer.step()
        works = False
    else:
        trainer.tasks = SimpleNamespace(sample=failing)
    with pytest.raises(RuntimeError, match=f"a mistake in {where}"):
        trainer.step()
    assert trainer.engine == "compiled" and trainer.iteration == int(where == "the graph")


def test_a_broken_learner_raises_its_own_error(monkeypatch):
    """Compilation fails first, but the user sees the error that the learner itself raises."""
    monkeypatch.setattr("maml_core.engine.trainer.has_compiler", lambda: True)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    wrong = replace(networks.sinusoid_network(), forward=lambda weights, x: x @ weights["w2"])
    trainer = make_trainer(Learner(wrong, 0.01), SinusoidTasks(5), seeded(0), engine="compiled")
    trainer._checked = True  # skip the check of the first meta-batch, which would raise the same error
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="size|shape|dimension|batch"):
        trainer.step()


def test_prepare_leaves_the_state_unchanged():
    prepared, plain = trainer_of(), trainer_of()
    prepared.engine = "as if compiled"
    prepared.prepare(lambda text: None)
    assert torch.equal(prepared.run(3), plain.run(3)) and prepared.iteration == 3


# Chunks, shards, precision.


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_chunks_do_not_change_the_gradient(chunk):
    whole, parts = (trainer_of(chunk=size) for size in (None, chunk))
    episodes = SinusoidTasks(5).sample(4, seeded(5)).to(dtype=torch.float64)
    theta = {name: w.double() for name, w in whole.theta.items()}
    (ours, losses), (theirs, their_losses) = parts.gradient(theta, episodes), whole.gradient(theta, episodes)
    assert_close(ours, theirs, 1e-12)
    torch.testing.assert_close(losses, their_losses)


def test_shards_make_up_the_meta_batch():
    episodes = SinusoidTasks(5).sample(6, seeded(0))
    parts = [Shard(rank, 3).part(episodes) for rank in range(3)]
    assert torch.equal(torch.cat([part.support_x for part in parts]), episodes.support_x)
    with pytest.raises(ValueError, match="4 tasks cannot be divided evenly among 3 processes.*--meta-batch"):
        trainer_of(shard=Shard(0, 3))


def test_bfloat16_gradient_approximates_float32(characters, monkeypatch):
    """It points in roughly the same direction: at random weights the rounding error is half of its norm."""
    monkeypatch.setattr("maml_core.engine.precision.check_bf16", lambda: None)  # torch emulates it if need be
    tasks = CharacterTasks(characters.images, 5, 1)
    episodes = tasks.sample(4, seeded(1))
    fine, coarse = (trainer_of(CONV, tasks, precision=p) for p in ("float32", "bf16"))
    ours, theirs = (
        torch.cat([g.float().flatten() for g in t.gradient(t.theta, episodes)[0].values()]) for t in (coarse, fine)
    )
    assert 1e-4 < (ours - theirs).norm() / theirs.norm() < 0.9
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.6


def test_precision_is_restored():
    before = torch.get_float32_matmul_precision()
    with in_precision("tf32", torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    with pytest.raises(ValueError, match="precision must be one of float32, tf32, bf16"):
        trainer_of(precision="int8")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_float32_is_float32_whatever_the_program_has_set(monkeypatch, device):
    monkeypatch.setattr(precision, "in_bf16", lambda *arguments: nullcontext())  # it warns where there is no GPU
    with use_backend("tf32"), in_precision("float32", torch.device(device)):
        assert torch.get_float32_matmul_precision() == "highest"


# What a CUDA graph requires of the step, as far as it can be tested on a CPU (tests/gpu_check.py tests the rest).


class NoHostSync(TorchDispatchMode):
    """Fails on a device-to-host synchronization, or if a shape depends on a value."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[-1]
        assert name not in self.FORBIDDEN, f"{name} synchronizes the device with the host"
        return func(*args, **(kwargs or {}))


def test_the_guard_detects_a_synchronization():
    with pytest.raises(AssertionError, match="_local_scalar_dense"), NoHostSync():
        torch.ones(1).item()


@pytest.mark.parametrize("recipe", [SINUSOID, CONV], ids=lambda recipe: recipe.name)
def test_step_in_place_equals_the_eager_step(recipe, characters):
    """Sampling, gradient and Adam update all tensors in place, with no device-to-host synchronization."""
    tasks = recipe.build_tasks(characters)
    plain, in_place = (trainer_of(recipe, tasks, meta_batch=2) for _ in range(2))
    addresses = [t.data_ptr() for t in in_place._state.tensors()]
    for _ in range(2):
        with NoHostSync():
            loss = in_place.advance_in_place()
        assert torch.equal(loss, plain.run(1))
    assert [t.data_ptr() for t in in_place._state.tensors()] == addresses
    for name, w in plain.theta.items():
        assert torch.equal(in_place.theta[name], w)


def test_graph_engine_replays_and_counts(monkeypatch):
    """With capture faked: the right step is captured, and capturing leaves the state unchanged."""
    monkeypatch.setattr("maml_core.engine.trainer.compile_whole", lambda function, device, threads: function)
    monkeypatch.setattr(Execution, "check", lambda self, device, meta_batch: None)  # it needs a GPU

    def fake(step, generator):
        step(), step()  # the warm-up changes theta, and must not count
        return step

    monkeypatch.setattr("maml_core.engine.trainer.capture", fake)
    graph, eager = trainer_of(engine="graph"), trainer_of()
    assert torch.equal(graph.run(4), eager.run(4))
    assert graph.iteration == 4
    state = graph.state()
    rest = graph.run(3)
    graph.load_state(copy.deepcopy(state))
    assert torch.equal(graph.run(3), rest)


# Choosing engine, chunk and block.


def test_auto_compiles_only_past_the_break_even(monkeypatch):
    monkeypatch.setattr("maml_core.training.autotune.has_compiler", lambda: True)
    for recipe, iterations, engine, device, expected in (
        (SINUSOID, 100, "auto", "cpu", "eager"),
        (SINUSOID, 70_000, "auto", "cpu", "compiled"),
        (CONV, 200, "auto", "cpu", "eager"),
        (CONV, 60_000, "auto", "cpu", "compiled"),
        (SINUSOID, 100, "compiled", "cpu", "compiled"),
        (CONV, 60_000, "eager", "cpu", "eager"),
        (SINUSOID, 100, "auto", "cuda", "graph"),
        (CONV, 60_000, "eager", "cuda:1", "eager"),
        (CONV, 10, "compiled", "cuda", "compiled"),
        (replace(CONV, variant="imaml"), 60_000, "auto", "cpu", "eager"),
        (replace(CONV, variant="imaml"), 60_000, "auto", "cuda", "eager"),
        (replace(CONV, variant="imaml"), 60_000, "compiled", "cpu", "compiled"),
        (replace(SINUSOID, variant="imaml"), 70_000, "auto", "cpu", "compiled"),
    ):
        chosen, why = choose_engine(recipe, iterations, engine, device)
        assert chosen == expected, (recipe.name, iterations, engine, device)
        assert why.startswith(f"Engine: {expected}")


@pytest.mark.parametrize("engine", ["auto", "compiled"])
def test_without_a_compiler_training_is_eager(monkeypatch, engine):
    monkeypatch.setattr("maml_core.engine.compiling.shutil.which", lambda name: None)
    chosen, why = choose_engine(SINUSOID, 70_000, engine)
    assert chosen == "eager" and "no C++ compiler" in why and "install g++" in why


def test_invalid_engines_are_refused():
    with pytest.raises(ValueError, match="engine must be one of auto, eager, compiled, graph"):
        choose_engine(SINUSOID, 10, "fast")
    with pytest.raises(ValueError, match="--engine graph records a CUDA graph: add --device cuda"):
        choose_engine(SINUSOID, 10, "graph")


@pytest.mark.parametrize("engine", ["Compiled", "jit", "auto", None])
def test_unknown_engines_do_not_run_eagerly(engine):
    with pytest.raises(ValueError, match=f"engine must be one of eager, compiled, graph, not {engine!r}"):
        Execution(engine=engine)


def test_a_cuda_graph_needs_a_generator_on_a_gpu():
    with pytest.raises(
        ValueError, match='generator is on cpu: pass one on a GPU, .*, or take engine="compiled"'
    ) as refusal:
        trainer_of(engine="graph")
    assert "\n" not in str(refusal.value)


# Divergence.


class PoisonedOnce(SinusoidTasks):
    """Sine waves whose n-th meta-batch has a NaN target."""

    def __init__(self, at: int) -> None:
        super().__init__(5)
        self.left = at

    def sample(self, tasks, generator):
        self.left -= 1
        episodes = super().sample(tasks, generator)
        if self.left == 0:
            episodes.query_y[0, 0] = float("nan")
        return episodes


def test_a_loss_that_is_not_finite_is_an_error_and_changes_nothing():
    """The trainer is as it was before that meta-iteration, and goes on from there as if nothing had happened."""
    clean, poisoned = trainer_of(tasks=SinusoidTasks(5)), trainer_of(tasks=PoisonedOnce(3))
    first = clean.run(2)
    with pytest.raises(
        ValueError, match="The loss is no longer finite at meta-iteration 3: lower alpha, which is 0.01, or"
    ):
        poisoned.run(5)
    assert poisoned.iteration == 2 and torch.equal(poisoned.generator.get_state(), clean.generator.get_state())
    for ours, theirs in zip(poisoned._state.tensors(), clean._state.tensors(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(poisoned.run(3), clean.run(3)) and first.isfinite().all()
    unchecked = trainer_of(tasks=PoisonedOnce(3)).run(5, check=False)  # the training loop's, which has its own message
    assert unchecked.isfinite().tolist() == [True, True, False, False, False]


def test_a_meta_gradient_that_is_not_finite_is_an_error(monkeypatch):
    """The loss is finite, but not its derivative: that of a square root at 0. In blocks, too."""

    def kinked(weights, x):
        return plain(weights, x) + (0 * weights["b3"]).sum(-1, keepdim=True).sqrt()

    monkeypatch.setattr("maml_core.engine.trainer.has_compiler", lambda: True)
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    plain = networks.sinusoid_network().forward
    learner = Learner(replace(networks.sinusoid_network(), forward=kinked), 0.01, steps=0)
    for settings, found in (({}, "meta-gradient .* meta-iteration 1:"), (dict(engine="compiled", block=2), "loss .* 2:")):
        trainer = make_trainer(learner, SinusoidTasks(5), seeded(0), **settings)
        before = {name: w.clone() for name, w in trainer.theta.items()}
        with pytest.raises(Diverged, match=f"The {found}"):
            trainer.run(2)
        assert trainer.iteration == 0 and all(torch.equal(trainer.theta[name], w) for name, w in before.items())


def test_chunks_divide_the_meta_batch_and_fit_the_caches(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for recipe in RECIPES.values():
        for world in (1, 2):
            chunk = choose_chunk(recipe, world=world) or recipe.meta_batch // world
            assert chunk >= 1 and (recipe.is_regression or (recipe.meta_batch // world) % chunk == 0)
    assert choose_chunk(CONV) == 2 and choose_chunk(find_recipe("omniglot-20way-1shot")) == 1
    assert choose_chunk(CONV, engine="eager") == 8 and choose_chunk(find_recipe("omniglot-5way-1shot-mlp")) == 4
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert choose_chunk(CONV) == choose_chunk(CONV, engine="eager") == 2  # or some cores would have none
    assert choose_chunk(CONV, world=4) == 1
    assert choose_chunk(SINUSOID) is None
    assert choose_block(SINUSOID) > 1 == choose_block(CONV)


def test_workers_fit_the_memory(monkeypatch):
    """20-way 5-shot is reckoned with 2.4 GB for each of its tasks: 16 cores don't fill a machine of 16 GB with them."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    large = find_recipe("omniglot-20way-5shot")
    for memory, expected in ((80 << 30, 16), (16 << 30, 3), (1 << 30, 1)):
        assert choose_workers(large, choose_chunk(large), memory) == expected
    assert choose_workers(CONV, choose_chunk(CONV), 16 << 30) == 16
    assert choose_workers(SINUSOID, None) is choose_workers(SINUSOID, 5) is choose_workers(CONV, None) is None
    assert all(choose_workers(recipe, 1) for recipe in RECIPES.values() if not recipe.is_regression)
    pictures = find_recipe("mini-imagenet-5way-5shot")  # 5.5 GB were measured
    assert choose_workers(pictures, choose_chunk(pictures), 24 << 30) == 2


def test_chunks_fit_the_gpu(monkeypatch):
    for free, expected in ((80 << 30, 32), (1 << 30, 4), (1 << 20, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 80 << 30))
        assert choose_chunk(CONV, "cuda") == expected


# Sampling from random numbers, as in the compiled graph.


def test_build_and_sample_draw_the_same_waves():
    tasks = SinusoidTasks(5, 7)
    drawn = torch.rand(2, tasks.count(3), generator=seeded(4))
    generator = seeded(4)
    for numbers in drawn:
        for ours, theirs in zip(tasks.build(numbers, 3).tensors(), tasks.sample(3, generator).tensors()):
            assert torch.equal(ours, theirs)
    assert isinstance(tasks.build(drawn[0], 3), Episodes)


def test_batch_norm_under_vmap_has_the_right_second_derivative(generator):
    """vmap over F.batch_norm is a pitfall of other libraries. Ours is compared with a loop that uses autograd."""
    z = torch.randn(3, 11, 4, generator=generator, dtype=torch.float64)
    direction = torch.randn(z.shape, generator=generator, dtype=torch.float64)

    def curvature(normalize, points, along):
        """A directional derivative of the gradient of a nonlinear function of what is normalized: [P, F]."""

        def slope(points):
            return torch.func.grad(lambda p: torch.tanh(normalize(p)).pow(3).sum())(points)

        return torch.func.grad(lambda p: (slope(p) * along).sum())(points)

    def builtin(p):
        return torch.nn.functional.batch_norm(p, None, None, training=True, eps=1e-3)

    def looped(points, along):
        points = points.clone().requires_grad_()
        (slope,) = torch.autograd.grad(torch.tanh(builtin(points)).pow(3).sum(), points, create_graph=True)
        return torch.autograd.grad((slope * along).sum(), points)[0]

    beta = torch.zeros(4, dtype=torch.float64)
    expected = torch.stack([looped(p, d) for p, d in zip(z, direction)])
    ours = curvature(lambda p: layers.batch_norm(p, beta), z, direction)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


def test_evaluation_and_meta_gradient_share_the_inner_step(generator):
    """The engine differentiates the same forward and inner step that evaluation runs."""
    learner = Learner(networks.sinusoid_network(), 0.01, 2)
    theta = learner.network.init(generator)
    episodes = SinusoidTasks(5).sample(3, generator)
    torch.testing.assert_close(
        scores_by_step(learner, theta, episodes, [2])[2], maml.query_losses(learner, theta, episodes)
    )
