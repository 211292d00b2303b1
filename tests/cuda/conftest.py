"""A CUDA card that computes nothing: devices, dtypes and shapes are checked as on a real one.

torch's fake tensors know where they lie, of which type and how large they are, and refuse what a
card would refuse: two devices in one operation, or results whose size is not known beforehand.
What would make the program wait for the card is taken down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from luna.data import augment, noise
from luna.nets.bundle import Bundle, build_network

CARD = torch.device("cuda", 0)


@dataclass
class Card:
    """The card, and what the program waited for: reading a value, or copying pageable memory."""

    capability: tuple[int, int]
    waits: list[str] = field(default_factory=list)
    halves: set[torch.dtype] = field(default_factory=set)
    """The 16-bit types in which something was computed."""
    marks: int = 0
    """Events recorded."""


class Watched(TorchDispatchMode):
    """Takes down copies between the card and memory that the program waits for."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is torch.ops.aten._to_copy.default:
            self._copied(args[0], result, kwargs.get("non_blocking", False))
        if func is torch.ops.aten.copy_.default:
            blocking = len(args) < 3 or not args[2]
            self._copied(args[1], args[0], not blocking)
        if isinstance(result, torch.Tensor) and result.dtype in (torch.float16, torch.bfloat16):
            self.card.halves.add(result.dtype)
        return result

    def _copied(self, source: torch.Tensor, result: torch.Tensor, unwaited: bool) -> None:
        kinds = source.device.type, result.device.type
        if kinds == ("cpu", "cuda") and not (unwaited and getattr(source, "is_pinned_here", False)):
            self.card.waits.append("copy to the card")
        if kinds == ("cuda", "cpu") and not unwaited:
            self.card.waits.append("copy from the card")


def _pinned(tensor: torch.Tensor) -> torch.Tensor:
    assert tensor.device.type == "cpu", "only memory of the host can be pinned"
    tensor.is_pinned_here = True
    return tensor


def _moved(net: torch.nn.Module, device: torch.device = CARD, memory_format: object = None) -> Any:
    """As Module.to; fake parameters cannot be exchanged in place."""
    for module in net.modules():
        for name, value in module._parameters.items():
            if value is not None:
                moved = torch.nn.Parameter(value.detach().to(device), value.requires_grad)
                module._parameters[name] = moved
        for name, value in module._buffers.items():
            module._buffers[name] = value if value is None else value.to(device)
    return net


def _contiguous(
    tensor: torch.Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    if tensor.is_contiguous(memory_format=memory_format):
        return tensor
    return torch.ops.aten.clone.default(tensor, memory_format=memory_format)


def _inverted(tensor: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten.bitwise_not.default(tensor)


def _copy(tensor: torch.Tensor, other: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    return torch.ops.aten.copy_.default(tensor, other, non_blocking)


def _got(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    """tensor[index], which torch asks the driver about where it is not built for CUDA."""
    view, indices = _viewed(tensor, index)
    return torch.ops.aten.index.Tensor(view, indices) if indices else view


def _set(tensor: torch.Tensor, index: Any, value: Any) -> None:
    """tensor[index] = value, likewise."""
    view, indices = _viewed(tensor, index)
    if indices:
        torch.ops.aten.index_put_.default(view, indices, value)
    elif isinstance(value, torch.Tensor):
        torch.ops.aten.copy_.default(view, value)
    else:
        view.fill_(value)


def _viewed(tensor: torch.Tensor, index: Any) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """The part that numbers and slices choose, and the tensors that choose within it, by axis."""
    parts = index if isinstance(index, tuple) else (index,)
    axis, chosen = 0, {}
    for part in parts:
        if part is None:
            tensor, axis = tensor.unsqueeze(axis), axis + 1
        elif part is Ellipsis:
            axis = tensor.dim() - sum(p is not None for p in parts[parts.index(part) + 1 :])
        elif isinstance(part, slice):
            ends = (part.start, part.stop, part.step or 1)
            tensor, axis = torch.ops.aten.slice.Tensor(tensor, axis, *ends), axis + 1
        elif isinstance(part, torch.Tensor):
            assert part.dtype != torch.bool, "the size of what a mask chooses is waited for"
            chosen[axis], axis = part, axis + 1
        else:
            tensor = tensor.select(axis, part)
    return tensor, [chosen.get(k) for k in range(max(chosen, default=-1) + 1)]


def _events(card: Card) -> type:
    class Event:
        def record(self) -> None:
            card.marks += 1
            self.mark = card.marks

        def synchronize(self) -> None:
            if self.mark == card.marks:
                card.waits.append("what was asked for last")

    return Event


@pytest.fixture(params=[(7, 5), (9, 0)], ids=["turing", "hopper"])
def card(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    """A card of an age without bfloat16, and one with it; everything made inside is fake."""
    card = Card(request.param)

    def read(name: str, value: Callable[[FakeTensor], Any]) -> None:
        def wait(self: FakeTensor, *_: Any, **__: Any) -> Any:
            if self.device.type == "cuda":
                card.waits.append(name)
            return value(self)

        monkeypatch.setattr(FakeTensor, name, wait, raising=False)

    def numpy(self: FakeTensor, *_: Any, **__: Any) -> Any:
        assert self.device.type == "cpu", f"numpy cannot read {self.device}"
        return np.zeros(tuple(self.shape), str(self.dtype).removeprefix("torch."))

    read("item", lambda t: 0.0)
    read("tolist", lambda t: np.zeros(tuple(t.shape)).tolist())
    read("__bool__", lambda t: True)
    read("__float__", lambda t: 0.0)
    read("__int__", lambda t: 0)
    monkeypatch.setattr(FakeTensor, "numpy", numpy, raising=False)
    # Methods that ask the driver, which is not there, before they ask the tensor.
    monkeypatch.setattr(FakeTensor, "contiguous", _contiguous, raising=False)
    monkeypatch.setattr(FakeTensor, "copy_", _copy, raising=False)
    monkeypatch.setattr(FakeTensor, "__invert__", _inverted, raising=False)
    monkeypatch.setattr(FakeTensor, "__getitem__", _got, raising=False)
    monkeypatch.setattr(FakeTensor, "__setitem__", _set, raising=False)
    monkeypatch.setattr(torch.Tensor, "pin_memory", _pinned)
    monkeypatch.setattr(torch.nn.Module, "to", _moved)
    monkeypatch.setattr(torch.cuda, "Event", _events(card))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: card.capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: card.capability >= (8, 0))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    with FakeTensorMode(allow_non_fake_inputs=True), Watched(card):
        yield card
    for cached in (noise._normal_table, augment._constant):
        cached.cache_clear()


@pytest.fixture
def fresh() -> Callable[[Bundle], Bundle]:
    """The same network, made where the test is: on the card's machine."""

    def build(bundle: Bundle) -> Bundle:
        net = build_network(bundle.card.architecture, bundle.card.arguments)
        return Bundle(bundle.card, net.eval())

    return build
