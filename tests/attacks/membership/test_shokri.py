from __future__ import annotations

import pytest
import torch

from labkit.attacks.membership import MembershipResult, balanced_members, shadow_attack


def design(seed=0, models=8, records=200):
    """Two classes that betray members in opposite ways: class 0 by sure answers, class 1 by unsure ones."""
    source = torch.Generator().manual_seed(seed)
    members, y = balanced_members(models, records, seed), torch.arange(records) % 2
    sure = torch.where(members == (y == 0), 3.0, 1.0) + 0.5 * torch.randn(models, records, generator=source)
    first = torch.where(y == 0, sure, -sure)
    return torch.stack([first, torch.zeros_like(first)], dim=-1), members, y


def test_each_class_has_its_own_attack_model():
    """An attack model for all classes alike sees sure and unsure members in equal shares, and can only guess."""
    logits, members, y = design()
    target, truth, _ = design(seed=1)
    scores = shadow_attack(target[:2], logits, members, y, cache=False)
    result = MembershipResult.of(scores, truth[:2])
    assert result.auc > 0.97
    assert float(result.precision(0.0)) > 0.9
    assert float(result.recall(0.0)) > 0.9
    confidence = target[:2].softmax(-1).amax(-1)
    assert MembershipResult.of(confidence, truth[:2]).auc == pytest.approx(0.5, abs=0.1)


def test_the_shadows_may_answer_about_other_records():
    logits, members, y = design(records=120)
    target, truth, labels = design(seed=2, records=60)
    scores = shadow_attack(target[:2], logits, members, labels, shadow_y=y, cache=False)
    assert MembershipResult.of(scores, truth[:2]).auc > 0.95


def test_where_membership_means_nothing_nothing_is_found():
    logits, _, y = design(records=400)
    shuffled = balanced_members(8, 400, 77)
    scores = shadow_attack(logits[:4], logits[4:], shuffled[4:], y, cache=False, epochs=3)
    assert MembershipResult.of(scores, shuffled[:4]).auc == pytest.approx(0.5, abs=0.06)


def test_bad_input_is_named():
    logits, members, y = design(records=20)
    with pytest.raises(ValueError, match="class 0: the shadow models have 0 members"):
        shadow_attack(logits[:1], logits, torch.zeros_like(members), y, cache=False)
    with pytest.raises(ValueError, match=r"got \(8, 20\)"):
        shadow_attack(logits[..., 0], logits, members, y)
    with pytest.raises(ValueError, match="20 records in 2 classes; 3 labels"):
        shadow_attack(logits[:1], logits, members, y, shadow_y=y[:3])
