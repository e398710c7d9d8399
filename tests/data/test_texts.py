"""Texts as tensors; messages are what their card says; and the papers' sets of this chapter are read in their real layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from labkit.data import DataCorrupt, DataMissing, ecg5000, load, messages, sms_spam, spoken_digits
from labkit.data.text import PAD, UNKNOWN, TextSplit, Vocabulary, decode, encode, token


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=20), max_size=5))
@settings(max_examples=50, deadline=None)
def test_texts_come_back_whole(texts: list[str]) -> None:
    x = encode(texts)
    assert x.dtype == torch.float32
    assert decode(x) == [" ".join(text.split()) for text in texts]
    assert decode(encode(texts, 100)) == decode(x)
    assert not x.numel() or (float(x.min()) >= 0 and float(x.max()) <= 1)


def test_what_is_no_text_is_explained() -> None:
    with pytest.raises(ValueError, match="3 bytes does not fit into 2"):
        encode(["abc"], 2)
    with pytest.raises(ValueError, match="zero byte"):
        encode(["a\0b"])
    with pytest.raises(ValueError, match="was a continuous change added"):
        decode(torch.full((1, 3), 200 / 255))


def test_tokens_keep_what_a_filter_reads() -> None:
    assert [token(w) for w in ("FREE!", "£500", "07712", "don't", "!!", '"Call"')] == ["free", "£000", "00000", "don't", "!!", "call"]


def test_a_vocabulary_numbers_words() -> None:
    known = Vocabulary.of(["to be or not to be", "to see"], at_least=2)
    assert known.words == ("", "<unknown>", "to", "be")
    assert known.counts == (0, 0, 3, 2)
    assert known.numbers(["be TO what", "to"]).tolist() == [[3, 2, UNKNOWN], [2, PAD, PAD]]
    assert known.numbers(["be to be"], length=2).tolist() == [[3, 2]]
    assert "Be!" in known
    assert "see" not in known


def test_messages_are_what_the_card_says() -> None:
    data, again = load("messages"), load("messages")
    assert data.fingerprint == again.fingerprint != load("messages", seed=1).fingerprint
    assert data.train.x.shape == (3000, messages.LENGTH)
    assert isinstance(data.test, TextSplit)
    texts = data.train.text + data.test.text
    assert len(set(texts)) == 4000, "all texts differ"
    assert not any("{" in text or "}" in text or "  " in text for text in texts)
    assert 0.26 < float(data.test.y.double().mean()) < 0.36
    assert data.test.take(torch.tensor([5])).text == [data.test.text[5]]
    assert data.train.subset(7).text[1] == data.train.text[3000 // 7]


def test_a_bag_of_words_learns_most_messages_and_not_all() -> None:
    data = load("messages")
    known = Vocabulary.of(data.train.text)

    def counts(split: TextSplit) -> torch.Tensor:
        return torch.nn.functional.one_hot(known.numbers(split.text), len(known))[..., 1:].sum(1).float()

    reader = LogisticRegression(max_iter=300).fit(counts(data.train), data.train.y)
    assert 0.95 < reader.score(counts(data.test), data.test.y) < 0.995


def test_a_new_story_is_kept_for_the_test_split() -> None:
    data = load("messages")
    for story in ("work from home and earn", "my phone died, this is"):
        told = [sum(story in text.lower() for text in split.text) for split in (data.train, data.test)]
        assert told[0] == 0 < told[1], story


@pytest.mark.parametrize("name", ["sms_spam", "spoken_digits", "ecg5000"])
def test_a_missing_set_says_where_it_can_be_had(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataMissing) as caught:
        load(name)
    for part in ("The course does not download it", 'PROFILE="quick" needs none', str(tmp_path / "data"), " MB)"):
        assert part in str(caught.value)


@pytest.mark.parametrize("module", [sms_spam, spoken_digits, ecg5000])
def test_a_damaged_file_is_named(module: object, data: Path) -> None:
    place = data / module.PATH  # type: ignore[attr-defined]
    place.parent.mkdir()
    place.write_bytes(b"x" * module.KNOWN.size)  # type: ignore[attr-defined]
    with pytest.raises(DataCorrupt, match="md5 expected"):
        module.load()  # type: ignore[attr-defined]


def test_messages_are_read_once_each(tmp_path: Path) -> None:
    path = tmp_path / "SMSSpamCollection"
    path.write_text("ham\tsee you\nspam\tFREE cash\nham\tsee  you\n", encoding="utf-8")
    assert sms_spam.read(path) == [("see you", 0), ("FREE cash", 1)]
    path.write_text("eggs\tsee you\n", encoding="utf-8")
    with pytest.raises(DataCorrupt, match="line 1: expected 'ham' or 'spam'"):
        sms_spam.read(path)


def test_recordings_are_split_by_their_number(tmp_path: Path) -> None:
    from labkit.data.fake import write_spoken_digits

    arrays = spoken_digits.read(write_spoken_digits(tmp_path))
    assert arrays["test"][0].shape == (64, 8000)
    assert (arrays["train"][0][:, 4000:] == 0).all(), "a short recording ends in silence"
    data = load("spoken_digits", smoke=True)
    spectrum = torch.fft.rfft(data.test.x[:, 0, :4000]).abs().argmax(1) * 2
    assert spectrum.tolist() == [300 + 250 * y for y in data.test.y.tolist()], "sound and label belong together"


def test_beats_are_scaled_and_counted_from_zero(tmp_path: Path) -> None:
    from labkit.data.fake import write_ecg5000

    _, y = ecg5000.read(write_ecg5000(tmp_path))
    assert set(y.tolist()) == set(range(5))
    data = load("ecg5000", smoke=True)
    assert float(data.train.x.min()) > 0.3
    peak = data.test.x[:, 0].argmax(1)
    assert torch.equal(((peak - 20) / 25).round().long(), data.test.y)
