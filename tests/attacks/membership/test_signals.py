from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.membership import correct, log_probability, logit_score

Z = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]])
Y = torch.tensor([0, 2])


def test_the_score_is_the_log_odds():
    p = Z.double().softmax(1).gather(1, Y[:, None]).squeeze(1)
    assert torch.allclose(logit_score(Z, Y), (p / (1 - p)).log(), atol=1e-12)
    assert torch.allclose(log_probability(Z, Y), p.log(), atol=1e-12)
    assert correct(Z, Y).tolist() == [1.0, 0.0]


def test_it_stays_finite_where_a_probability_is_rounded_to_one():
    sure = torch.tensor([[300.0, 0.0, -5.0], [-300.0, 0.0, -5.0]])
    y = torch.tensor([0, 0])
    assert bool(((1 - sure.softmax(1)[0, 0]).log()).isinf())
    assert logit_score(sure, y).tolist() == pytest.approx([300 - 0.006715348489118068, -300 - 0.006715348489118068])


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50))
def test_a_number_added_to_all_classes_changes_nothing(shift):
    assert torch.allclose(logit_score(Z.double() + shift, Y), logit_score(Z, Y), atol=1e-10)
    assert torch.allclose(logit_score(Z.double().log_softmax(1), Y), logit_score(Z, Y), atol=1e-10)


def test_several_models_at_once():
    both = torch.stack([Z, 2 * Z])
    for signal in (logit_score, log_probability, correct):
        assert torch.equal(signal(both, Y)[1], signal(2 * Z, Y))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="the answers have 3 classes"):
        logit_score(Z, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3,\)"):
        log_probability(Z, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="one class"):
        logit_score(torch.zeros(2, 1), torch.tensor([0, 0]))
