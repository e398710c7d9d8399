"""`record` and `say`: what people see, what machines read, and what is refused."""

import json

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from labkit.reporting import rate, record, say
from labkit.reporting.emit import RESULT_MIME


def test_a_percentage_shows_value_interval_and_denominator(shown, lab):
    lab("paper")
    record("robust accuracy", 0.9326, n=10_000, interval="wilson", unit="%", note="PGD-40")
    ((bundle, _),) = shown
    assert bundle["text/plain"] == "robust accuracy: 93.26% (95% interval [92.75%, 93.73%]; n = 10,000; PGD-40)"
    assert "93.26%" in bundle["text/html"]
    assert "n = 10,000" in bundle["text/html"]
    payload = bundle[RESULT_MIME]
    assert payload["value"] == 0.9326
    assert payload["n"] == 10_000
    assert payload["unit"] == "%"
    assert payload["flag"] == ""
    assert payload["interval"] == pytest.approx([0.92752, 0.93735], abs=1e-4)
    assert (payload["chapter"], payload["profile"], payload["seed"]) == ("10_evasion_gradient", "paper", 3)


@pytest.mark.parametrize("value", [torch.tensor(0.5), np.float32(0.5), np.array([0.5]), 0.5])
def test_scalars_of_any_library_become_plain_numbers(shown, value):
    record("x", value)
    assert shown[0][0][RESULT_MIME]["value"] == 0.5
    json.dumps(shown[0][0][RESULT_MIME])


def test_a_rate_brings_its_denominator_and_interval(shown):
    record("fooled", rate(torch.tensor([True, True, False, True])))
    payload = shown[0][0][RESULT_MIME]
    assert payload["value"] == 0.75
    assert payload["n"] == 4
    assert payload["unit"] == "%"
    assert payload["interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert shown[0][0]["text/plain"].startswith("fooled: 75% (95% interval [30%, 95%]; n = 4 inputs")


@pytest.mark.parametrize(("value", "flag", "text"), [(float("nan"), "nan", "NaN"), (float("-inf"), "-inf", "minus infinity")])
def test_what_is_not_finite_is_shown_and_flagged(shown, value, flag, text):
    record("loss", value)
    bundle = shown[0][0]
    assert text in bundle["text/plain"]
    assert "not a finite number" in bundle["text/html"]
    assert bundle[RESULT_MIME]["flag"] == flag
    assert bundle[RESULT_MIME]["value"] is None
    json.dumps(bundle[RESULT_MIME], allow_nan=False)


def test_smoke_shows_and_records_nothing(shown, lab):
    lab("smoke")
    record("x", 1)
    assert RESULT_MIME not in shown[0][0]
    assert "not recorded" in shown[0][0]["text/plain"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": " ", "value": 1}, "needs a name"),
        ({"name": "x", "value": 93.2, "unit": "%"}, "give the fraction"),
        ({"name": "x", "value": 0.5, "interval": (0.6, 0.4)}, "low <= high"),
        ({"name": "x", "value": 0.5, "interval": (float("nan"), 1)}, "finite"),
        ({"name": "x", "value": 0.5, "interval": "wilson"}, "needs n"),
        ({"name": "x", "value": 0.5, "n": 0}, "at least 1"),
    ],
)
def test_bad_input_is_refused_with_its_cause(arguments, message):
    with pytest.raises(ValueError, match=message):
        record(**arguments)


def test_a_whole_tensor_is_refused_with_its_shape():
    with pytest.raises(TypeError, match=r"Tensor of shape \(3,\)"):
        record("x", torch.zeros(3))


def test_html_is_escaped(shown):
    record("<b>x</b>", "<script>")
    assert "<script>" not in shown[0][0]["text/html"]
    assert "<b>x" not in shown[0][0]["text/html"]


def test_plain_runs_append_json_lines_and_print_text(tmp_path, monkeypatch, capsys):
    target = tmp_path / "results.jsonl"
    monkeypatch.setenv("LABKIT_PLAIN", "1")
    monkeypatch.setenv("LABKIT_RESULTS", str(target))
    record("a", 1, unit="queries")
    record("b", float("nan"))
    say("The network says **stop**.")
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(line["type"], line["name"], line["value"]) for line in lines] == [("result", "a", 1), ("result", "b", None)]
    assert capsys.readouterr().out == "a: 1 queries\nb: NaN (not a number)\nThe network says **stop**.\n"


def test_say_displays_markdown_without_a_result(shown):
    say("Fooled: 12 of 50.")
    assert shown == [({"text/markdown": "Fooled: 12 of 50.", "text/plain": "Fooled: 12 of 50."}, {})]


def test_a_real_kernel_keeps_the_payload_and_shows_a_figure_once():
    cells = [
        "from labkit.reporting import record\nrecord('x', 0.25, n=8, interval='wilson', unit='%')",
        "%matplotlib inline\nfrom labkit.reporting import curve, show\ncurve([0, 1], {'a': [0, 1]}, xlabel='x', ylabel='y')",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nshow(fig, alt='Empty axes.')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert output.data[RESULT_MIME]["value"] == 0.25
    assert set(output.data) == {"text/plain", "text/html", RESULT_MIME}
    for cell in notebook.cells[1:]:
        assert [sorted(output.data) for output in cell.outputs] == [["image/png", "text/plain"], ["text/html", "text/plain"]]
        assert cell.outputs[0].metadata["image/png"]["alt"]
