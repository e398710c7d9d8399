"""Inverting a class: on softmax regression every step, stop and query is known in advance."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from labkit.attacks.inversion import Eigenfaces, InversionResult, Pixels, invert, invert_by_queries, smooth
from labkit.endpoint import Endpoint
from labkit.models import linear
from labkit.rates import Rate
from labkit.seeding import generator

SHAPE = (1, 4, 4)


def softmax_regression(seed: int = 0, classes: int = 5, scale: float = 1.0) -> nn.Sequential:
    net = linear(16, classes, seed=seed).double()
    with torch.no_grad():
        net[1].weight.mul_(4 * scale)
    return net.eval()


def slope_of_log_p(net: nn.Sequential, x: Tensor, target: int) -> Tensor:
    """The closed form: the label's weights minus the weights of all, each by its probability."""
    weight, p = net[1].weight, net(x).softmax(1)
    return (weight[target] - p @ weight).view_as(x).detach()


def gray() -> Pixels:
    return Pixels(SHAPE, torch.full(SHAPE, 0.5, dtype=torch.float64))


@settings(max_examples=15)
@given(seed=st.integers(0, 50), target=st.integers(0, 4))
def test_the_first_step_follows_the_closed_form(seed: int, target: int) -> None:
    net, start = softmax_regression(seed), gray().start(1)
    p = net(start).softmax(1)[0, target].detach()
    for loss, factor in (("log", 1.0), ("confidence", float(p))):  # d(1 - p) = -p d log p
        found = invert(net, torch.tensor([target]), gray(), steps=1, step_size=0.01, loss=loss)  # type: ignore[arg-type]
        assert torch.allclose(found.code, start + 0.01 * factor * slope_of_log_p(net, start, target), atol=1e-12)


def test_a_step_of_unit_length_has_it() -> None:
    found = invert(softmax_regression(), torch.tensor([2]), gray(), steps=1, step_size=0.03, unit=True)
    assert float((found.code - gray().start(1)).norm()) == pytest.approx(0.03)


def test_two_classes_go_along_the_difference_of_their_weights() -> None:
    """With two classes the direction never changes, so the whole way is known."""
    net = softmax_regression(classes=2, scale=0.2)
    found = invert(net, torch.tensor([1]), gray(), steps=40, step_size=0.05, loss="log", confidence=1.0)
    way, along = found.code - gray().start(1), (net[1].weight[1] - net[1].weight[0]).view(1, *SHAPE).detach()
    inside = ((found.code > 0) & (found.code < 1)).flatten(1)
    assert bool(inside.all())
    assert float(torch.cosine_similarity(way.flatten(1), along.flatten(1))) == pytest.approx(1.0, abs=1e-9)


def test_a_search_that_begins_at_the_bounds_moves() -> None:
    found = invert(softmax_regression(), torch.arange(5), Pixels(SHAPE, torch.zeros(SHAPE, dtype=torch.float64)), steps=30, loss="log")
    assert not bool(found.blind.any())
    assert bool((found.confidence > softmax_regression()(torch.zeros(1, *SHAPE).double()).softmax(1)[0]).all())
    assert 0 <= float(found.x.min()) <= float(found.x.max()) <= 1


def test_confidence_is_that_of_the_model_on_what_is_returned_and_never_falls() -> None:
    net = softmax_regression(3)
    found = invert(net, torch.arange(5), gray(), steps=25, step_size=0.1, loss="log")
    again = net(found.x).softmax(1).gather(1, found.target[:, None])[:, 0]
    assert torch.allclose(found.confidence, again, atol=1e-12)
    assert bool((found.confidence >= found.trace[0]).all())


def test_it_stops_where_the_model_is_convinced() -> None:
    found = invert(softmax_regression(scale=3), torch.arange(5), gray(), steps=400, step_size=0.02, loss="log", confidence=0.7)
    assert found.stopped == ("confident",) * 5
    for column, steps in enumerate(found.steps.tolist()):
        assert float(found.trace[steps, column]) >= 0.7
        assert bool((found.trace[:steps, column] < 0.7).all())
    assert found.convinced == Rate(5, 5, "classes")


def test_it_stops_when_nothing_gets_better() -> None:
    def flat(x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3] * 0

    found = invert(flat, torch.tensor([0]), gray(), steps=500, patience=7)
    assert (found.stopped, found.steps.tolist(), found.forwards.tolist()) == (("stalled",), [7], [8])
    assert bool(found.blind.all())


def test_classes_do_not_disturb_each_other() -> None:
    net = softmax_regression(7)
    options = {"steps": 60, "step_size": 0.3, "loss": "log", "confidence": 0.8}
    together = invert(net, torch.arange(5), gray(), **options)  # type: ignore[arg-type]
    for target in range(5):
        alone = invert(net, torch.tensor([target]), gray(), **options)  # type: ignore[arg-type]
        assert torch.allclose(alone.x[0], together.x[target], atol=1e-10)
        assert int(alone.forwards) == int(together.forwards[target])


def test_costs_are_counted() -> None:
    calls = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += len(x)
        return softmax_regression()(x)

    found = invert(counted, torch.arange(5), gray(), steps=12, step_size=0.2, loss="log", confidence=0.5)
    assert int(found.forwards.sum()) == calls
    assert torch.equal(found.backwards, found.steps)
    assert set(found.costs) == {"forwards", "backwards"}


