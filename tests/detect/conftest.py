"""Networks for the tests of the pipeline's stages."""

from dataclasses import replace

import pytest
import torch

from luna.nets.bundle import Bundle
from luna.nets.models import Models
from luna.nets.unet import UNet


@pytest.fixture
def random_models(models: Models) -> Models:
    """The same with a U-Net of random weights and two levels, for equivalences."""
    torch.manual_seed(2)
    arguments = {"context_slices": 3, "depth": 2, "width": 4}
    net = UNet(**arguments)
    with torch.no_grad():
        net.input_norm.running_mean.fill_(-500)
        net.input_norm.running_var.fill_(400.0**2)
    card = replace(models.segmentation.card, arguments=arguments)
    return replace(models, segmentation=Bundle(card, net.eval()))
