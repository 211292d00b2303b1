"""The two architectures: shapes, layouts, and how far a pixel can be felt."""

import pytest
import torch

from luna.nets.classifier import Classifier
from luna.nets.losses import segmentation_loss
from luna.nets.residual import ResidualClassifier
from luna.nets.unet import UNet, Upsample
from luna.nets.unet3d import UNet3d


@pytest.fixture(autouse=True)
def _same_start() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("input_size", "widths"), [((32, 48, 48), (8, 16, 32, 64)), ((20, 33, 40), (4, 6))]
)
def test_classifier_gives_two_logits(input_size, widths) -> None:
    logits = Classifier(input_size, widths)(torch.randn(3, 1, *input_size))
    assert logits.shape == (3, 2)


def test_classifier_refuses_crops_smaller_than_its_pooling() -> None:
    with pytest.raises(ValueError, match="poolings"):
        Classifier((8, 48, 48), (8, 16, 32, 64))


@pytest.mark.parametrize(("input_size", "widths"), [((32, 32, 32), (16, 32)), ((8, 4, 12), (4,))])
def test_residual_classifier_gives_two_logits(input_size, widths) -> None:
    net = ResidualClassifier(input_size, widths)
    assert net(torch.randn(3, 1, *input_size)).shape == (3, 2)


def test_residual_classifier_begins_undecided() -> None:
    logits = ResidualClassifier((8, 8, 8), (4, 8))(torch.randn(6, 1, 8, 8, 8) * 500)
    torch.testing.assert_close(logits, logits[:1].expand(6, 2))
    assert logits.abs().max() < 5


def test_residual_classifier_refuses_crops_that_do_not_halve() -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        ResidualClassifier((32, 32, 20))


def test_classifier_does_not_depend_on_memory_layout() -> None:
    net = Classifier((16, 16, 16), (4, 8)).eval()
    hu = torch.randn(2, 1, 16, 16, 16) * 400
    plain = net(hu)
    net = net.to(memory_format=torch.channels_last_3d)
    other = net(hu.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(plain, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("context", "depth", "width"), [(7, 3, 16), (1, 1, 4), (3, 4, 2)])
def test_unet_gives_one_logit_per_pixel(context, depth, width) -> None:
    net = UNet(context, depth, width)
    assert net(torch.randn(2, context, 32, 48)).shape == (2, 1, 32, 48)


@pytest.mark.parametrize(
    "arguments", [{"context_slices": 6}, {"depth": 0}, {"width": 0}, {"context_slices": -1}]
)
def test_unet_refuses_impossible_shapes(arguments) -> None:
    with pytest.raises(ValueError, match="no such U-Net"):
        UNet(**arguments)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_nothing_beyond_the_margin_is_felt(depth) -> None:
    net = UNet(3, depth, 4).eval()
    margin, size = net.receptive_margin, 160
    hu = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        before = net(hu)
        center = size // 2
        for row in range(center, center + net.alignment):
            changed = hu.clone()
            changed[:, :, row, center] += 10
            felt = (net(changed) - before).abs()[0, 0] > 0
            far = torch.ones(size, size, dtype=torch.bool)
            far[row - margin : row + margin + 1, center - margin : center + margin + 1] = False
            assert felt.any()
            assert not (felt & far).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_upsampling_is_the_transposed_convolution_and_has_its_gradients(dtype) -> None:
    ours = Upsample(6, 4).to(dtype)
    torchs = torch.nn.ConvTranspose2d(6, 4, kernel_size=2, stride=2).to(dtype)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 6, 5, 7, dtype=dtype, requires_grad=True)
    wanted = torch.randn(3, 4, 10, 14, dtype=dtype)
    results = []
    for layer in (ours, torchs):
        out = layer(x)
        gradients = torch.autograd.grad(out, [x, *layer.parameters()], wanted)
        results.append((out, *gradients))
    torch.testing.assert_close(*results)


def test_cubes_of_several_scales_share_the_blocks_and_not_the_head() -> None:
    one, three = (ResidualClassifier((8, 8, 8), (2, 4), scales) for scales in (1, 3))
    assert three(torch.randn(5, 3, 8, 8, 8)).shape == (5, 2)
    assert three.head.in_features == 3 * one.head.in_features
    blocks = (sum(p.numel() for p in net.blocks.parameters()) for net in (one, three))
    assert next(blocks) == next(blocks)
    # Each scale has its own part of the head: to show them in another order is another answer.
    torch.nn.init.normal_(three.head.weight)
    hu = torch.randn(1, 3, 8, 8, 8)
    assert not torch.allclose(three.eval()(hu), three(hu.flip(1)))


def test_unet_3d_gives_one_logit_per_voxel_and_more_only_in_training() -> None:
    net = UNet3d((16, 16, 16), depth=3, width=2)
    hu = torch.randn(2, 1, 16, 24, 16)
    assert net(hu).shape == (2, 2, 16, 24, 16)  # two of three levels have a head
    net.eval()
    assert net(hu).shape == (2, 1, 16, 24, 16)


def test_every_level_of_a_unet_3d_learns_from_its_own_loss() -> None:
    net = UNet3d((16, 16, 16), depth=3, width=2)
    logits = net(torch.randn(1, 1, 16, 16, 16))
    segmentation_loss(logits, torch.ones(1, 1, 16, 16, 16)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.heads.parameters())


@pytest.mark.parametrize(
    "arguments",
    [{"depth": 1}, {"width": 0}, {"input_size": (96, 96, 90)}, {"input_size": (8,) * 3}],
)
def test_unet_3d_refuses_impossible_shapes(arguments) -> None:
    with pytest.raises(ValueError, match="no such 3-D U-Net"):
        UNet3d(**arguments)
