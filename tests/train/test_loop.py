"""The loop learns, stops as it should, and goes on as if it had not stopped."""

import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from luna.nets.bundle import Bundle, load_bundle, save_bundle
from luna.nets.card import Card
from luna.nets.residual import ResidualClassifier
from luna.run.errors import DivergedError, EnvironmentFault, UsageError
from luna.run.progress import Listener
from luna.train.checkpoint import LAST, PREVIOUS, read_checkpoint
from luna.train.config import TrainConfig
from luna.train.loop import train
from luna.train.runs import Run, State
from luna.train.tasks import NODULE, SEGMENTATION, Data, blocks_of, new_network, start_from

CPU = torch.device("cpu")
CONFIG = TrainConfig(epochs=3, batch_size=8, precision="float32", learning_rate=0.01, save_every=3)

MakeRun = Callable[..., Run]
Make = Callable[..., Data]
Network = Callable[..., nn.Module]


def tail(run: Run) -> str:
    return (run.folder / "losses.csv").read_text()


def lines(run: Run) -> list[dict[str, dict[str, float]]]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("masks", [False, True])
def test_both_tasks_learn_and_export_their_best(
    masks: bool, make_run: MakeRun, cubes: Make, network: Network
) -> None:
    run, task = make_run("a", masks), SEGMENTATION if masks else NODULE
    config = replace(CONFIG, epochs=8)
    best = train(task, cubes(masks=masks), network(masks), config, CPU, run)
    assert best[task.best_by] > 0.95
    bundle = load_bundle(run.folder / "bundle")
    assert bundle.card.metrics[task.best_by] == best[task.best_by]
    assert best[task.best_by] == max(line["validation"][task.best_by] for line in lines(run))
    state = read_checkpoint(run.checkpoints / "best.safetensors").tensors
    for name, tensor in bundle.module.state_dict().items():
        assert torch.equal(tensor, state[f"net/{name}"])


def test_the_epochs_that_validate_are_those_of_the_book_and_the_last(
    make_run: MakeRun, cubes: Make, network: Network
) -> None:
    run = make_run("a")
    config = replace(CONFIG, epochs=7, validate_every=3)
    train(NODULE, cubes(samples=8), network(), config, CPU, run)
    assert [line["epoch"] for line in lines(run) if "validation" in line] == [1, 3, 6, 7]


def test_training_and_validation_tell_how_many_samples_are_done(
    make_run: MakeRun, cubes: Make, network: Network
) -> None:
    told: list[tuple[str, int, int]] = []
    run = replace(make_run("a"), listener=Listener(progress=lambda *step: told.append(step)))
    config = replace(CONFIG, epochs=1, validation_batch_size=4)
    train(NODULE, cubes(), network(), config, CPU, run)
    assert told == [("epoch 1", done, 32) for done in (0, 8, 16, 24, 32)] + [
        ("validate 1", done, 10) for done in (0, 4, 8, 10)
    ]


class Interrupted(Exception):
    """Stands for a kill -9: nothing is saved on its way."""


@pytest.mark.parametrize("at", [0, 2, 4, 6, 11])
def test_a_killed_run_goes_on_bitwise(
    at: int, make_run: MakeRun, cubes: Make, network: Network
) -> None:
    whole, cut = make_run("whole"), make_run("cut")
    train(NODULE, cubes(), network(), CONFIG, CPU, whole)
    augment, calls = cubes().augment, iter(range(100))

    def failing(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> object:
        if next(calls) == at:
            raise Interrupted
        return augment(hu, target, seeds)

    with pytest.raises(Interrupted):
        train(NODULE, replace(cubes(), augment=failing), network(), CONFIG, CPU, cut)
    train(NODULE, cubes(), network(), CONFIG, CPU, cut)
    assert tail(cut) == tail(whole)
    assert lines(cut) == lines(whole)
    last = [read_checkpoint(run.checkpoints / LAST) for run in (cut, whole)]
    assert last[0].values == last[1].values
    for name, tensor in last[0].tensors.items():
        assert torch.equal(tensor, last[1].tensors[name])


@pytest.mark.parametrize(
    ("name", "left", "said"),
    [
        ("losses.csv", None, "lacks 8 of the 8 steps"),
        ("losses.csv", 3, "lacks 6 of the 8 steps"),
        ("metrics.jsonl", 0, "lacks 2 of the 2 epochs"),
    ],
)
def test_a_table_that_was_removed_or_cut_is_noticed(
    name: str, left: int | None, said: str, make_run: MakeRun, cubes: Make, network: Network
) -> None:
    run, warned = make_run("a"), list[str]()
    train(NODULE, cubes(), network(), replace(CONFIG, epochs=2), CPU, run)
    path = run.folder / name
    if left is None:
        path.unlink()
    else:  # in the middle of a line
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:left]) + "12,0.")
    listened = replace(run, listener=Listener(warn=warned.append))
    train(NODULE, cubes(), network(), replace(CONFIG, epochs=2), CPU, listened)
    assert [said in line for line in warned] == [True]
    assert "12,0." not in path.read_text() if path.exists() else left is None


