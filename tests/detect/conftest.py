"""Networks whose answer is known without training, and a chest with nodules."""

import numpy as np
import pytest
import torch

from luna.ct.scan import Scan
from luna.nets.bundle import Bundle, Card
from luna.nets.classifier import Classifier
from luna.nets.models import Models
from luna.nets.unet import UNet

NODULES = [((12, 40, 34), 3), ((9, 56, 42), 2), ((14, 50, 90), 3), ((10, 40, 96), 2)]


def bundle(role: str, architecture: str, arguments: dict, net: torch.nn.Module) -> Bundle:
    card = Card(
        name=f"test-{role}",
        role=role,
        architecture=architecture,
        arguments=arguments,
        training_data="none",
        licence="Apache-2.0",
        threshold=0.01,
        notice="for tests",
    )
    return Bundle(card, net.eval())


def soft_tissue_unet(arguments: dict) -> UNet:
    """A U-Net whose logit is (HU + 400) / 100 of the middle slice: it marks soft tissue."""
    net = UNet(**arguments)
    middle = arguments["context_slices"] // 2
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.input_norm.running_mean.fill_(-400)
        net.input_norm.running_var.fill_(100.0**2)
        block = net.down[0]
        for norm in (net.input_norm, block.norm1, block.norm2):
            norm.weight.fill_(1)
        # Channel 0 carries the positive part, channel 1 the negative part, through the ReLUs.
        block.conv1.weight[0, middle, 1, 1] = 1
        block.conv1.weight[1, middle, 1, 1] = -1
        block.conv2.weight[0, 0, 1, 1] = block.conv2.weight[1, 1, 1, 1] = 1
        net.head.weight[0, :, 0, 0] = torch.tensor([1.0, -1.0])
    return net


@pytest.fixture
def models() -> Models:
    """The soft tissue U-Net and an untrained classifier that does not saturate."""
    torch.manual_seed(1)
    unet = {"context_slices": 3, "depth": 1, "width": 2}
    classifier = {"input_size": (16, 16, 16), "widths": (2, 4)}
    net = Classifier(**classifier)
    with torch.no_grad():
        net.input_norm.running_mean.fill_(-500)
        net.input_norm.running_var.fill_(400.0**2)
        net.head.weight.mul_(0.1)
    return Models(
        bundle("segmentation", "unet", unet, soft_tissue_unet(unet)),
        bundle("nodule", "classifier", classifier, net),
    )


@pytest.fixture
def random_models(models: Models) -> Models:
    """The same with a U-Net of random weights and two levels, for equivalences."""
    torch.manual_seed(2)
    arguments = {"context_slices": 3, "depth": 2, "width": 4}
    net = UNet(**arguments)
    with torch.no_grad():
        net.input_norm.running_mean.fill_(-500)
        net.input_norm.running_var.fill_(400.0**2)
    return Models(bundle("segmentation", "unet", arguments, net), models.nodule)


@pytest.fixture
def nodule_chest(chest, scan_of) -> Scan:
    """The crude chest with a ball of soft tissue for each of NODULES."""
    scan = chest()
    hu = scan.hu.copy()
    grid = np.mgrid[tuple(slice(n) for n in hu.shape)]
    for irc, radius in NODULES:
        hu[((grid - np.reshape(irc, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = 40
    return scan_of(hu, scan.geometry)
