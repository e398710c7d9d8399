"""A language model in a folder of your own machine, through Hugging Face's ``transformers``: optional, and nothing is downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from labkit.data.dialogue import Message
from labkit.models.chat.protocol import as_turns


class LocalChat:
    """The model of a local folder (config.json, tokenizer, safetensors), asked greedily.

    Only files of the folder are read, none of its code is run, and weights must be safetensors. Raises FileNotFoundError for a folder that
    is none, ImportError with the remedy without ``transformers``, ValueError for a model without a chat template.
    """

    def __init__(self, folder: str | Path, *, limit: int = 128, device: str = "cpu") -> None:
        path = Path(folder).expanduser()
        if not (path / "config.json").is_file():
            raise FileNotFoundError(f"{path} holds no config.json: a folder as save_pretrained writes it is expected, not a model's name")
        try:
            transformers: Any = importlib.import_module("transformers")
        except ImportError as error:
            raise ImportError(
                "a local chat model needs the optional library transformers: pip install transformers. "
                "The chapter runs without it, on its own small model"
            ) from error
        only = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(str(path), **only)
        if not getattr(self.tokenizer, "chat_template", None):
            raise ValueError(f"the tokenizer in {path} has no chat template: take an instruction-tuned model")
        self.model = transformers.AutoModelForCausalLM.from_pretrained(str(path), use_safetensors=True, **only).to(device).eval()
        self.name, self.limit, self.device = path.name, limit, device

    def reply(self, messages: Sequence[Message]) -> str:
        """Return the likeliest reply, at most ``limit`` tokens."""
        text = self.tokenizer.apply_chat_template(as_turns(messages), tokenize=False, add_generation_prompt=True)
        batch = self.tokenizer(text, return_tensors="pt", add_special_tokens=False).to(self.device)
        with torch.no_grad():
            row = self.model.generate(**batch, max_new_tokens=self.limit, do_sample=False)[0]
        return str(self.tokenizer.decode(row[batch["input_ids"].shape[1] :], skip_special_tokens=True)).strip()
