from __future__ import annotations

import string

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.discrete import deletions, look_alikes, numerals, slips, spaces, swaps, twice, unseen_blanks
from labkit.data.text import Vocabulary
from labkit.defenses.spelling import Corrected, Speller, one_slip

KNOWN = Vocabulary.of(
    ["claim your prize today call winner voucher", "claim prize free cash winner", "claim free your cash today call voucher"]
)


@pytest.fixture
def speller() -> Speller:
    return Speller(KNOWN)


def brute(a: str, b: str) -> bool:
    letters = string.ascii_lowercase
    near = {a} | {a[:i] + a[i + 1 :] for i in range(len(a))}
    near |= {a[:i] + a[i + 1] + a[i] + a[i + 2 :] for i in range(len(a) - 1)}
    near |= {a[:i] + c + a[i + 1 :] for i in range(len(a)) for c in letters} | {
        a[:i] + c + a[i:] for i in range(len(a) + 1) for c in letters
    }
    return b in near


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
@settings(max_examples=300, deadline=None)
def test_one_slip_is_what_enumeration_says(a: str, b: str) -> None:
    assert one_slip(a, b) == brute(a, b) == one_slip(b, a)


@pytest.mark.parametrize("kind", [swaps, deletions, slips, spaces, look_alikes])
@pytest.mark.parametrize("word", ["claim", "prize", "winner", "voucher"])
def test_one_edit_of_a_known_word_is_undone(speller: Speller, kind: object, word: str) -> None:
    assert all(speller(one) == word for one in kind(word))  # type: ignore[operator]


def test_two_edits_are_too_many_and_known_words_stay(speller: Speller) -> None:
    assert any(speller(one) != "voucher" for one in twice(swaps)("voucher"))
    assert all(speller(one) == one for one in (*numerals("voucher"), *unseen_blanks("voucher"))), "not letters only: left alone"
    text = "Claim your FREE cash TODAY!"
    assert speller(text) == text
    assert speller("cal") == "cal", "short words are left alone"
    assert speller("unheard-of 12345") == "unheard-of 12345"
    assert speller(speller("calim yuor prizze")) == speller("calim yuor prizze")


def test_what_is_read_is_what_was_corrected(speller: Speller) -> None:
    heard: list[str] = []

    def reader(texts: list[str]) -> torch.Tensor:
        heard.extend(texts)
        return torch.zeros(len(texts), 2)

    Corrected(speller, reader)(["Calim yuor pr\u0456ze", "call today"])
    assert heard == ["claim your prize", "call today"]
