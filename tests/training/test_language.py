from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from labkit.data.assistant import VOCABULARY, draw
from labkit.data.dataset import Split
from labkit.models.transformer import transformer
from labkit.training import fit
from labkit.training.language import NextWord
from labkit.training.objectives import StepState


def test_the_loss_is_the_mean_over_the_replies_words() -> None:
    model = transformer(len(VOCABULARY), width=16, heads=2).double()
    x, y = draw(5, 0)
    total, count = 0.0, 0
    for row, mask in zip(x[:, 0].long(), x[:, 1], strict=True):
        scores = model(row[None, :-1])[0]
        for place in range(1, len(row)):
            if mask[place]:
                total += float(cross_entropy(scores[place - 1], row[place]).detach())
                count += 1
    assert float(NextWord().loss(model, x, y, StepState()).detach()) == pytest.approx(total / count, abs=1e-9)


def test_rows_of_another_form_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(B, 2, T\), got \(3, 5\)"):
        NextWord().loss(transformer(5, width=8, heads=1), torch.zeros(3, 5), torch.zeros(3), StepState())


def test_a_model_learns_to_say_what_it_is_told() -> None:
    x, y = draw(256, 0)
    model = transformer(len(VOCABULARY), width=32, heads=2)
    trained = fit(model, Split(x, y, "train", "few"), epochs=3, batch_size=32, learning_rate=1e-2, objective=NextWord(), cache=False)
    losses = [line["loss"] for line in trained.history]
    assert losses[-1] < 0.75 * losses[0]