def test_a_whole_run_is_resumed_without_a_warning(
    make_run: MakeRun, cubes: Make, network: Network
) -> None:
    run, warned = make_run("a"), list[str]()
    for _ in range(2):
        listened = replace(run, listener=Listener(warn=warned.append))
        train(NODULE, cubes(), network(), replace(CONFIG, epochs=2), CPU, listened)
    assert warned == []


def test_a_damaged_checkpoint_never_takes_the_good_ones_place(
    make_run: MakeRun, cubes: Make, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("a")
    train(NODULE, cubes(), network(), CONFIG, CPU, run)
    good = read_checkpoint(run.checkpoints / PREVIOUS).values
    (run.checkpoints / LAST).write_bytes(b"half")

    def interrupted(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr("luna.train.checkpoint.write_checkpoint", interrupted)
    with pytest.raises(Interrupted):
        train(NODULE, cubes(), network(), CONFIG, CPU, run)
    assert read_checkpoint(run.checkpoints / PREVIOUS).values == good


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("losses.csv", lambda run, state: run.log_step(0, 0.1, 0.5, {})),
        ("metrics.jsonl", lambda run, state: run.keep(state, {"train": {}}, "auc")),
    ],
)
def test_a_table_on_a_full_disk_is_named(
    name: str, write: Callable[[Run, State], None], make_run: MakeRun, network: Network
) -> None:
    run, net = make_run("a"), network()
    (run.folder / name).symlink_to("/dev/full")
    with pytest.raises(EnvironmentFault, match="the disk is full") as caught:
        write(run, State(net, torch.optim.SGD(net.parameters())))
    assert caught.value.file == str(run.folder / name)
    assert "free some space" in caught.value.hint


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_after_the_step_and_goes_on_bitwise(
    make_run: MakeRun, cubes: Make, network: Network, number: signal.Signals, code: int
) -> None:
    whole, cut = make_run("whole"), make_run("cut")
    config = replace(CONFIG, save_every=1000)
    train(NODULE, cubes(), network(), config, CPU, whole)
    augment, calls = cubes().augment, iter(range(100))

    def terminated(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> object:
        if next(calls) == 5:
            os.kill(os.getpid(), number)
        return augment(hu, target, seeds)

    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        train(NODULE, replace(cubes(), augment=terminated), network(), config, CPU, cut)
    assert stop.value.code == code
    assert signal.getsignal(number) is before
    assert read_checkpoint(cut.checkpoints / LAST).values["step"] == 2
    train(NODULE, cubes(), network(), config, CPU, cut)
    assert tail(cut) == tail(whole)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, on import
@pytest.mark.slow  # compiles three networks
def test_a_compiled_run_learns_the_same_and_goes_on_bitwise(
    make_run: MakeRun, cubes: Make, network: Network
) -> None:
    plain, whole, cut = (make_run(name, True) for name in ("plain", "whole", "cut"))
    data, config = cubes(masks=True), replace(CONFIG, compile=True)
    expected = train(SEGMENTATION, data, network(True), CONFIG, CPU, plain)
    best = train(SEGMENTATION, data, network(True), config, CPU, whole)
    assert best == pytest.approx(expected, abs=1e-3)
    first, second = (float(tail(run).splitlines()[1].split(",")[-1]) for run in (plain, whole))
    assert second == pytest.approx(first, abs=3e-5)  # fused sums run in another order

    calls = iter(range(100))

    def failing(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> object:
        if next(calls) == 6:
            raise Interrupted
        return data.augment(hu, target, seeds)

    with pytest.raises(Interrupted):
        train(SEGMENTATION, replace(data, augment=failing), network(True), config, CPU, cut)
    torch.compiler.reset()
    train(SEGMENTATION, data, network(True), config, CPU, cut)
    assert tail(cut) == tail(whole)


def test_compiling_without_a_compiler_says_what_is_missing(
    make_run: MakeRun, cubes: Make, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    config = replace(CONFIG, compile=True)
    with pytest.raises(EnvironmentFault, match="compiler") as error:
        train(NODULE, cubes(), network(), config, CPU, make_run("a"))
    assert error.value.exit_code == 4
    assert "no-such-compiler" in error.value.why


def test_a_loss_that_is_not_finite_stops_the_run(
    make_run: MakeRun, cubes: Make, network: Network
) -> None:
    run, augment, calls = make_run("a"), cubes().augment, iter(range(100))

    def poisoned(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> object:
        hu, target = augment(hu, target, seeds)
        return (hu * math.nan if next(calls) == 7 else hu), target

    with pytest.raises(DivergedError, match="step 7") as error:
        train(NODULE, replace(cubes(), augment=poisoned), network(), CONFIG, CPU, run)
    assert error.value.exit_code == 7
    assert error.value.file == str(run.checkpoints / LAST)
    tensors = read_checkpoint(run.checkpoints / LAST).tensors
    assert all(t.isfinite().all() for name, t in tensors.items() if name.startswith("net/"))


@pytest.mark.parametrize(
    "said",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_says_what_to_lower(
    said: Exception, make_run: MakeRun, cubes: Make, network: Network
) -> None:
    def hungry(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> object:
        raise said

    with pytest.raises(EnvironmentFault) as error:
        train(NODULE, replace(cubes(), augment=hungry), network(), CONFIG, CPU, make_run("a"))
    assert "batch_size" in error.value.hint


def test_too_few_samples_are_refused(make_run: MakeRun, cubes: Make, network: Network) -> None:
    with pytest.raises(UsageError, match="does not fill a batch of 8"):
        train(NODULE, cubes(samples=7), network(), CONFIG, CPU, make_run("a"))


def test_fine_tuning_starts_from_a_bundle_and_moves_only_its_last_parts(
    make_run: MakeRun, cubes: Make, network: Network
) -> None:
    run = make_run("a")
    train(NODULE, cubes(), network(), CONFIG, CPU, run)
    old = load_bundle(run.folder / "bundle")
    net = new_network("classifier", old.card.arguments, unfreeze=1)
    start_from(run.folder / "bundle", net, "classifier")
    train(NODULE, cubes(), net, CONFIG, CPU, make_run("b"))
    first, *_, head = blocks_of(old.module)
    tuned_first, *_, tuned_head = blocks_of(net)
    assert torch.equal(first.weight, tuned_first.weight)
    assert not torch.equal(head.weight, tuned_head.weight)
    with pytest.raises(UsageError, match="3 blocks"):
        new_network("classifier", old.card.arguments, unfreeze=4)
    with pytest.raises(UsageError, match="cannot start"):
        start_from(run.folder / "bundle", net, "unet")


def test_a_new_head_is_the_one_of_a_new_network(tmp_path: Path) -> None:
    net = ResidualClassifier((8, 8, 8), (2, 4))
    torch.nn.init.normal_(net.head.weight)
    card = Card(
        name="a", role="nodule", architecture="residual-classifier", training_data="",
        arguments={"input_size": [8, 8, 8], "widths": [2, 4]}, licence="",
    )  # fmt: skip
    save_bundle(Bundle(card, net), tmp_path)
    tuned = new_network("residual-classifier", card.arguments, unfreeze=1)
    start_from(tmp_path, tuned, "residual-classifier")
    assert torch.equal(tuned.blocks[0].conv1.weight, net.blocks[0].conv1.weight)
    assert not tuned.head.weight.any()


def test_seeds_belong_to_samples_and_change_with_the_step(
    make_run: MakeRun, cubes: Make, network: Network
) -> None:
    seen = []

    def watching(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> object:
        seen.append(seeds.numpy().copy())
        return hu, target

    train(NODULE, replace(cubes(), augment=watching), network(), CONFIG, CPU, make_run("a"))
    assert len(np.unique(np.concatenate(seen))) == 3 * 32


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"warmup": 1.0},
        {"threshold": 1.0},
        {"clip_norm": 0.0},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        TrainConfig(**wrong)
