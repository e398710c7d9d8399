"""Decision regions: what counts as safe, and what the description says."""

import numpy as np
import pytest
import torch

from labkit.reporting import decision_regions
from labkit.reporting.regions import _holds


def left_right(x):
    """Answer 0 left of the middle, 1 right of it."""
    return torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], 1)


def test_a_point_is_safe_only_with_its_whole_square():
    ticks = np.linspace(0, 1, 101)
    answers = np.repeat((ticks > 0.5)[:, None].astype(int), 101, axis=1)
    assert _holds(answers, np.array([0.3, 0.9]), 0, 0.2)
    assert not _holds(answers, np.array([0.3, 0.9]), 0, 0.21)
    assert not _holds(answers, np.array([0.3, 0.9]), 1, 0.05)


def test_the_first_value_runs_to_the_right():
    # Not symmetric: a transposed picture would call the second point safe.
    ticks = np.linspace(0, 1, 101)
    answers = np.repeat((ticks > 0.5)[:, None].astype(int), 101, axis=1)
    assert _holds(answers, np.array([0.9, 0.1]), 1, 0.1)
    assert not _holds(answers, np.array([0.1, 0.9]), 1, 0.1)


def test_the_description_counts_per_model(monkeypatch):
    shown = {}
    monkeypatch.setattr("labkit.reporting.regions.show", lambda fig, **kept: shown.update(kept, panels=len(fig.axes)))
    x, y = torch.tensor([[0.2, 0.5], [0.45, 0.5], [0.9, 0.5]]), torch.tensor([0, 0, 1])
    decision_regions({"right way": left_right, "wrong way": lambda x: -left_right(x)}, x, y, eps=0.1, resolution=101)
    assert shown["panels"] == 2
    assert shown["data"]["right in the whole square"] == [2, 0]
    assert "right way: 2 of 3" in shown["alt"]


def test_without_squares_the_description_names_none(monkeypatch):
    shown = {}
    monkeypatch.setattr("labkit.reporting.regions.show", lambda fig, **kept: shown.update(kept))
    decision_regions({"any": left_right}, torch.tensor([[0.2, 0.5], [0.9, 0.5]]), torch.tensor([0, 0]), resolution=101)
    assert shown["alt"].endswith("any: 1 of 2 points right.")
    assert shown["data"] == {"model": ["any"], "right": [1], "of": [2]}


def test_paths_are_drawn_as_they_were_walked(monkeypatch):
    drawn = {}
    monkeypatch.setattr("labkit.reporting.regions.show", lambda fig, **kept: drawn.update(lines=fig.axes[0].lines))
    walk = torch.tensor([[0.2, 0.5], [0.4, 0.6], [0.55, 0.6]])
    decision_regions({"any": left_right}, torch.tensor([[0.2, 0.5]]), torch.tensor([0]), resolution=21, paths=[walk])
    assert any(np.allclose(line.get_xydata(), walk.numpy()) for line in drawn["lines"])


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        decision_regions({"any": left_right}, torch.rand(2, 3), torch.zeros(2))
