"""The ascent: uphill, inside the box, reproducible, one point or several, and stronger than a flip."""

from __future__ import annotations

import pytest
import torch

from labkit.attacks.poisoning import fit_svm, poison_svm
from labkit.data.dataset import Split, WrongRole


def split(count: int, role: str, seed: int) -> Split:
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    x = (0.5 + 0.12 * torch.randn(count, 1, 1, 2, generator=source) + 0.15 * (2 * y - 1)[:, None, None, None]).clamp(0, 1)
    return Split(x, torch.where(y == 1, 7, 4), role, f"{role} cloud")  # type: ignore[arg-type]


TRAIN, VALIDATION = split(30, "train", 0), split(200, "validation", 1)


@pytest.mark.parametrize("gamma", [None, 5.0], ids=["linear", "rbf"])
def test_the_point_climbs(gamma: float | None) -> None:
    found = poison_svm(TRAIN, VALIDATION, label=4, gamma=gamma, C=5.0, steps=40, step_size=0.05)
    path, loss = found.trace["path"], found.trace["loss"]
    assert path.shape == (1, 41, 1, 1, 2)
    assert loss.shape == (1, 41)
    assert float(path.min()) >= 0
    assert float(path.max()) <= 1
    assert float(loss.max()) > 1.05 * float(loss[0, 0]), "the ascent has to raise the loss of the flipped start"
    # What is kept is the best point of the path, and its loss is that of a machine trained on the poisoned set.
    assert torch.allclose(found.data.x[-1].double(), path[0, int(loss.argmax())], atol=1e-6)
    assert fit_svm(found.data, gamma=gamma, C=5.0).hinge(VALIDATION) == pytest.approx(float(loss.max()), rel=1e-3)
    assert fit_svm(TRAIN, gamma=gamma, C=5.0).hinge(VALIDATION) < float(loss.max())


def test_the_start_is_one_flipped_row() -> None:
    found = poison_svm(TRAIN, VALIDATION, label=4, steps=0, seed=3)
    assert found.rate.k == 1
    assert len(found) == 31
    assert bool(found.added[-1])
    assert int(found.data.y[-1]) == 4
    assert int(found.original_y[-1]) == 7
    assert found.changed_y.tolist() == [False] * 30 + [True]
    sevens = TRAIN.x[TRAIN.y == 7]
    assert any(torch.equal(found.data.x[-1], row) for row in sevens)
    assert not bool(found.changed_x.any())
    assert found.costs["trainings"] == 1


def test_several_points_build_on_each_other_and_seeds_count() -> None:
    options = {"label": 7, "points": 2, "steps": 6, "step_size": 0.05}
    found, again = poison_svm(TRAIN, VALIDATION, seed=1, **options), poison_svm(TRAIN, VALIDATION, seed=1, **options)
    assert torch.equal(found.data.x, again.data.x)
    assert found.rate.k == 2
    assert found.costs["trainings"] == 14
    assert float(found.trace["loss"][1, 0]) >= 0.9 * float(found.trace["loss"][0].max())  # the second starts where the first ended
    others = [poison_svm(TRAIN, VALIDATION, seed=seed, **options).data.x for seed in range(2, 5)]
    assert any(not torch.equal(found.data.x, other) for other in others)
    begun = poison_svm(TRAIN, VALIDATION, label=7, steps=1, start=torch.full((1, 1, 2), 0.4))
    assert torch.allclose(begun.original_x[-1], torch.full((1, 1, 2), 0.4))


def test_bad_input_is_named() -> None:
    cases = {
        r"has labels \[4, 7\]; poison_svm needs two, and label 5": {"label": 5},
        "got 0, 10, 0.3": {"label": 4, "points": 0, "steps": 10},
        r"got \(2,\) with values": {"label": 4, "start": torch.zeros(2)},
        "with values from 3 to 3": {"label": 4, "start": torch.full((1, 1, 2), 3.0)},
    }
    for message, options in cases.items():
        with pytest.raises(ValueError, match=message):
            poison_svm(TRAIN, VALIDATION, **options)  # type: ignore[arg-type]
    with pytest.raises(WrongRole, match="attacker's own judgement"):
        poison_svm(TRAIN, VALIDATION.as_role("test"), label=4)
    with pytest.raises(WrongRole, match="poison_svm"):
        poison_svm(TRAIN.as_role("test"), VALIDATION, label=4)


def test_every_loss_on_the_way_is_that_of_a_machine_trained_with_that_point() -> None:
    """Four points that a line separates, and a fifth between them: it lies on the margin, so that all its kernel values count."""
    x, y = torch.tensor([[0.1, 0.1], [0.2, 0.0], [0.9, 0.9], [0.8, 1.0]]).reshape(4, 1, 1, 2), torch.tensor([4, 4, 7, 7])
    few, start = Split(x, y, "train", "four"), torch.tensor([[[0.45, 0.5]]])
    found = poison_svm(few, VALIDATION, label=4, C=1000.0, steps=8, step_size=0.02, start=start, tol=1e-6)
    for point, loss in zip(found.trace["path"][0], found.trace["loss"][0], strict=True):
        rows, labels = torch.cat([x, point[None].float()]), torch.cat([y, torch.tensor([4])])
        retrained = fit_svm(Split(rows, labels, "poisoned", "retrained"), C=1000.0)
        assert bool(retrained.on_margin[-1])
        assert retrained.hinge(VALIDATION) == pytest.approx(float(loss), rel=1e-3)
