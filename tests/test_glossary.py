"""A question in the documents' words."""

import pytest

from ragkeep.errors import ConfigError
from ragkeep.glossary import Glossary

OURS = Glossary({"gatoraq": "sports drink", "Frobbing": "cleaning", "getZorbl": "get pump"})


def test_a_word_is_put_as_the_documents_say_it_whatever_its_form() -> None:
    assert OURS.apply("Who sells Gatoraqs, and who frobbed them?") == "Who sells sports drink, and who cleaning them?"
    assert OURS.apply("call getZorbl() first") == "call get pump() first"


def test_other_words_stay_to_the_letter() -> None:
    text = "  What's a gator?\n(zorbl)  "
    assert OURS.apply(text) == text
    assert Glossary({}).apply(text) is text


def test_it_says_which_entries_a_question_uses_once_each_in_order() -> None:
    assert OURS.put("Frobbing a gatoraq: frobbing how?")[1] == (
        "Frobbing=cleaning",
        "gatoraq=sports drink",
        "frobbing=cleaning",
    )
    assert OURS.put("anything else") == ("anything else", ())


@pytest.mark.parametrize(
    ("word", "means"), [("two words", "one"), ("", "x"), ("the", "x"), ("gatoraq", "  "), ("a-b", "x")]
)
def test_what_is_no_entry_is_named(word: str, means: str) -> None:
    with pytest.raises(ConfigError, match=r"retrieve\.glossary: .* must be a word"):
        Glossary({word: means})
