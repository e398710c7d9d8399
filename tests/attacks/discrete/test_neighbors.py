from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.discrete import (
    HOMOGLYPHS,
    NUMERALS,
    SYNONYMS,
    UNSEEN,
    deletions,
    edit_distance,
    either,
    look_alikes,
    numerals,
    plain,
    slips,
    spaces,
    swaps,
    synonyms,
    table,
    twice,
    typos,
    unseen_blanks,
)  # fmt: skip

words = st.text(string.ascii_letters, min_size=1, max_size=9)


@given(words)
@settings(max_examples=50, deadline=None)
def test_every_edit_is_the_size_it_says(word: str) -> None:
    assert all(sorted(one) == sorted(word) and edit_distance(one, word) == 2 for one in swaps(word))
    assert all(len(one) == len(word) - 1 and edit_distance(one, word) == 1 for one in deletions(word))
    assert all(len(one) == len(word) and edit_distance(one, word) == 1 for one in slips(word))
    assert all(one.replace(" ", "") == word and one.count(" ") == 1 for one in spaces(word))
    assert all(one[0] == word[0] and one[-1] == word[-1] for one in (*swaps(word), *deletions(word), *slips(word)))
    assert word not in typos(word)
    assert set(twice(deletions)(word)) == {two for one in deletions(word) for two in deletions(one)} - {word}


@given(words)
@settings(max_examples=50, deadline=None)
def test_look_alikes_go_back(word: str) -> None:
    for one in look_alikes(word):
        assert one != word
        assert plain(one) == word
        assert len(one) == len(word)
    assert plain(plain(word)) == plain(word) == word


def test_homoglyphs_are_one_to_one_and_foreign() -> None:
    assert len(set(HOMOGLYPHS.values())) == len(HOMOGLYPHS)
    assert all(letter.isascii() and not foreign.isascii() and len(foreign) == 1 for letter, foreign in HOMOGLYPHS.items())


@given(words)
@settings(max_examples=50, deadline=None)
def test_signs_beyond_the_table_of_look_alikes_are_not_put_back(word: str) -> None:
    assert len(numerals(word)) == sum(letter in NUMERALS for letter in word)
    assert all(len(one) == len(word) and edit_distance(one, word) == sum(letter.isdigit() for letter in one) == 1 for one in numerals(word))
    assert len(unseen_blanks(word)) == len(word) - 1
    for one in unseen_blanks(word):
        assert one.split() == [one], "one word still"
        assert one.replace(UNSEEN, "") == word
    assert all(plain(one) == one != word for one in (*numerals(word), *unseen_blanks(word)))


def test_which_digit_stands_for_which_letter() -> None:
    assert numerals("cool") == ("c0ol", "co0l", "coo1")
    assert numerals("why") == ()
    assert unseen_blanks("abc") == ("a\u200bbc", "ab\u200bc")


def test_a_table_keeps_the_writing() -> None:
    near = table({"free": ["gratis", "at no cost"]})
    assert near("free") == ("gratis", "at no cost")
    assert near("Free!") == ("Gratis!", "At no cost!")
    assert near('"FREE",') == ('"GRATIS",', '"AT NO COST",')
    assert near("freely") == near("!") == ()


def test_the_courses_words_stand_for_others() -> None:
    assert len(SYNONYMS) > 100
    assert all(values and word not in values for word, values in SYNONYMS.items())
    assert "Complimentary" in synonyms("Free")
    assert either(synonyms, swaps)("free") == (*synonyms("free"), *swaps("free"))


@pytest.mark.parametrize(("a", "b", "distance"), [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)])
def test_edit_distance(a: str, b: str, distance: int) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == distance
