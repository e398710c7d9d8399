"""The few networks the course uses. A model is any callable from inputs to logits; these are ordinary ``nn.Module``s."""

from labkit.models.generative import Adversaries, adversaries
from labkit.models.layers import Normalize
from labkit.models.networks import (
    PreActBlock,
    advertorch_lenet5,
    linear,
    madry_mnist,
    mlp,
    preact_resnet18,
    small_convnet,
    strided_convnet,
)
from labkit.models.published import WeightsNotFound, published_lenet5

__all__ = [
    "Adversaries", "Normalize", "PreActBlock", "WeightsNotFound", "adversaries", "advertorch_lenet5", "linear", "madry_mnist", "mlp",
    "preact_resnet18", "published_lenet5", "small_convnet", "strided_convnet",
]  # fmt: skip
