"""Calibration: is a probability of 0.8 right in 8 of 10 cases? And the temperature for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.score.curves import wilson_interval

BINS = 15
"""Number of bins of equal width, as in Guo et al. 2017."""

P_SMALLEST = 1e-6
"""Probabilities are clipped to this and 1 minus this, so that their logarithm is finite."""

TEMPERATURE_RANGE = (0.05, 20.0)
"""The range of temperatures. Beyond it every probability is near 0, 1/2 or 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """The items whose probability lies in [low, high), the last bin with its end."""

    low: float
    high: float
    items: int
    mean_p: float
    share_positive: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A reliability curve, its expected calibration error, and the same with temperature.

    `bins` holds no empty bin. `temperature` minimises the negative log-likelihood of these
    same items, so `ece_tempered` and `nll_tempered` flatter it.
    """

    bins: tuple[ReliabilityBin, ...]
    items: int
    ece: float
    nll: float
    temperature: float
    temperature_at_bound: bool
    bins_tempered: tuple[ReliabilityBin, ...]
    ece_tempered: float
    nll_tempered: float


def calibrate(p: NDArray[np.float64], positive: NDArray[np.bool_]) -> Calibration:
    """Measure the calibration of (K,) probabilities, K at least 1, and fit a temperature."""
    bins = reliability(p, positive)
    temperature = fit_temperature(p, positive)
    tempered = apply_temperature(p, temperature)
    bins_tempered = reliability(tempered, positive)
    return Calibration(
        bins=bins,
        items=len(p),
        ece=expected_calibration_error(bins),
        nll=negative_log_likelihood(p, positive),
        temperature=temperature,
        temperature_at_bound=temperature in TEMPERATURE_RANGE,
        bins_tempered=bins_tempered,
        ece_tempered=expected_calibration_error(bins_tempered),
        nll_tempered=negative_log_likelihood(tempered, positive),
    )


def reliability(p: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Return the reliability curve over BINS bins of equal width, with Wilson's intervals."""
    place = np.minimum((p * BINS).astype(np.intp), BINS - 1)
    bins = []
    for index in np.unique(place):
        inside = place == index
        items, hits = int(inside.sum()), int(positive[inside].sum())
        bins.append(
            ReliabilityBin(
                low=float(index / BINS),
                high=float((index + 1) / BINS),
                items=items,
                mean_p=float(p[inside].mean()),
                share_positive=hits / items,
                interval=wilson_interval(hits, items),
            )
        )
    return tuple(bins)


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Return the mean gap between probability and share of positives. Source: Guo et al. 2017."""
    items = sum(each.items for each in bins)
    return sum(each.items * abs(each.mean_p - each.share_positive) for each in bins) / items


def negative_log_likelihood(p: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the mean negative log-likelihood in nats."""
    cut = np.clip(p, P_SMALLEST, 1 - P_SMALLEST)
    return float(-np.mean(np.log(np.where(positive, cut, 1 - cut))))


def fit_temperature(p: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the temperature in TEMPERATURE_RANGE with the least negative log-likelihood.

    The likelihood is convex in 1 / temperature, so bisecting its slope finds the one minimum;
    items that a colder or hotter temperature always suits better end at a bound. Source:
    Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    logit = _logit(p)
    coldest, hottest = TEMPERATURE_RANGE

    def slope(inverse: float) -> float:
        return float(np.mean((_sigmoid(logit * inverse) - positive) * logit))

    low, high = 1 / hottest, 1 / coldest
    if slope(low) >= 0:
        return hottest
    if slope(high) <= 0:
        return coldest
    for _ in range(60):  # halves 20 down to the last bits of a float64
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def apply_temperature(p: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Divide the logits of probabilities, clipped to P_SMALLEST, by the temperature."""
    return _sigmoid(_logit(p) / temperature)


def temper(p: float, temperature: float) -> float:
    """Divide the logit of one probability by the temperature, without clipping: 0 and 1 stay."""
    yes, no = p ** (1 / temperature), (1 - p) ** (1 / temperature)
    return float(yes / (yes + no))


def _logit(p: NDArray[np.float64]) -> NDArray[np.float64]:
    cut = np.clip(p, P_SMALLEST, 1 - P_SMALLEST)
    return np.log(cut) - np.log1p(-cut)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    # The tanh form overflows for no x; the range reaches logits of 14 x 20 = 280.
    return 0.5 * (1 + np.tanh(0.5 * x))
