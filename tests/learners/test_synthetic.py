import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.learners.synthetic import GAIN, make_lessons, questions

TEXTS = {
    "a": "A heat pump is a device that moves heat from a cold place to a warm one. It was patented in 1856.",
    "b": "def read_json_lines(path):\n    return [json.loads(line) for line in path.open()]",
    "c": "The Norman conquest began in October 1066 when William landed. These were hard times.",
}


def test_questions_come_from_definitions_names_and_dates() -> None:
    assert next(questions(TEXTS["a"])) == "What is a heat pump?"
    assert next(questions(TEXTS["b"])) == "read json lines"
    assert next(questions(TEXTS["c"])) == "The Norman conquest began when?"


def test_a_pronoun_is_no_subject_of_a_question() -> None:
    assert list(questions("It is a device that moves heat from here to there.")) == []


def test_lessons_are_for_training_and_weigh_less_than_a_click() -> None:
    made = make_lessons(TEXTS)
    assert {next(iter(one.gains)) for one in made} == set(TEXTS)
    assert {one.split for one in made} == {"train"}
    assert all(gain == GAIN < 1 for one in made for gain in one.gains.values())
    assert made == make_lessons(dict(reversed(TEXTS.items())))


def test_what_users_asked_about_needs_no_made_up_questions() -> None:
    assert {c for one in make_lessons(TEXTS, taken=["a"]) for c in one.gains} == {"b", "c"}


def test_a_question_two_passages_would_give_is_about_neither() -> None:
    assert not make_lessons({"a": TEXTS["b"], "b": TEXTS["b"]})


@given(st.dictionaries(st.text("abc", min_size=1), st.text(max_size=200), max_size=8))
@settings(max_examples=60, deadline=None)
def test_every_word_of_a_question_stands_in_its_passage(texts: dict[str, str]) -> None:
    asked = {"what", "is", "are", "was", "were", "does", "mean", "refer", "to", "when"}
    for one in make_lessons(texts):
        (chunk,) = one.gains
        words = set(re.findall(r"\w+", one.question.lower())) - asked
        assert all(word in texts[chunk].lower().replace("_", " ") for word in words)
