"""Where a backdoor lives: how strongly each channel of a layer answers, and a network in which some of them are silent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.attacks.views import held_still
from labkit.device import model_device


class Silence(nn.Module):
    """Multiply each channel of (B, C, ...) by 0 or 1; ``keep`` (C,) is a buffer, so fine-tuning does not wake what is silent."""

    keep: Tensor

    def __init__(self, keep: Tensor) -> None:
        super().__init__()
        self.register_buffer("keep", keep.detach().float().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.keep.view(1, -1, *[1] * (x.ndim - 2))


def channel_means(model: nn.Sequential, layer: int, x: Tensor, *, batch_size: int = 512) -> Tensor:
    """Return the mean output of each channel after ``model[layer]``, (C,), over inputs x (N, ...) and all places."""
    head, device = model[: layer + 1], model_device(model, x)
    with held_still(model), torch.no_grad():
        parts = [head(part.to(device)) for part in torch.split(x, batch_size)]
    answers = torch.cat(parts)
    return answers.transpose(0, 1).flatten(1).mean(1).to(x.device)


def silenced(model: nn.Sequential, layer: int, channels: Tensor) -> nn.Sequential:
    """Return a copy of ``model`` in which ``channels`` (int64) after ``model[layer]`` are always 0; what Liu et al. 2018 call pruning.

    Liu et al. 2018, arXiv 1805.12185. Raises ValueError when the layer is not followed by another, IndexError for a channel it has not.
    """
    from copy import deepcopy

    if not 0 <= layer < len(model) - 1:
        raise ValueError(f"layer {layer} of {len(model)}: silence channels inside the network, below the last layer")
    widths = [part.num_features for part in model[: layer + 1] if isinstance(part, nn.BatchNorm2d)]
    widths += [part.out_channels for part in model[: layer + 1] if isinstance(part, nn.Conv2d)][-1:]
    if not widths:
        raise ValueError(f"no convolution stands at or below layer {layer}: whose channels should be silent?")
    keep = torch.ones(widths[-1])
    keep[channels.cpu()] = 0
    parts = [deepcopy(part) for part in model]
    device = next(model.parameters()).device
    return nn.Sequential(*parts[: layer + 1], Silence(keep).to(device), *parts[layer + 1 :]).train(model.training)


def put_back(model: nn.Sequential, x: Tensor, *, share: float = 0.05) -> nn.Sequential:
    """Return a copy in which the silent channels answer again, but hardly: bait for an owner who prunes what is idle.

    The last step of the attacker who expects pruning (Liu et al. 2018, arXiv 1805.12185): the channels come back with the weights they
    had, and their biases (those of the batch norm) are lowered until each one's mean answer on clean inputs x (N, ...) is at most
    ``share`` of the quietest other channel's. Raises ValueError unless ``model`` has one ``Silence`` behind a batch norm and a ReLU, and
    for a share outside (0, 1).
    """
    from copy import deepcopy

    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1), got {share}: bait has to be quieter than the channels that work")
    places = [i for i, part in enumerate(model) if isinstance(part, Silence)]
    if len(places) != 1 or places[0] < 2:
        raise ValueError(f"{len(places)} layers of Silence in the network: put_back needs one, behind a batch norm and a ReLU")
    silence, norm_at = model[places[0]], places[0] - 2
    parts = [deepcopy(part) for i, part in enumerate(model) if i != places[0]]
    out = nn.Sequential(*parts).train(model.training)
    norm = out[norm_at]
    if not isinstance(silence, Silence) or not isinstance(norm, nn.BatchNorm2d) or not isinstance(out[norm_at + 1], nn.ReLU):
        raise ValueError(f"a batch norm and a ReLU must stand before the silence, got {norm} and {out[norm_at + 1]}")
    idle = (silence.keep == 0).to(x.device)
    means = channel_means(out, norm_at + 1, x)
    if not bool(idle.any()) or bool(idle.all()):
        return out
    bound = share * float(means[~idle].min())
    if bound <= 0:
        raise ValueError("a channel that was not silenced never answers on x: nothing can be quieter than that")
    head, device = out[: norm_at + 1], model_device(out, x)
    with held_still(out), torch.no_grad():
        before = torch.cat([head(part.to(device))[:, idle.to(device)] for part in torch.split(x, 512)]).transpose(0, 1).flatten(1)
    lower = torch.zeros(len(before), device=device)
    while bool((loud := (before - lower[:, None]).relu().mean(1) > 0.99 * bound).any()):  # a little less: the sum depends on its order
        lower[loud] += 0.1
    with torch.no_grad():
        norm.bias[idle.to(device)] -= lower
    return out


__all__ = ["Silence", "channel_means", "put_back", "silenced"]
