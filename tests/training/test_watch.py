"""``watch``: looks after every epoch, is kept with the model, and changes nothing about the training."""

import pytest
import torch

from labkit.defenses import Free
from labkit.models import mlp, small_convnet
from labkit.threats import Linf
from labkit.training import fit
from tests.training.conftest import blobs, pictures
from tests.training.test_fit import equal, right, weights_of

DATA = blobs()


def net():
    return mlp(2, 3, (16,), seed=0)


def share_right(model, epoch):
    return {"right": right(model, DATA), "seen in epoch": float(epoch)}


def test_it_is_called_after_every_epoch_and_kept_in_the_history():
    trained = fit(net(), DATA, epochs=4, batch_size=16, learning_rate=0.02, watch=share_right)
    assert [line["seen in epoch"] for line in trained.history] == [0, 1, 2, 3]
    assert trained.history[-1]["right"] == right(trained.model, DATA)
    assert len({line["right"] for line in trained.history}) > 1


@pytest.mark.parametrize("objective", [None, Free(Linf(0.05), replays=2)])
def test_it_changes_neither_weights_nor_key(objective):
    def nosy(model, epoch):
        assert not model.training
        torch.rand(7)
        model(pictures().x).sum().backward()  # leaves gradients behind
        return {"x": 1.0}

    def train(**options):
        return fit(small_convnet(1, 2, 8, 4, seed=1), pictures(), epochs=3, batch_size=16, objective=objective, cache=False, **options)

    watched, alone = train(watch=nosy), train()
    assert equal(weights_of(watched.model), weights_of(alone.model))
    assert watched.key == alone.key


def test_the_cache_keeps_what_was_seen():
    first = fit(net(), DATA, epochs=3, watch=share_right)
    again = fit(net(), DATA, epochs=3, watch=share_right)
    assert again.loaded
    assert again.history == first.history
    assert not again.model.training
    unwatched = fit(net(), DATA, epochs=3)
    assert unwatched.loaded
    assert unwatched.history == first.history


def test_a_model_that_nobody_watched_is_trained_again_and_is_the_same():
    alone = fit(net(), DATA, epochs=3)
    watched = fit(net(), DATA, epochs=3, watch=share_right)
    assert not watched.loaded
    assert "right" in watched.history[0]
    assert equal(weights_of(alone.model), weights_of(watched.model))
    assert fit(net(), DATA, epochs=3, watch=share_right).loaded


def same_names(model, epoch):
    return {"right": -1.0, "seen in epoch": float(epoch)}


def other_names(model, epoch):
    return {"wrong": 0.0}


@pytest.mark.parametrize("other", [same_names, other_names])
def test_another_watch_does_not_get_the_first_ones_numbers(other):
    fit(net(), DATA, epochs=2, watch=share_right)
    second = fit(net(), DATA, epochs=2, watch=other)
    assert not second.loaded
    assert second.history[-1].keys() - {"epoch", "loss", "seconds"} == other(second.model, 1).keys()


def test_an_interrupted_training_keeps_the_epochs_that_were_watched():
    whole = fit(net(), DATA, epochs=4, cache=False, watch=share_right)

    def interrupt(model, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        return share_right(model, epoch)

    with pytest.raises(KeyboardInterrupt):
        fit(net(), DATA, epochs=4, watch=interrupt)
    resumed = fit(net(), DATA, epochs=4, watch=share_right)
    kept = [[line[name] for name in ("epoch", "loss", "right", "seen in epoch")] for line in resumed.history]
    assert kept == [[line[name] for name in ("epoch", "loss", "right", "seen in epoch")] for line in whole.history]
    assert equal(weights_of(resumed.model), weights_of(whole.model))


def test_a_checkpoint_without_the_watch_is_not_resumed_with_it(monkeypatch):
    import sys

    module = sys.modules[fit.__module__]
    real, calls = module._epoch, []

    def epoch(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(module, "_epoch", epoch)
    with pytest.raises(KeyboardInterrupt):
        fit(net(), DATA, epochs=4)
    trained = fit(net(), DATA, epochs=4, watch=share_right)
    assert [line["seen in epoch"] for line in trained.history] == [0, 1, 2, 3]


def test_it_may_not_take_the_historys_own_names():
    with pytest.raises(ValueError, match="'loss'"):
        fit(net(), DATA, epochs=1, cache=False, watch=lambda model, epoch: {"loss": 0.0})
