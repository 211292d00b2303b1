"""Networks whose answers mean nothing are refused before they are used."""

import pytest
import torch

from luna.nets.classifier import Classifier
from luna.nets.probe import refuse_non_finite, refuse_useless
from luna.nets.residual import ResidualClassifier
from luna.nets.unet import UNet
from luna.nets.unet3d import UNet3d
from luna.run.errors import TrustError

WINDOW = (-1000, 1000)


def networks() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    residual = ResidualClassifier((8, 16, 16), (2, 4))
    torch.nn.init.normal_(residual.head.weight)
    scales = ResidualClassifier((8, 8, 8), (2, 4), scales=3)
    torch.nn.init.normal_(scales.head.weight)
    classifiers = [Classifier((16, 16, 16), (2, 4)), residual, scales]
    return [UNet(3, 2, 2), UNet(1, 8, 1), *classifiers, UNet3d((16, 16, 16), 2, 2)]


@pytest.mark.parametrize("net", networks(), ids=lambda net: type(net).__name__)
def test_untrained_networks_pass_and_dead_ones_do_not(net: torch.nn.Module) -> None:
    refuse_useless(net.eval(), WINDOW)
    torch.nn.init.zeros_((net.heads[-1] if isinstance(net, UNet3d) else net.head).weight)
    with pytest.raises(TrustError, match="the same answer"):
        refuse_useless(net, WINDOW)


def test_a_network_that_sees_nothing_through_its_window_is_refused() -> None:
    with pytest.raises(TrustError, match="the same answer"):
        refuse_useless(networks()[2].eval(), (2000, 2001))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_no_number_is_enough(value: float) -> None:
    logits = torch.zeros(2, 8, 8)
    refuse_non_finite(logits)
    logits[1, 3, 3] = value
    with pytest.raises(TrustError, match="not a number"):
        refuse_non_finite(logits)
