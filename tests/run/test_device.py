"""Which card is taken, and what is said of one that cannot be used. No card is needed."""

import contextlib
import warnings

import pytest
import torch

from luna.run.device import card_problem, choose_device, cuda_problem, has_kernels
from luna.run.errors import EnvironmentFault, UsageError
from luna.run.machine.precision import exact_float32


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The compute capabilities of the cards that torch sees; it was built for 8.0 and 9.0.

    A card below 1.0 has a broken driver.
    """
    seen = [(8, 6), (9, 0)]

    def capability(index: int) -> tuple[int, int]:
        if seen[index] < (1, 0):
            raise RuntimeError("CUDA unknown error - this may be due to an incorrectly set up\nx")
        return seen[index]

    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(seen))
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])
    monkeypatch.setattr(torch, "ones", lambda n, device: torch.zeros(n))
    return seen


def refuse(name: str, words: str, fault: type[Exception] = EnvironmentFault) -> None:
    with pytest.raises(fault, match=words):
        choose_device(name, lambda said: None)


def test_auto_takes_the_first_card_that_works_and_says_what_is_wrong_with_others(
    cards: list[tuple[int, int]],
) -> None:
    said: list[str] = []
    assert choose_device("auto", said.append) == torch.device("cuda", 0)
    assert said == []
    cards[:] = [(6, 1), (0, 0), (9, 0)]
    assert choose_device("auto", said.append) == torch.device("cuda", 2)
    assert said == [
        "cuda:0 cannot be used: Card 0 is of compute capability 6.1, and torch "
        f"{torch.__version__} was built for sm_80, sm_90",
        "cuda:1 cannot be used: CUDA unknown error - this may be due to an incorrectly set up",
    ]


def test_auto_falls_back_to_the_cpu_and_says_so(cards: list[tuple[int, int]]) -> None:
    cards[:] = [(5, 0)]
    said: list[str] = []
    assert choose_device("auto", said.append) == torch.device("cpu")
    assert said[-1] == "computing on the CPU, which takes longer"
    with pytest.warns(RuntimeWarning) as caught:
        choose_device("auto")
    assert [str(warning.message) for warning in caught] == said


def test_a_named_card_that_cannot_be_used_is_an_error(cards: list[tuple[int, int]]) -> None:
    assert choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:01") == torch.device("cuda", 1)
    refuse("cuda:2", "cuda:2 is not there .*sees 2 CUDA cards")
    cards[0] = (12, 0)
    refuse("cuda", "cuda:0 cannot be used .*compute capability 12.0")
    refuse("gpu", "unknown device", UsageError)


def test_a_machine_without_cards_is_the_cpu_without_a_word(
    cards: list[tuple[int, int]],
) -> None:
    cards.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert choose_device("auto") == torch.device("cpu")
    refuse("cuda", "cuda is not there .*built without CUDA")


def test_why_there_is_no_card_is_what_the_driver_says(
    cards: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nSo")

    assert cuda_problem() == ""
    cards.clear()
    assert "built without CUDA" in cuda_problem()
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    said = "The NVIDIA driver on your system is too old (found version 11040)."
    assert cuda_problem() == said
    refuse("cuda", "driver on your system is too old")


def test_a_card_without_free_memory_cannot_be_used(
    cards: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ones(n: int, device: str) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB")

    monkeypatch.setattr(torch, "ones", ones)
    assert card_problem(1) == "CUDA out of memory. Tried to allocate 2 MiB"


def test_each_process_of_torchrun_has_a_card_of_its_own(
    cards: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    for name in ("auto", "cuda"):
        assert choose_device(name) == torch.device("cuda", 1)
    refuse("cuda:1", "--device cuda:1 is one card for 2 processes", UsageError)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    refuse("auto", "3 processes and 2 CUDA cards")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "many")
    refuse("auto", "LOCAL_WORLD_SIZE is not a count")


def test_processes_without_cards_compute_on_the_cpu(
    cards: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards.clear()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert choose_device("auto") == torch.device("cpu")
    refuse("cuda", "2 processes and 0 CUDA cards")


def test_one_process_of_torchrun_may_name_its_card(
    cards: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((8, 0), ["sm_80"], True),
        ((8, 9), ["sm_86"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80", "sm_86"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 0), ["sm_90a", "compute_90a"], False),
        ((12, 1), ["sm_90", "compute_120"], True),
        ((7, 0), ["sm_75", "compute_75"], False),
        ((3, 5), [], True),
        ((3, 5), ["gfx90a"], True),
    ],
)
def test_kernels_run_on_cards_of_their_major_version_that_are_not_older(
    capability: tuple[int, int], built: list[str], runs: bool
) -> None:
    assert has_kernels(capability, built) is runs


def test_float32_is_exact_in_the_block_and_as_the_user_set_it_after() -> None:
    settings = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [setting.fp32_precision for setting in settings]
    for tf32, within in ((False, "ieee"), (True, "tf32")):
        with contextlib.suppress(KeyError), exact_float32(tf32):
            assert [setting.fp32_precision for setting in settings] == [within] * 2
            raise KeyError
        assert [setting.fp32_precision for setting in settings] == before
