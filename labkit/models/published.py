"""Weights that authors published beside their papers: read where the user put them, never shipped with the course."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from labkit.files import cache_dir, data_dir, fingerprint, sha256_of
from labkit.models.networks import advertorch_lenet5
from labkit.tensors import read_tensors, write_tensors

_SHA256 = {
    "clntrained": "1414adc7c56b50edc51ebe1e8c62d8af2290600bc368c7964c2ba4eba295b220",
    "advtrained": "be56397c84df419b8a8d845cb02e1a1111e437a8e71e0f66030f7c4a1df11037",
}
#: Fingerprints of the numbers themselves, in the order of their names, for the authors' own file format.
_CONTENT = {"clntrained": "70ed56fbd8bca56c", "advtrained": "147677e687353b76"}


class WeightsNotFound(FileNotFoundError):
    """Published weights are not in the data folder."""


def published_lenet5(which: Literal["clntrained", "advtrained"], *, smoke: bool = False) -> nn.Sequential:
    """Return the MNIST LeNet5 of Ding et al. 2019 (arXiv 1902.07623) with its published weights, in evaluation mode.

    ``which``: "clntrained" (naturally trained) or "advtrained" (PGD, Linf 0.3). Looked for in the data folder, as
    ``authors/advertorch_mnist_lenet5_<which>.safetensors`` or as the authors' own ``advertorch/mnist_lenet5_<which>.pt`` (from
    the folder ``advertorch_examples/trained_models`` of github.com/BorealisAI/advertorch, LGPL-3.0).
    ``smoke``: instead write untrained weights in the published layout and read those, so that the reading code is walked.
    Raises WeightsNotFound, naming both places; ValueError for other names or a file whose checksum differs.
    """
    if which not in _SHA256:
        raise ValueError(f"which must be 'clntrained' or 'advtrained', got {which!r}")
    ours = data_dir() / "authors" / f"advertorch_mnist_lenet5_{which}.safetensors"
    if smoke:
        ours = cache_dir("smoke") / ours.name
        write_tensors(ours, {_published_name(name): tensor for name, tensor in advertorch_lenet5().state_dict().items()})
    theirs = data_dir() / "advertorch" / f"mnist_lenet5_{which}.pt"
    if ours.exists():
        if not smoke and (seen := sha256_of(ours)) != _SHA256[which]:
            raise ValueError(f"{ours} has SHA-256 {seen}, expected {_SHA256[which]}: damaged, or another file under this name")
        weights, _ = read_tensors(ours)
    elif theirs.exists():
        weights = torch.load(theirs, map_location="cpu", weights_only=True)
        if (seen := fingerprint(*[weights[name] for name in sorted(weights)])) != _CONTENT[which]:
            raise ValueError(f"{theirs} holds other numbers than those published (fingerprint {seen}, expected {_CONTENT[which]})")
    else:
        raise WeightsNotFound(
            f"the published weights of the MNIST LeNet5 ({which}, 2.6 MB) are neither at {ours} nor at {theirs}. "
            "Get the .pt file from advertorch_examples/trained_models of github.com/BorealisAI/advertorch; "
            'PROFILE="quick" needs none of this.'
        )
    model = advertorch_lenet5()
    model.load_state_dict({name: weights[_published_name(name)] for name in model.state_dict()})
    return model.eval()


def _published_name(name: str) -> str:
    """Return the authors' name of one of our tensors: "0.weight" is "conv1.weight"."""
    layer, kind = name.split(".")
    return {"0": "conv1", "3": "conv2", "7": "linear1", "9": "linear2"}[layer] + "." + kind
