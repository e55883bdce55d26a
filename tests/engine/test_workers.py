"""Chunks of tasks side by side: in order, each on its own core, with the numbers of one after another."""

import copy
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch

from maml_core.engine.compiling import has_compiler
from maml_core.engine.workers import Workers
from maml_core.networks import Network
from maml_core.recipes import find_recipe
from maml_core.tasks.characters import CharacterTasks
from maml_core.util.seeding import seeded_generator as seeded
from maml_core.util.threads import threads
from tests.small import make_trainer

CONV, MLP = find_recipe("omniglot-5way-1shot"), find_recipe("omniglot-5way-1shot-mlp")


@pytest.fixture
def workers():
    """Two of them, past their first call, which they don't take part in."""
    with threads(2):
        two = Workers(2)
        two.map(int, range(2))
        yield two


def test_chunks_run_side_by_side(workers):
    """Two chunks wait for each other: one after another they would never end."""
    met = threading.Barrier(2)
    assert sorted(workers.map(lambda _: met.wait(timeout=60), range(2))) == [0, 1]


def test_results_come_in_the_order_of_the_chunks(workers):
    second_is_done = threading.Event()

    def wait_for_the_second(number):
        second_is_done.wait(60) if number == 0 else second_is_done.set()
        return number

    assert workers.map(wait_for_the_second, range(5)) == [*range(5)]


def test_the_first_call_stays_in_the_calling_thread():
    with threads(2):
        workers = Workers(2)
        assert workers.map(lambda _: threading.get_ident(), range(2)) == [threading.get_ident()] * 2
        assert threading.get_ident() not in workers.map(lambda _: threading.get_ident(), range(2))


@pytest.mark.parametrize(
    "cores, chunks, count, each", [(1, 8, 1, 1), (2, 1, 1, 2), (2, 8, 2, 1), (4, 2, 2, 2), (3, 2, 2, 1)]
)
def test_workers_share_the_cores(cores, chunks, count, each):
    """Every thread splits its operators among `each` threads, in the first call and later, and the caller's own stay."""
    with threads(cores):
        workers = Workers(chunks)
        assert (workers.count, workers.threads_each) == (count, each)
        for _ in range(2):
            assert workers.map(lambda _: torch.get_num_threads(), range(8)) == [each] * 8
        assert torch.get_num_threads() == cores
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start(), thread.join()
        assert later == [cores]


def test_an_error_in_a_chunk_is_raised_and_the_next_call_works(workers):
    with pytest.raises(ZeroDivisionError):
        workers.map(lambda number: 1 / number, [1, 0, 2])
    assert workers.map(lambda number: 1 / number, [1, 2]) == [1, 0.5]


def test_ctrl_c_leaves_chunks_that_have_not_begun(workers, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests in several processes ignore
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    begun, interrupted = [], threading.Event()

    def work(number):
        begun.append(number)
        if number == 0:
            time.sleep(0.5)  # until all chunks wait for their turn
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # as Ctrl-C does
        interrupted.wait(60)

    with pytest.raises(KeyboardInterrupt):
        try:
            workers.map(work, range(8))
        finally:
            interrupted.set()
    assert workers.map(abs, [-1, -2]) == [1, 2] and sorted(begun) == [0, 1]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("recipe, engine", [(CONV, "eager"), (MLP, "eager"), (MLP, "compiled")])
def test_training_on_several_cores_is_that_on_one(recipe, engine, precision, characters, monkeypatch):
    """Three meta-iterations, to the last bit: each core computes what a single one would, and sums come in order."""
    if engine == "compiled" and not has_compiler():
        pytest.skip("no C++ compiler")
    monkeypatch.setattr("maml_core.engine.precision.check_bf16", lambda: None)  # torch emulates it if need be

    def train(cores):
        with threads(cores):
            tasks = CharacterTasks(characters.images, 5, 1)
            trainer = make_trainer(recipe.build_learner(), tasks, seeded(0), 4, chunk=1, engine=engine, precision=precision)
            return trainer._workers.count, trainer.run(3), trainer.theta

    (one, losses, theta), (two, their_losses, their_theta) = train(1), train(2)
    assert (one, two) == (1, 2) and torch.equal(losses, their_losses)
    assert all(torch.equal(w, their_theta[name]) for name, w in theta.items())


def test_a_resumed_training_ends_as_an_uninterrupted_one(characters):
    """To the last bit, though its first meta-iteration stays in the calling thread."""

    def trainer():
        tasks = CharacterTasks(characters.images, 5, 1)
        return make_trainer(CONV.build_learner(), tasks, seeded(0), 4, chunk=1)

    with threads(2):
        uninterrupted, resumed = trainer(), trainer()
        uninterrupted.run(2)
        resumed.load_state(copy.deepcopy(uninterrupted.state()))
        assert torch.equal(uninterrupted.run(2), resumed.run(2))
    assert all(torch.equal(w, resumed.theta[name]) for name, w in uninterrupted.theta.items())


def network_of(*layers: torch.nn.Module) -> Network:
    module = torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Linear(784, 5))
    return Network.from_module(module, torch.nn.CrossEntropyLoss(), ways=5)


def test_chunks_that_share_state_run_one_after_another(monkeypatch):
    """Dropout draws from one generator, in the order of the chunks. And outside of a graph, one module has one set of
    weights at a time: two threads would compute with each other's."""
    monkeypatch.setattr("maml_core.engine.trainer.has_compiler", lambda: True)
    networks = {
        "dropout": network_of(torch.nn.Dropout(0.5)),
        "module": network_of(),
        "functions": CONV.build_learner().network,
    }

    def workers(name, engine):
        learner = replace(CONV.build_learner(), network=networks[name])
        return make_trainer(learner, None, seeded(0), 4, chunk=1, engine=engine)._workers.count

    with threads(2):
        assert [workers(name, "eager") for name in networks] == [1, 1, 2]
        assert [workers(name, "compiled") for name in networks] == [1, 2, 2]


def test_fewer_workers_on_request():
    """Which take less memory."""
    with threads(4):
        for requested, count in ((None, 4), (2, 2), (9, 4)):
            trainer = make_trainer(CONV.build_learner(), None, seeded(0), 4, chunk=1, workers=requested)
            assert trainer._workers.count == count
