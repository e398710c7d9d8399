from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from labkit.models.chat import LocalChat, Message, chat_from_environment

TALK = (Message("system", "be brief"), Message("user", "summarize"), Message("document", "a note"))


class Batch(dict[str, torch.Tensor]):
    def to(self, device: str) -> Batch:
        return self


def library(seen: dict[str, Any], template: str | None = "some template") -> SimpleNamespace:
    """A stand-in for transformers that keeps what it was asked; its model says the words 7 8 after any prompt."""

    class Tokenizer:
        chat_template = template

        def apply_chat_template(self, turns: Any, **options: Any) -> str:
            seen["turns"], seen["template"] = turns, options
            return "the prompt"

        def __call__(self, text: str, **options: Any) -> Batch:
            seen["text"], seen["tokenize"] = text, options
            return Batch(input_ids=torch.tensor([[1, 2, 3]]))

        def decode(self, row: torch.Tensor, **options: Any) -> str:
            return " " + " ".join(str(n) for n in row.tolist()) + "\n"

    class Model:
        def to(self, device: str) -> Model:
            return self

        def eval(self) -> Model:
            return self

        def generate(self, **options: Any) -> torch.Tensor:
            seen["generate"] = options
            return torch.tensor([[1, 2, 3, 7, 8]])

    def tokenizer(path: str, **options: Any) -> Tokenizer:
        seen["tokenizer options"] = options
        return Tokenizer()

    def model(path: str, **options: Any) -> Model:
        seen["model options"] = options
        return Model()

    return SimpleNamespace(
        AutoTokenizer=SimpleNamespace(from_pretrained=tokenizer), AutoModelForCausalLM=SimpleNamespace(from_pretrained=model)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_without_the_library_the_remedy_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="pip install transformers"):
        LocalChat(folder)


def test_a_models_name_is_no_folder() -> None:
    with pytest.raises(FileNotFoundError, match=r"some-org/some-model holds no config\.json"):
        LocalChat("some-org/some-model")


def test_only_the_folder_is_read_and_no_code_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "transformers", library(seen))
    monkeypatch.setenv("LABKIT_CHAT", str(folder))
    chat = chat_from_environment()
    assert isinstance(chat, LocalChat)
    assert seen["tokenizer options"] == {"local_files_only": True, "trust_remote_code": False}
    assert seen["model options"] == {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}


def test_it_replies_with_what_follows_the_prompt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "transformers", library(seen))
    assert LocalChat(folder, limit=5).reply(TALK) == "7 8"
    assert seen["turns"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "summarize\n\nDocument:\na note"}]
    assert seen["template"]["add_generation_prompt"]
    assert seen["tokenize"]["add_special_tokens"] is False, "the template has written them already"
    assert seen["generate"]["do_sample"] is False
    assert seen["generate"]["max_new_tokens"] == 5


def test_a_model_without_a_template_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", library({}, template=None))
    with pytest.raises(ValueError, match="no chat template"):
        LocalChat(folder)
