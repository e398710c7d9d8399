"""Figures: alt text, data beside, size, color not the only sign, checks of what is drawn. One module for all that `show` shows."""

import base64
import io

import matplotlib.figure
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from labkit.reporting import PALETTE, Rate, attack_figure, bar_chart, curve, heatmap, histograms, image_row, show, style
from labkit.reporting.attackfigure import _factor, _size
from labkit.reporting.images import pixels


def rgb(count=2, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 0.8 + 0.1


EVERY_FIGURE = {
    "curve": lambda: curve([0, 0.1, 0.2], {"a": [0.9, 0.5, 0.1], "b": [0.9, 0.8, 0.7]}, xlabel="eps", ylabel="accuracy", unit="%"),
    "rates": lambda: curve([1, 10], {"a": [Rate(9, 10), Rate(4, 10)]}, xlabel="steps", ylabel="accuracy", unit="%", log_x=True),
    "bars": lambda: bar_chart({"clean": Rate(99, 100), "PGD": Rate(3, 100)}, xlabel="accuracy", chance=0.1),
    "histograms": lambda: histograms({"clean": np.arange(50), "attacked": torch.arange(30) + 20}, xlabel="score", threshold=22),
    "heatmap": lambda: heatmap([[0.1, 0.9], [0.5, float("nan")]], ["r1", "r2"], ["c1", "c2"], label="accuracy", unit="%"),
    "row": lambda: image_row(rgb(8), [f"image {i}" for i in range(8)], wrong=[True] + [False] * 7),
    "gray row": lambda: image_row(torch.rand(3, 1, 28, 28)),
    "attack": lambda: attack_figure(rgb(), (rgb() + 4 / 255), probabilities=(torch.eye(4)[:2], torch.eye(4)[2:]), y=[0, 1]),
    "gray attack": lambda: attack_figure(torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.3)),
}


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_every_figure_is_a_described_light_png_with_text_beside(name, shown):
    style()
    EVERY_FIGURE[name]()
    (picture, metadata), (beside, _) = shown
    content = base64.b64decode(picture["image/png"])
    assert len(content) < 90_000
    image = Image.open(io.BytesIO(content))
    assert image.width >= 1.2 * metadata["image/png"]["width"]  # sharper than its display size
    alt = metadata["image/png"]["alt"]
    assert len(alt) > 8
    assert picture["text/plain"] == f"[figure] {alt}"
    assert "<details>" in beside["text/html"]
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", ["curve", "bars", "histograms", "heatmap", "attack"])
def test_the_data_stand_beside_the_figure(name, shown):
    EVERY_FIGURE[name]()
    assert "<table" in shown[1][0]["text/html"] or "<pre" in shown[1][0]["text/html"]


def test_the_same_figure_gives_the_same_bytes(shown):
    EVERY_FIGURE["curve"]()
    EVERY_FIGURE["curve"]()
    assert shown[0][0]["image/png"] == shown[2][0]["image/png"]


def test_show_refuses_an_empty_description_and_closes_pyplots_figure(shown):
    fig, _ = plt.subplots()
    with pytest.raises(ValueError, match="alt text"):
        show(fig, alt=" ")
    show(fig, alt="An empty figure.", data={"x": [1.5, 2], "y": ["<a>", "b"]})
    assert not plt.get_fignums()
    assert "&lt;a&gt;" in shown[1][0]["text/html"]


def test_long_data_are_thinned_and_it_says_so(shown):
    show(matplotlib.figure.Figure(), alt="Nothing.", data={"x": list(range(1000))})
    text = shown[1][0]["text/html"]
    assert "Every 4th of 1000 rows" in text
    assert text.count("\n") == 250


def test_rates_become_bands(shown):
    EVERY_FIGURE["rates"]()
    assert "a, low" in shown[1][0]["text/html"]
    assert "59.6%" in shown[1][0]["text/html"] or "0.5958" in shown[1][0]["text/html"]  # Wilson's lower end of 9 in 10


