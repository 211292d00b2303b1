"""The key of a result: equal keys, equal results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch

import luna
from luna.nets.bundle import Bundle

CARD_WORDS = ("name", "training_data", "licence", "metrics", "notice", "source", "card_version")
"""Fields of a card that change no number."""

Key = dict[str, Any]
"""Everything that decides a result: equal keys, equal results."""


def run_key(bundles: Iterable[Bundle], config: Any, device: torch.device) -> Key:
    """Return everything that decides a result besides the scan: networks, config, processor.

    `config` is a dataclass.
    """
    cards = {bundle.card.role: bundle.card.values() for bundle in bundles}
    for card in cards.values():
        for word in CARD_WORDS:
            del card[word]
    key = {
        "luna": luna.__version__,
        "device": device.type,  # bfloat16 and kernels differ between processors
        "config": asdict(config),
        "models": cards,
    }
    return dict(json.loads(json.dumps(key)))  # tuples as a file gives them back
