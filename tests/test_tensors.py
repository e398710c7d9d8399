"""Tensors on disk: exact round trips, agreement with the safetensors library, and damage that is noticed."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from labkit import files
from labkit.tensors import Damaged, read_tensors, write_tensors

KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool]
SHAPES = [(), (1,), (3,), (2, 3), (0,), (0, 4), (2, 0, 3), (1, 2, 3, 4)]


def numbers(shape, kind, seed=0):
    draw = torch.randint(0, 200, shape, generator=torch.Generator().manual_seed(seed))
    return draw.to(kind) if not kind.is_floating_point else (draw.double() / 7 - 10).to(kind)


def every_kind():
    return {f"{kind} {shape}": numbers(shape, kind) for kind in KINDS for shape in SHAPES}


def same(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert second[name].dtype == tensor.dtype, name
        assert second[name].shape == tensor.shape, name
        assert torch.equal(second[name], tensor), name


def raw_file(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_every_kind_and_shape_comes_back_exactly(tmp_path):
    path = tmp_path / "deep" / "er" / "all.safetensors"
    write_tensors(path, every_kind(), {"facts": "caf\u00e9 \u2713"})
    tensors, metadata = read_tensors(path)
    same(every_kind(), tensors)
    assert metadata == {"facts": "caf\u00e9 \u2713"}


def test_special_numbers_keep_their_bits(tmp_path):
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45])
    write_tensors(tmp_path / "a", {"odd": odd})
    assert torch.equal(read_tensors(tmp_path / "a")[0]["odd"].view(torch.int32), odd.view(torch.int32))


def test_no_tensors_and_no_metadata(tmp_path):
    write_tensors(tmp_path / "a", {})
    assert read_tensors(tmp_path / "a") == ({}, {})


def test_strided_tensors_are_written_by_their_values(tmp_path):
    image = numbers((2, 3, 4, 4), torch.float32)
    last = image.to(memory_format=torch.channels_last)
    tensors = {"transposed": numbers((3, 4), torch.float32).t(), "last": last, "part": image[:, 1, ::2]}
    write_tensors(tmp_path / "a", tensors)
    same(tensors, read_tensors(tmp_path / "a")[0])


def test_what_is_read_may_be_changed(tmp_path):
    write_tensors(tmp_path / "a", {"x": torch.zeros(3)})
    tensor = read_tensors(tmp_path / "a")[0]["x"]
    tensor += 1
    assert tensor.tolist() == [1, 1, 1]
    assert read_tensors(tmp_path / "a")[0]["x"].tolist() == [0, 0, 0]


def test_the_library_reads_what_labkit_writes(tmp_path):
    path = tmp_path / "ours.safetensors"
    write_tensors(path, every_kind(), {"facts": "caf\u00e9", "n": "1"})
    same(every_kind(), load_file(path))
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"facts": "caf\u00e9", "n": "1"}


def test_labkit_reads_what_the_library_writes(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file(every_kind(), path, {"facts": "caf\u00e9"})
    tensors, metadata = read_tensors(path)
    same(every_kind(), tensors)
    assert metadata == {"facts": "caf\u00e9"}


def test_one_tensor_gives_the_very_bytes_of_the_library(tmp_path):
    save_file({"weight": torch.arange(6.0).reshape(2, 3)}, tmp_path / "theirs")
    write_tensors(tmp_path / "ours", {"weight": torch.arange(6.0).reshape(2, 3)})
    theirs, ours = (tmp_path / "theirs").read_bytes(), (tmp_path / "ours").read_bytes()
    length = [int.from_bytes(raw[:8], "little") for raw in (theirs, ours)]
    assert json.loads(ours[8 : 8 + length[1]]) == json.loads(theirs[8 : 8 + length[0]])
    assert ours[8 + length[1] :] == theirs[8 + length[0] :]
    assert length[1] % 8 == 0, "the numbers begin at a multiple of eight"


@settings(max_examples=60)
@given(st.data())
def test_any_truncation_is_damage(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "a"
    write_tensors(path, {"x": torch.arange(5.0), "y": torch.tensor([True, False])}, {"facts": "{}"})
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(Damaged, match=str(path.name)):
        read_tensors(path)


@settings(max_examples=150)
@given(st.data())
def test_a_changed_header_is_read_or_reported_but_never_crashes(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "a"
    write_tensors(path, {"x": torch.arange(6.0).reshape(2, 3), "y": torch.arange(3)}, {"facts": "{}"})
    raw = bytearray(path.read_bytes())
    length = int.from_bytes(raw[:8], "little")
    raw[data.draw(st.integers(0, 8 + length - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw))
    try:
        tensors, _ = read_tensors(path)
    except Damaged:
        return
    assert all(tensor.numel() <= 6 for tensor in tensors.values())


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"not json", b""),
        (b"\xff\xfe\x00", b""),
        (b"7", b""),
        (b"[]", b""),
        (b'"text"', b""),
        (b"[" * 100_000, b""),
        ({"x": 5}, b""),
        ({"x": {"dtype": "F32"}}, b""),
        ({"x": ENTRY | {"dtype": "F99"}}, b"8 bytes."),
        ({"x": ENTRY | {"shape": [3]}}, b"8 bytes."),
        ({"x": ENTRY | {"shape": [-1]}}, b"8 bytes."),
        ({"x": ENTRY | {"shape": ["2"]}}, b"8 bytes."),
        ({"x": ENTRY | {"shape": 2}}, b"8 bytes."),
        ({"x": ENTRY | {"data_offsets": [0, 7]}}, b"8 bytes."),
        ({"x": ENTRY | {"data_offsets": [0, 800]}}, b"8 bytes."),
        ({"x": ENTRY | {"data_offsets": [-8, 8]}}, b"8 bytes."),
        ({"x": ENTRY | {"data_offsets": [-8, -1]}}, b"8 bytes."),
        ({"x": ENTRY | {"data_offsets": [8, 0]}}, b"8 bytes."),
        ({"x": ENTRY | {"data_offsets": [0]}}, b"8 bytes."),
        ({"x": ENTRY | {"data_offsets": [0.0, 8.0]}}, b"8 bytes."),
        ({"x": ENTRY}, b"8 bytes, and more"),
        ({"__metadata__": 5, "x": ENTRY}, b"8 bytes."),
    ],
)
def test_damaged_headers(tmp_path, header, body):
    path = tmp_path / "a"
    path.write_bytes(raw_file(header, body))
    with pytest.raises(Damaged, match=r"\ba\b"):
        read_tensors(path)


def test_a_file_that_announces_too_long_a_header(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff" * 8 + b"{}")
    with pytest.raises(Damaged, match="truncated"):
        read_tensors(tmp_path / "a")


def test_a_missing_file_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "a")


def test_kinds_that_the_format_lacks(tmp_path):
    with pytest.raises(TypeError, match=r"'z' is torch\.complex64"):
        write_tensors(tmp_path / "a", {"z": torch.zeros(2, dtype=torch.complex64)})
    assert list(tmp_path.iterdir()) == []


def test_a_tensor_may_not_take_the_name_of_the_metadata(tmp_path):
    with pytest.raises(ValueError, match="__metadata__"):
        write_tensors(tmp_path / "a", {"__metadata__": torch.zeros(2)})


def test_an_interrupted_write_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_tensors(path, {"x": torch.zeros(2)})
    before = path.read_bytes()

    def broken(descriptor):
        raise OSError(5, "input/output error")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="input/output"):
        write_tensors(path, {"x": torch.ones(2000)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "no leftover beside it"
