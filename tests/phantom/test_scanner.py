"""The synthetic scanner: what its kernel passes, and what its noise is."""

from dataclasses import replace

import numpy as np
import pytest

from luna.phantom.config import PhantomConfig, draw_patient
from luna.phantom.scanner import (
    MARGIN_MM,
    Noise,
    blur,
    build_kernel,
    draw_scanner,
    outside_circle,
    pixel_axes,
    table_image,
)

SIZE = 128


def drawn(seed: int = 0, **config):
    config = PhantomConfig(size=SIZE, **config)
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng, config)
    return draw_scanner(rng, config, patient), patient, config


@pytest.fixture(scope="module")
def scanner():
    return replace(drawn()[0], spacing_xyz=np.array([0.7, 0.7, 1.0]), cutoff=0.6, edge=0.0)


def wave(scanner, per_mm: float) -> np.ndarray:
    """A wave along the columns, of a frequency that the image holds a whole number of times."""
    pixel = scanner.spacing_xyz[0]
    cycles = round(per_mm * SIZE * pixel)
    phase = 2 * np.pi * cycles * np.arange(SIZE) / SIZE
    return np.tile(np.sin(phase), (SIZE, 1)).astype(np.float32)


def test_the_kernel_keeps_hu_and_passes_a_tenth_at_its_cutoff(scanner):
    kernel = build_kernel(scanner)
    flat = np.full((SIZE, SIZE), -850, np.float32)
    assert np.allclose(blur(flat, kernel), -850, atol=1e-2)
    passed = [np.abs(blur(wave(scanner, f), kernel)).max() for f in (0.1, 0.3, 0.6)]
    assert passed == sorted(passed, reverse=True)
    assert passed[-1] == pytest.approx(0.1, abs=0.02)


def test_a_sharp_kernel_overshoots_at_an_edge_and_a_soft_one_does_not(scanner):
    edge = np.where(np.arange(SIZE) < SIZE // 2, -850, 40).astype(np.float32)
    image = np.tile(edge, (SIZE, 1))
    middle = slice(SIZE // 4, 3 * SIZE // 4)
    soft = blur(image, build_kernel(scanner))[:, middle]
    sharp = blur(image, build_kernel(replace(scanner, edge=0.7)))[:, middle]
    assert soft.max() < 41
    assert sharp.max() > 60


def test_noise_has_the_spread_and_the_memory_that_are_asked_for(scanner):
    kernel = build_kernel(scanner)
    noise = Noise(np.random.default_rng(0), kernel.noise, SIZE, memory=0.4)
    slices = np.array([noise.next() for _ in range(60)])
    assert abs(slices.mean()) < 0.02
    assert slices.std() == pytest.approx(1, abs=0.03)
    one, next_ = slices[:-1].ravel(), slices[1:].ravel()
    assert np.corrcoef(one, next_)[0, 1] == pytest.approx(0.4, abs=0.03)


def test_noise_is_coarser_than_white(scanner):
    """A kernel that cuts high frequencies ties neighbours together."""
    noise = Noise(np.random.default_rng(0), build_kernel(scanner).noise, SIZE, memory=0.0)
    image = noise.next()
    assert np.corrcoef(image[:, :-1].ravel(), image[:, 1:].ravel())[0, 1] > 0.2


@pytest.mark.parametrize("seed", range(8))
def test_the_field_of_view_holds_the_lungs(seed):
    scanner, patient, config = drawn(seed, slice_mm=(1.0, 2.5))
    x, y = pixel_axes(scanner)
    assert x.min() < -patient.half_width < patient.half_width < x.max()
    assert y.min() < -patient.half_depth
    low, thickness = scanner.low_xyz[2], scanner.spacing_xyz[2]
    assert 1.0 <= thickness <= 2.5
    assert low == pytest.approx(-0.66 * patient.height - MARGIN_MM)
    assert low + thickness * scanner.shape_irc[0] > 0.5 * patient.height
    assert config.noise_hu[0] * 0.5 < scanner.noise_hu < config.noise_hu[1] * 2.4


@pytest.mark.parametrize("slab_mm", [30, 100, 400])
def test_a_slab_is_as_tall_as_asked_for_or_as_the_lungs(slab_mm):
    scanner, patient, _ = drawn(3, slab_mm=slab_mm)
    height = scanner.shape_irc[0] * scanner.spacing_xyz[2]
    whole = 1.18 * patient.height + 2 * MARGIN_MM
    assert height == pytest.approx(min(slab_mm, whole), abs=scanner.spacing_xyz[2])


def test_the_circle_touches_the_edges_and_leaves_the_corners():
    mask = outside_circle((64, 64))
    assert mask[0, 0]
    assert mask[-1, -1]
    assert not mask[32, 0]
    assert not mask[0, 32]
    assert (~mask).mean() == pytest.approx(np.pi / 4, abs=0.01)
    assert np.array_equal(mask, mask[::-1, ::-1])


def test_the_table_lies_behind_the_patient(scanner):
    x, y = pixel_axes(scanner)
    ahead = replace(scanner, low_xyz=scanner.low_xyz - [float(x.mean()), 0, 0])
    top = float(y.mean())
    rows = table_image(replace(ahead, table_y=top, table_hu=-200.0)).max(axis=1)
    behind = (y - top).ravel()
    assert rows[behind < -15].max() == -1000
    assert rows[(behind > -2) & (behind < 2)].max() == pytest.approx(-200, abs=60)
