"""Augmentation: markers come to lie where the parameters say, each sample by its own seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.data.augment import Augment, AugmentConfig, apply_to_image, apply_to_mask, draw
from luna.run.errors import UsageError

EVERYTHING = AugmentConfig(flip=True, offset=0.1, scale=0.2, rotate_degrees=180, noise_hu=25)
MOVING = AugmentConfig(flip=True, offset=0.1, scale=0.2, rotate_degrees=180)
SPACING_IRC_MM = np.array([2.5, 0.7, 0.7])
CHUNK = (32, 48, 48)
MASK_ATOL_VOX = 0.6
"""A voxel of a mask is at most half a voxel of the input, 1.2 times as large, off its place."""
SEEDS = st.integers(0, 2**32 - 1)


def seeds_of(*seeds: int) -> torch.Tensor:
    return torch.tensor(seeds, dtype=torch.int64)


def marker(shape: tuple[int, ...], at: np.ndarray, width_vox: float = 1.5) -> torch.Tensor:
    """A round marker of 1000 HU on 0 HU; (1, 1, …) float32."""
    axes = np.meshgrid(*(np.arange(side) for side in shape), indexing="ij")
    square = sum((axis - place) ** 2 for axis, place in zip(axes, at, strict=True))
    hu = 1000 * np.exp(-square / (2 * width_vox**2))
    return torch.from_numpy(hu[None, None]).float()


def center_of_mass(image: torch.Tensor) -> np.ndarray:
    weights = image.double().numpy()
    return np.array([(weights * axis).sum() for axis in np.indices(weights.shape)]) / weights.sum()


def predicted(
    config: AugmentConfig, seed: int, at: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Where the drawn parameters say that a voxel comes to lie, worked out anew."""
    drawn = draw(config, seeds_of(seed), shape)
    side = config.crop_vox
    out = shape if side is None else (*shape[:-2], side, side)
    out_center = (np.array(out) - 1) / 2
    corner = np.zeros(len(shape))
    corner[-2:] = drawn.corner[0].numpy()
    away = drawn.factor[0].double().numpy() * (at - corner - out_center)
    angle = float(drawn.angle[0])
    turn = np.eye(len(shape))
    turn[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return out_center + turn @ away + drawn.shift_vox[0].double().numpy()


@settings(max_examples=30)
@given(SEEDS, st.lists(st.floats(-4, 4), min_size=3, max_size=3))
def test_a_marker_in_a_chunk_moves_as_drawn_image_and_mask(seed: int, away: list[float]) -> None:
    at = (np.array(CHUNK) - 1) / 2 + away
    hu = marker(CHUNK, at)
    mask = (hu > 100).to(torch.uint8)
    moved, moved_mask = Augment(MOVING)(hu, mask, seeds_of(seed))
    expected = predicted(MOVING, seed, at, CHUNK)
    np.testing.assert_allclose(center_of_mass(moved[0, 0]), expected, atol=0.05)
    mask_at = predicted(MOVING, seed, center_of_mass(mask[0, 0]), CHUNK)
    np.testing.assert_allclose(center_of_mass(moved_mask[0, 0]), mask_at, atol=MASK_ATOL_VOX)


@settings(max_examples=30)
@given(SEEDS, st.lists(st.floats(-6, 6), min_size=2, max_size=2))
def test_a_marker_in_a_crop_moves_as_drawn_image_and_mask(seed: int, away: list[float]) -> None:
    shape = (96, 96)
    config = AugmentConfig(flip=True, offset=0.05, scale=0.2, rotate_degrees=180, crop_vox=64)
    corner = draw(config, seeds_of(seed), shape).corner[0].numpy()
    at = corner + 31.5 + away
    hu = marker(shape, at, width_vox=2.5).repeat(1, 7, 1, 1)
    mask = hu[:, :1] > 100
    moved, moved_mask = Augment(config)(hu, mask, seeds_of(seed))
    assert moved.shape == (1, 7, 64, 64)
    assert moved_mask.shape == (1, 1, 64, 64)
    expected = predicted(config, seed, at, shape)
    for image in moved[0]:
        np.testing.assert_allclose(center_of_mass(image), expected, atol=0.05)
    mask_at = predicted(config, seed, center_of_mass(mask[0, 0]), shape)
    np.testing.assert_allclose(center_of_mass(moved_mask[0, 0]), mask_at, atol=MASK_ATOL_VOX)


@given(SEEDS)
@settings(max_examples=20)
def test_an_offset_is_as_many_millimetres_as_it_says(seed: int) -> None:
    config = AugmentConfig(offset=0.1)
    at = (np.array(CHUNK) - 1) / 2
    moved = apply_to_image(config, drawn := draw(config, seeds_of(seed), CHUNK), marker(CHUNK, at))
    distance_mm = (center_of_mass(moved[0, 0]) - at) * SPACING_IRC_MM
    expected_mm = drawn.shift_vox[0].numpy() * SPACING_IRC_MM
    np.testing.assert_allclose(distance_mm, expected_mm, atol=0.01)
    assert (drawn.shift_vox[0].abs().numpy() <= 0.1 * np.array(CHUNK)).all()


def test_samples_of_a_batch_move_apart() -> None:
    at = (np.array(CHUNK) - 1) / 2
    hu = marker(CHUNK, at).repeat(8, 1, 1, 1, 1)
    moved, _ = Augment(AugmentConfig(offset=0.1))(hu, torch.zeros(8), torch.arange(8))
    places = np.array([center_of_mass(image[0]) for image in moved])
    assert (places.std(axis=0) > 0.5).all()


def batch_of(chunks: bool, count: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (count, 1, 9, 21, 17) if chunks else (count, 7, 23, 19)
    hu = 300 * torch.randn(shape, generator=generator)
    mask = torch.rand(count, 1, *shape[2:], generator=generator) < 0.4
    return hu, mask.to(torch.uint8), torch.arange(100, 100 + count)


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("crop_vox", [None, 13])
@pytest.mark.parametrize("still", [False, True])
def test_batched_equals_one_by_one_bitwise_in_any_order(
    chunks: bool, crop_vox: int | None, still: bool
) -> None:
    config = (
        AugmentConfig(flip=True, crop_vox=crop_vox)
        if still
        else AugmentConfig(
            flip=True, offset=0.2, scale=0.3, rotate_degrees=90, noise_hu=20, crop_vox=crop_vox
        )
    )
    hu, mask, seeds = batch_of(chunks)
    together = Augment(config)(hu, mask, seeds)
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = Augment(config)(hu[order], mask[order], seeds[order])
    for number in range(len(hu)):
        one = slice(number, number + 1)
        alone = Augment(config)(hu[one], mask[one], seeds[one])
        for batch, single in zip(together, alone, strict=True):
            assert torch.equal(batch[one], single)
    for batch, other in zip(together, shuffled, strict=True):
        assert torch.equal(batch[order], other)


@pytest.mark.parametrize("chunks", [True, False])
def test_with_everything_off_nothing_changes(chunks: bool) -> None:
    hu, mask, seeds = batch_of(chunks)
    moved, moved_mask = Augment(AugmentConfig())(hu, mask, seeds)
    assert torch.equal(moved, hu)
    assert torch.equal(moved_mask, mask)


@pytest.mark.parametrize("chunks", [True, False])
def test_flips_and_crops_are_exact(chunks: bool) -> None:
    hu, mask, seeds = batch_of(chunks, count=16)
    config = AugmentConfig(flip=True, crop_vox=11)
    moved, moved_mask = Augment(config)(hu, mask, seeds)
    drawn = draw(config, seeds, hu.shape[2:])
    for number in range(len(hu)):
        row, column = drawn.corner[number].tolist()
        axes = [axis - drawn.factor.shape[1] for axis in torch.where(drawn.factor[number] < 0)[0]]
        for before, after in ((hu, moved), (mask, moved_mask)):
            cut = before[number, ..., row : row + 11, column : column + 11]
            assert torch.equal(after[number], cut.flip(axes) if axes else cut)
    assert len(drawn.corner.unique(dim=0)) > 8
    assert len(drawn.factor.unique(dim=0)) > 2


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize(
    "active",
    [{"flip": True}, {"offset": 0.1}, {"scale": 0.2}, {"rotate_degrees": 20}, {"noise_hu": 5}],
)
def test_an_active_parameter_changes_the_data(chunks: bool, active: dict[str, float]) -> None:
    hu, mask, seeds = batch_of(chunks)
    moved, moved_mask = Augment(AugmentConfig(**active))(hu, mask, seeds)
    assert not torch.equal(moved, hu)
    assert torch.equal(moved_mask, mask) == ("noise_hu" in active)
    again, _ = Augment(AugmentConfig(**active))(hu, mask, seeds)
    assert torch.equal(moved, again)


def test_one_parameter_does_not_change_what_is_drawn_for_another() -> None:
    seeds = torch.arange(20)
    whole, shift = draw(EVERYTHING, seeds, CHUNK), draw(AugmentConfig(offset=0.1), seeds, CHUNK)
    assert torch.equal(whole.shift_vox, shift.shift_vox)


def test_the_stack_of_planes_equals_trilinear_sampling() -> None:
    """Against grid_sample in three dimensions, on the same map."""
    hu, _, seeds = batch_of(chunks=True)
    shape = hu.shape[2:]
    drawn = draw(MOVING, seeds, shape)
    moved = apply_to_image(MOVING, drawn, hu)
    center = (torch.tensor(shape).double() - 1) / 2
    out = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij"), -1).double()
    for number in range(len(hu)):
        cos, sin = drawn.angle[number].cos(), drawn.angle[number].sin()
        turn = torch.eye(3, dtype=torch.float64)
        turn[1:, 1:] = torch.tensor([[cos, -sin], [sin, cos]])
        there = (out - center - drawn.shift_vox[number]) @ turn / drawn.factor[number] + center
        grid = (2 * there + 1) / torch.tensor(shape) - 1
        expected = torch.nn.functional.grid_sample(
            hu[number][None].double(),
            grid.flip(-1)[None],
            padding_mode="border",
            align_corners=False,
        )
        # float32 positions: 1e-6 voxels, times steps of about 1000 HU from voxel to voxel.
        torch.testing.assert_close(moved[number][None].double(), expected, atol=0.05, rtol=0)


def test_masks_keep_their_type_and_values() -> None:
    hu, mask, seeds = batch_of(chunks=False)
    for dtype in (torch.uint8, torch.bool, torch.float32, torch.int64):
        moved = Augment(EVERYTHING)(hu, mask.to(dtype), seeds)[1]
        assert moved.dtype == dtype
        assert set(moved.unique().tolist()) == {0, 1}


def test_labels_stay_and_values_stay_within_the_inputs() -> None:
    hu, _, seeds = batch_of(chunks=True)
    labels = torch.arange(5)
    moved, same = Augment(MOVING)(hu, labels, seeds)
    assert same is labels
    assert moved.dtype == torch.float32
    assert hu.min() <= moved.min()
    assert moved.max() <= hu.max()


def test_the_surrounding_autocast_changes_nothing() -> None:
    hu, mask, seeds = batch_of(chunks=True)
    plain, _ = Augment(EVERYTHING)(hu, mask, seeds)
    with torch.autocast("cpu", torch.bfloat16):
        cast, _ = Augment(EVERYTHING)(hu, mask, seeds)
    assert cast.dtype == torch.float32
    assert torch.equal(plain, cast)


def test_noise_is_normal_white_and_of_each_sample() -> None:
    count = 6
    still = torch.zeros(count, 1, *CHUNK)
    noise = Augment(AugmentConfig(noise_hu=25))(still, torch.zeros(count), torch.arange(count))[0]
    flat = noise.flatten(1).double() / 25
    size = flat.shape[1]
    assert (flat.mean(dim=1).abs() < 5 / size**0.5).all()
    assert ((flat.std(dim=1) - 1).abs() < 5 / (2 * size) ** 0.5).all()
    assert (((flat**4).mean(dim=1) - 3).abs() < 5 * (96 / size) ** 0.5).all()
    unlike = flat @ flat.T / size - torch.eye(count)
    for number in range(count):
        unlike[number, number] = 0
    assert unlike.abs().max() < 5 / size**0.5
    for step in (1, 2, 48, 48 * 48):
        neighbours = (flat[:, step:] * flat[:, :-step]).mean(dim=1)
        assert (neighbours.abs() < 5 / size**0.5).all()


def test_draws_fill_their_ranges_evenly() -> None:
    drawn = draw(EVERYTHING, torch.arange(4000), CHUNK)
    for values, low, high in (
        (drawn.factor.abs(), 0.8, 1.2),
        (drawn.shift_vox / torch.tensor(CHUNK), -0.1, 0.1),
        (drawn.angle[:, None], -np.pi, np.pi),
        (drawn.factor.sign(), -1.8, 1.8),
    ):
        share = (values.double() - low) / (high - low)
        assert share.min() >= 0
        assert share.max() <= 1
        assert (share.mean(dim=0) - 0.5).abs().max() < 0.03


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": -0.1},
        {"offset": 1.0},
        {"scale": 1.0},
        {"scale": float("nan")},
        {"rotate_degrees": 200},
        {"noise_hu": -1},
        {"noise_hu": float("inf")},
        {"crop_vox": 0},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        AugmentConfig(**wrong)


def test_a_crop_larger_than_the_sample_is_refused() -> None:
    hu, mask, seeds = batch_of(chunks=False)
    with pytest.raises(UsageError, match="crop_vox is 20"):
        Augment(AugmentConfig(crop_vox=20))(hu, mask, seeds)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("chunks", [True, False])
def test_the_device_changes_nothing_but_the_last_bits(chunks: bool) -> None:
    hu, mask, seeds = batch_of(chunks)
    drawn = draw(EVERYTHING, seeds, hu.shape[2:])
    there = draw(EVERYTHING, seeds.cuda(), hu.shape[2:])
    assert torch.equal(drawn.noise_key, there.noise_key.cpu())
    assert torch.equal(drawn.shift_vox, there.shift_vox.cpu())
    moved = apply_to_image(EVERYTHING, there, hu.cuda())
    assert moved.is_cuda
    expected = apply_to_image(EVERYTHING, drawn, hu)
    torch.testing.assert_close(moved.cpu(), expected, atol=0.05, rtol=0)
    differ = apply_to_mask(EVERYTHING, there, mask.cuda()).cpu() != apply_to_mask(
        EVERYTHING, drawn, mask
    )
    assert differ.float().mean() < 1e-3


def test_scales_of_one_place_move_by_the_same_length() -> None:
    """A marker 4 mm off the centre, seen in voxels of 1 and of 2 mm, stays one marker."""
    zoom, shape = (1.0, 0.5), (24, 24, 24)
    center = (np.array(shape) - 1) / 2
    away = np.array([2.0, -4.0, 3.0])
    hu = torch.cat([marker(shape, center + away * factor, 1.5) for factor in zoom], dim=1)
    moved, _ = Augment(MOVING, zoom)(hu, torch.zeros(1), seeds_of(17))
    fine, coarse = (center_of_mass(moved[0, k]) - center for k in range(2))
    np.testing.assert_allclose(fine * 0.5, coarse, atol=0.2)
    assert np.linalg.norm(fine - away) > 1


def test_larger_voxels_get_less_noise_and_the_finest_that_of_one_scale() -> None:
    hu = torch.zeros(1, 2, 16, 16, 16)
    noisy = AugmentConfig(noise_hu=20)
    found, _ = Augment(noisy, (1.0, 0.25))(hu, torch.zeros(1), seeds_of(5))
    alone, _ = Augment(noisy)(hu[:, :1], torch.zeros(1), seeds_of(5))
    assert torch.equal(found[:, :1], alone)
    assert float(found[0, 1].std()) == pytest.approx(20 / 8, rel=0.05)
    assert abs(np.corrcoef(found[0].flatten(1).numpy())[0, 1]) < 0.1
