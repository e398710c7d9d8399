"""Goals, on logits written down by hand."""

from __future__ import annotations

import torch

from labkit.attacks import Confident, Targeted, Undetected, Untargeted

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.5, 0.4]])
Y = torch.tensor([0, 0, 0, 0])
X = torch.tensor([[0.1], [0.9], [0.1], [0.1]])


def test_untargeted_and_targeted() -> None:
    assert Untargeted().met(X, LOGITS, Y).tolist() == [False, True, False, True]
    assert Targeted().met(X, LOGITS, Y).tolist() == [True, False, True, False]
    assert (Untargeted().targeted, Targeted().targeted, Confident().targeted) == (False, True, False)


def test_confident_asks_for_a_lead_and_for_a_wrong_answer() -> None:
    assert Confident(0.5).met(X, LOGITS, Y).tolist() == [False, True, False, True]
    assert Confident(0.6).met(X, LOGITS, Y).tolist() == [False, True, False, False]
    # A tie that the model answers rightly is no success, not even at kappa = 0.
    assert Confident(0.0).met(X, LOGITS, Y).tolist() == Untargeted().met(X, LOGITS, Y).tolist()


def test_undetected_needs_silence_and_keeps_no_graph() -> None:
    x = X.clone().requires_grad_(True)
    met = Undetected(lambda v: v[:, 0] * 2, threshold=0.5).met(x, LOGITS, Y)
    assert met.tolist() == [False, False, False, True]
    assert Undetected(lambda v: v[:, 0] * 2, threshold=1.8).met(x, LOGITS, Y).tolist() == [False, True, False, True]