def test_lines_differ_in_color_and_in_shape_and_names_do_not_overlap():
    ax = matplotlib.figure.Figure(figsize=(7.2, 3.6)).subplots()
    curve([0, 1], {"a": [1, 0.30], "b": [1, 0.31], "c": [1, 0.305]}, xlabel="x", ylabel="y", unit="%", ax=ax)
    assert len({line.get_marker() for line in ax.lines}) == len({line.get_color() for line in ax.lines}) == 3
    heights = sorted(text.xy[1] for text in ax.texts)
    assert min(np.diff(heights)) > 0.06


@pytest.mark.parametrize("log_y", [False, True])
def test_names_stand_at_the_ends_of_their_lines_on_every_scale(log_y):
    """In shares of the axis' height, as the eye sees them: ends far apart are not moved, close ones by a line of text at most."""
    fig = matplotlib.figure.Figure(figsize=(7.2, 3.6))
    axes = fig.subplots()
    curve([0, 1], {"a": [3, 0.036], "b": [3, 0.058], "c": [3, 0.4]}, xlabel="x", ylabel="y", log_y=log_y, ax=axes)
    assert axes.get_yscale() == ("log" if log_y else "linear")

    def seen(value):
        return axes.transAxes.inverted().transform(axes.transData.transform((1.0, value)))[1]

    places = {text.get_text(): seen(text.xy[1]) for text in axes.texts}
    assert places["c"] == pytest.approx(seen(0.4), abs=0.075 if not log_y else 1e-6)
    assert all(abs(places[name] - seen(end)) < 0.08 for name, end in (("a", 0.036), ("b", 0.058)))
    assert places["b"] - places["a"] > 0.07
    with pytest.raises(ValueError, match="above 0"):
        curve([0, 1], {"a": [3, 0.0]}, xlabel="x", ylabel="y", log_y=True, ax=fig.add_subplot())


def test_palette_stays_apart_for_color_blind_readers():
    # Machado, Oliveira and Fernandes 2009: simulation of protanopia and deuteranopia at full severity, in linear RGB.
    simulations = {
        "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    colors = np.array([[int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)] for code in PALETTE])
    for matrix in simulations.values():
        seen = np.clip(colors**2.2 @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        gaps = [np.abs(seen[i] - seen[j]).sum() for i in range(4) for j in range(i)]
        assert min(gaps) > 0.25


def test_wrong_lengths_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"x has 2 points, but \{'a': 3\}"):
        curve([0, 1], {"a": [1, 2, 3]}, xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match=r"\(2, 2\) has not 3 rows"):
        heatmap(np.zeros((2, 2)), ["a", "b", "c"], ["d", "e"], label="x")
    with pytest.raises(ValueError, match="no finite value"):
        histograms({"a": [float("nan")]}, xlabel="x")
    with pytest.raises(ValueError, match="2 images, but 1 titles"):
        image_row(rgb(2), ["one"])
    with pytest.raises(ValueError, match="show 1 to 6 pairs"):
        attack_figure(rgb(7), rgb(7))


@pytest.mark.parametrize(("image", "message"), [
    (np.full((3, 4, 4), 200.0), "up to|to 200, expected"),
    (np.zeros((4, 4, 3)), r"\(4, 4, 3\) is neither"),
    (np.full((1, 4, 4), -0.5), "undo a normalization"),
])  # fmt: skip
def test_pixels_out_of_range_or_channels_last_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        pixels(image)


@pytest.mark.parametrize(("largest", "factor"), [(8 / 255, 10), (0.3, 1), (1.0, 1), (4 / 255, 20), (0.5, 1), (0.25, 2), (0.0, 50000)])
def test_the_amplification_keeps_the_change_on_the_scale(largest, factor):
    assert _factor(largest) == factor


def test_a_change_is_named_in_gray_levels_where_it_is_one():
    assert _size(np.array([8 / 255])) == "8/255"
    assert _size(np.array([-0.3])) == "0.3"


def test_attack_figure_asks_the_model_in_evaluation_mode_and_puts_its_mode_back(shown):
    class Model(torch.nn.Module):
        def forward(self, x):
            assert not self.training
            assert not torch.is_grad_enabled()
            return torch.stack([x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))], 1) * 50

    model = Model()
    attack_figure(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8), model=model, classes=["light", "dark"], y=[1])
    assert model.training
    assert "dark (100%) becomes light (100%)" in shown[0][1]["image/png"]["alt"]