def test_the_model_is_left_as_it_was() -> None:
    net = softmax_regression().train()
    invert(net, torch.tensor([0]), gray(), steps=2)
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_a_process_runs_between_steps() -> None:
    blank = invert(softmax_regression(), torch.tensor([1]), gray(), steps=3, process=lambda x: x * 0 + 0.25, loss="log", patience=99)
    assert set(blank.code.unique().tolist()) <= {0.25, 0.5}
    with pytest.raises(ValueError, match="coordinates of Eigenfaces"):
        invert(softmax_regression(), torch.tensor([1]), eigenfaces(), process=smooth)


def eigenfaces(weight: float = 0.0, size: int = 6) -> Eigenfaces:
    public = 0.5 + 0.05 * torch.randn(30, *SHAPE, generator=generator(0, "public"), dtype=torch.float64)
    return Eigenfaces.fit(public, size, weight=weight)


def test_a_prior_confines_the_search_to_its_span() -> None:
    prior = eigenfaces()
    found = invert(softmax_regression(), torch.arange(5), prior, steps=20, step_size=0.3, loss="log")
    assert torch.allclose(prior.decode(prior.encode(found.x)), found.x, atol=1e-9)
    timid = invert(softmax_regression(), torch.arange(5), eigenfaces(weight=5.0), steps=20, step_size=0.05, loss="log")
    assert float(timid.code.norm()) < 0.5 * float(found.code.norm())


def test_central_differences_are_the_gradient_and_every_query_is_counted() -> None:
    net, prior, targets = softmax_regression(), eigenfaces(), torch.arange(5)
    service = Endpoint(net)
    options = {"steps": 10, "step_size": 0.3, "loss": "log"}
    asked = invert_by_queries(service.as_model(), targets, prior, sigma=1e-4, **options)  # type: ignore[arg-type]
    white = invert(net, targets, prior, **options)  # type: ignore[arg-type]
    assert torch.allclose(asked.x, white.x, atol=1e-6)
    assert asked.queries.tolist() == [(1 + 10) + 10 * 2 * 6] * 5  # a look at every point, and twice six probes for every step
    assert int(asked.queries.sum()) == service.queries
    assert asked.costs == {"queries": service.queries}


def test_random_directions_point_the_same_way_on_average() -> None:
    net, prior = softmax_regression(), eigenfaces()
    white = invert(net, torch.tensor([3]), prior, steps=1, step_size=0.1, loss="log")
    service = Endpoint(net)
    guess = invert_by_queries(service.as_model(), torch.tensor([3]), prior, steps=1, step_size=0.1, pairs=400, sigma=1e-3)
    assert float(torch.cosine_similarity(guess.code, white.code)) > 0.97
    assert float(guess.code.norm()) == pytest.approx(float(white.code.norm()), rel=0.25)
    assert service.queries == 2 + 800


def test_a_search_can_begin_elsewhere() -> None:
    net, prior, elsewhere = softmax_regression(), eigenfaces(), torch.full((1, 6), 0.7, dtype=torch.float64)
    for found in (
        invert(net, torch.tensor([2]), prior, steps=0, start=elsewhere),
        invert_by_queries(Endpoint(net).as_model(), torch.tensor([2]), prior, steps=0, start=elsewhere),
    ):
        assert torch.equal(found.code, elsewhere)
        assert torch.allclose(found.x, prior.decode(elsewhere))
    with pytest.raises(ValueError, match=r"points of the prior, \(2, 6\), got \(1, 6\)"):
        invert(net, torch.tensor([2, 1]), prior, start=elsewhere)


def test_a_service_that_stops_leaves_what_was_found() -> None:
    service = Endpoint(softmax_regression(), limit=40)
    found = invert_by_queries(service.as_model(), torch.tensor([0, 1]), eigenfaces(), steps=50, step_size=0.3)
    assert set(found.stopped) == {"queries"}
    assert bool(torch.isfinite(found.confidence).all())
    assert service.queries <= 40
    assert int(found.queries.sum()) == service.queries


def test_a_service_that_names_labels_only_blinds_it() -> None:
    found = invert_by_queries(
        Endpoint(softmax_regression(), answers="labels").as_model(), torch.arange(5), eigenfaces(), steps=5, sigma=1e-6
    )
    assert bool((found.blind | (found.steps == 0)).all())  # the class that it names already is found without any step
    assert int(found.blind.sum()) >= 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": -1}, "got -1"),
        ({"step_size": 0.0}, "step_size above 0"),
        ({"confidence": 1.5}, "and 1.5"),
        ({"loss": "margin"}, "got 'margin'"),
        ({"patience": 0}, "patience 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        invert(softmax_regression(), torch.tensor([0]), gray(), **options)  # type: ignore[arg-type]


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(ValueError, match="targets run from 9 to 9; the model has classes 0 to 4"):
        invert(softmax_regression(), torch.tensor([9]), gray())
    with pytest.raises(ValueError, match="pairs=0"):
        invert_by_queries(Endpoint(softmax_regression()).as_model(), torch.tensor([0]), gray(), pairs=0)


def test_the_summary_says_what_and_how_much() -> None:
    found = invert(softmax_regression(), torch.arange(5), gray(), steps=5, step_size=0.5, loss="log")
    assert isinstance(found, InversionResult)
    assert "model convinced" in found.summary()
    assert "forwards" in found.summary()
