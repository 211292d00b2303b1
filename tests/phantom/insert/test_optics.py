"""The blur of a scan, measured from scans whose blur is known."""

import numpy as np
import pytest

from luna.ct.lungs.find import find_lungs
from luna.phantom.config import PhantomConfig
from luna.phantom.insert.optics import LEAST_MM, TYPICAL_MM, _width_mm, measure_optics
from luna.phantom.phantom import make_scan


@pytest.mark.parametrize("sigma", [0.4, 0.7, 1.0])
def test_the_width_of_an_edge_is_that_of_its_blur(sigma):
    from scipy.special import erf

    t = np.arange(-6, 6.1, 0.2)
    rng = np.random.default_rng(1)
    shift = rng.uniform(-0.6, 0.6, (300, 1))
    edges = 0.5 + 0.5 * erf((t - shift) / (sigma * np.sqrt(2)))
    noisy = edges + rng.normal(0, 0.03, edges.shape)
    assert _width_mm(noisy) == pytest.approx(sigma, rel=0.12)


@pytest.mark.slow
def test_a_soft_kernel_is_told_from_a_sharp_one():
    found = []
    for soft in (0.0, 1.0):
        config = PhantomConfig(
            slab_mm=40, slice_mm=(2.0, 2.0), soft_kernel_share=soft, without_nodules=1,
            terminals_per_ml=(0.3, 0.3), negatives=(1, 1),
        )  # fmt: skip
        scan = make_scan(2, config).scan
        found.append(measure_optics(scan, find_lungs(scan)))
    sharp, soft_ = found
    assert LEAST_MM <= sharp.in_plane_mm < 0.45 < soft_.in_plane_mm < 0.75
    assert min(one.edges for one in found) > 500


def test_a_scan_without_clean_edges_gets_a_usual_blur(background, background_lungs):
    from dataclasses import replace

    rng = np.random.default_rng(0)
    noise = rng.normal(-400, 400, background.shape_irc).astype(np.int16)
    found = measure_optics(replace(background, hu=noise), background_lungs)
    assert found.in_plane_mm == TYPICAL_MM
    assert found.through_mm >= 2.0 / np.sqrt(12)
