"""Lessons: what each act teaches, who is not believed, what is never learned from, and where a lesson goes."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkeep.files import read_json
from tasks.claims import Claim, Opinion, meant, opinions, trust
from tasks.inputs import write_interactions
from tasks.learn import run as climb
from tasks.lessons import CARD, LESSONS
from tasks.lessons import TEXTS as TEXTS_FILE
from tasks.questions import share
from tasks.suspects import suspects
from tasks.trainset import account, split_of

from .learning import ASKED, SMALL, TEXTS, People
from .nights import PARAMS, put_rows

DOCS = tuple(TEXTS)


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    made = People(tmp_path)
    yield made
    made.close()


def test_an_empty_log_makes_an_empty_set_that_says_so(people: People) -> None:
    found = people.learn()
    assert (found.lessons, found.texts) == ((), {})
    assert found.card["note"] == "the interaction log holds nothing that is sealed: there is nothing to learn from yet"
    assert found.card["simulated"] is False


def test_one_interaction_is_too_little(people: People) -> None:
    people.vote(people.ask("ann", ASKED["d00.md"], "d00.md"))
    found = people.learn(replace(SMALL, min_lessons=50))
    assert found.lessons == ()
    assert "1 lessons are fewer than learn.min_lessons (50)" in found.card["note"]


def test_a_thin_log_is_filled_up_with_questions_from_documents_labelled_and_for_training_only(people: People) -> None:
    people.vote(people.ask("ann", ASKED["d00.md"], "d00.md"))
    found = people.learn(replace(SMALL, synthetic=5))
    (asked,) = found.asked().lessons
    made = [one for one in found.lessons if one.synthetic]
    assert len(made) == found.card["synthetic"] == 5 - (asked.split == "train")
    assert {(one.split, one.workspace, one.users, one.seqs) for one in made} == {("train", "default", 0, ())}
    assert people.chunks["d00.md"].id not in {chunk for one in made for chunk in one.gains}
    assert (found.card["lessons"], found.card["splits"][asked.split]["lessons"]) == (1, 1)
    page = (people.paths.data / "trainset" / "card.md").read_text()
    assert f"- {len(made)} more questions that nobody asked, made from documents, for training only" in page


def test_no_question_is_made_from_what_is_held_out_nor_where_there_are_no_lessons(people: People) -> None:
    assert people.learn(replace(SMALL, synthetic=5)).lessons == ()
    people.vote(people.ask("ann", ASKED["d00.md"], "d00.md"))
    assert people.learn(replace(SMALL, synthetic=5, unseen=1.0)).card["synthetic"] == 0


def test_an_up_vote_speaks_for_what_was_cited(people: People) -> None:
    people.vote(people.ask("ann", ASKED["d00.md"], "d00.md", "d01.md"))
    lesson = people.lesson("d00.md")
    assert people.gains(lesson) == {"d00.md": 0.6}
    assert (lesson.passed, lesson.users, lesson.workspace, lesson.seqs) == ((), 1, "default", (1, 2))


def test_only_down_votes_teach_nothing(people: People) -> None:
    for name in DOCS:
        people.vote(people.ask("ann", ASKED[name], name), -1)
    found = people.learn()
    assert found.lessons == ()
    assert found.card["left_out"]["questions nothing answers"] == len(DOCS)


def test_an_opened_source_counts_and_what_was_passed_over_counts_against(people: People) -> None:
    answer = people.ask("ann", ASKED["d02.md"], "d00.md", "d01.md", "d02.md", "d03.md")
    people.click(answer, 3)
    lesson = people.lesson("d02.md")
    assert people.gains(lesson) == {"d02.md": 0.5}
    assert lesson.passed == (people.chunks["d01.md"].id,)  # d00 was cited, d03 perhaps never seen


@given(st.floats(0.06, 0.1), st.floats(0.2, 1.0), st.lists(st.integers(1000, 2000), min_size=5, max_size=5))
def test_of_the_clicks_at_a_rank_those_are_meant_that_no_rank_gets_by_mistake(
    by_mistake: float, steep: float, lengths: list[int]
) -> None:
    shown = dict(enumerate(sorted(lengths, reverse=True), 1))
    rates = {rank: by_mistake + (0.6 * steep**rank if rank < 5 else 0) for rank in shown}
    found = meant(shown, {rank: round(n * rates[rank]) for rank, n in shown.items()})
    for rank, rate in rates.items():
        assert found[rank] == pytest.approx(max(0.1, 1 - by_mistake / rate), abs=0.05)


def test_what_too_few_clicks_say_of_a_rank_is_not_taken() -> None:
    shown = dict.fromkeys(range(1, 6), 1000)
    assert meant({}, {}) == {}
    assert meant(shown, {1: 30, 2: 10, 3: 4, 4: 2}) == {}
    assert meant(shown, {1: 5000, 2: 1000, 3: 50}) == {}, "less than a hundredth of all clicks"
    assert set(meant(shown, dict.fromkeys(range(1, 6), 100)).values()) == {0.1}
    few = meant({**shown, 12: 3}, {1: 500, 2: 100, 3: 50, 4: 2, 12: 3})
    assert (few[4], few[12]) == (0.1, 0.1), "three long answers prove nothing"


def click_around(people: People, *ranks: int) -> None:
    """Let thirty accounts open sources at ranks 1, 2 and 3 so often."""
    for n, rank in enumerate(rank for rank, often in enumerate(ranks, 1) for _ in range(often)):
        people.click(people.ask(f"u{n % 30}", f"Question {n} about nothing", *DOCS[:3]), rank)


def test_a_lesson_follows_a_click_less_where_most_clicks_are_mistakes(people: People) -> None:
    click_around(people, 60, 30, 20)
    people.click(people.ask("ann", ASKED["d01.md"], "d00.md", "d04.md", "d01.md"), 3)
    people.click(people.ask("ann", ASKED["d04.md"], "d04.md", "d01.md", "d02.md"), 1)
    found = {one.question: people.gains(one) for one in people.learn().lessons}
    assert found[ASKED["d04.md"]] == {"d04.md": 0.5}
    assert found[ASKED["d01.md"]] == {"d01.md": pytest.approx(0.5 * 0.1 / 0.66, abs=0.005)}
    assert list(people.learn().card["clicks_meant"].values()) == pytest.approx([0.66, 0.3, 0.1], abs=0.01)
    assert "| default, 1 | 0.6" in (people.paths.data / "trainset" / "card.md").read_text()


def test_a_stray_click_says_nothing_of_the_ranks_below() -> None:
    shown = dict.fromkeys(range(1, 6), 100)
    assert meant(shown, {1: 60, 2: 4, 3: 20, 4: 15, 5: 10}) == {1: 0.83, 2: 0.1, 3: 0.5, 4: 0.33, 5: 0.1}


def test_who_is_judged_by_clicks_takes_them_all_alike(people: People) -> None:
    click_around(people, 60, 30, 20)
    people.click(people.ask("ann", ASKED["d01.md"], "d00.md", "d04.md", "d01.md"), 3)
    held = people.learn(replace(SMALL, report=1.0, select=0.0))
    assert held.card["clicks_meant"]
    assert people.gains(next(one for one in held.lessons if one.question == ASKED["d01.md"])) == {"d01.md": 0.5}


def test_several_who_open_a_doubtful_source_outweigh_the_doubt_and_one_who_is_against_it(people: People) -> None:
    click_around(people, 60, 30, 20)
    for n in range(4):
        people.click(people.ask(f"u{n}", ASKED["d01.md"], "d00.md", "d04.md", "d01.md"), 3)
    people.vote(people.ask("eve", ASKED["d01.md"], "d01.md"), -1)
    lesson = people.lesson("d01.md")
    whole = 1 - 0.5**4 - 0.6  # what four say, less what one says
    assert lesson.users == 4
    assert people.gains(lesson)["d01.md"] == pytest.approx(whole * (1 - (1 - 0.1 / 0.67) ** 4), abs=0.02)


FOLLOWED = {1: 1.0, 2: 0.5, 3: 0.1}


def test_who_is_against_a_chunk_does_not_make_it_followed() -> None:
    doubted = Claim("c", "ann", 0.5, "click", 3)
    both = [Claim("c", "bob", 0.5, "click", 1), Claim("c", "bob", -0.6, "vote down")]
    assert trust([doubted, *both], opinions([doubted, *both]), FOLLOWED) == {"c": pytest.approx(0.1)}


def test_a_weak_vote_does_not_make_a_doubted_click_followed_whole() -> None:
    said = [Claim("c", "ann", 0.5, "click", 3), Claim("c", "ann", 0.2, "vote up")]
    assert trust(said, opinions(said), FOLLOWED) == {"c": pytest.approx(0.2 / 0.5)}
    assert trust(said[1:], opinions(said[1:]), FOLLOWED) == {"c": 1.0}
    assert trust(said, opinions(said), {}) == {"c": 1.0}


def test_another_wording_is_followed_as_far_as_the_click_it_stands_on(people: People) -> None:
    click_around(people, 60, 30, 20)
    people.ask("ann", "What does the rubbery ring thing in the pump do?", "d00.md", session="s1")
    people.click(people.ask("ann", "What does the gasket in the pump do?", *DOCS[4:6], "d01.md", session="s1"), 3)
    found = {one.question: people.gains(one) for one in people.learn().lessons}
    gains = [found[f"What does the {name} in the pump do?"]["d01.md"] for name in ("rubbery ring thing", "gasket")]
    assert gains == [pytest.approx(share * 0.1 / 0.66, abs=0.005) for share in (0.3, 0.5)]


def test_no_account_makes_its_own_clicks_believed_nor_those_of_others_doubted(people: People) -> None:
    click_around(people, 60, 30, 20)
    for n in range(80):
        people.click(people.ask("eve", f"What else is there, number {n}", *DOCS[:4]), 3 + n % 2)
    shares = people.learn().card["clicks_meant"]
    assert list(shares) == ["default, 1", "default, 2", "default, 3"], "the fourth is one account's alone"
    assert 0.1 < shares["default, 2"] < shares["default, 1"]


def test_each_workspace_is_counted_by_itself_and_without_who_is_set_aside(people: People) -> None:
    click_around(people, 60, 30, 20)
    for n in range(40):
        rank = 1 + n % 3
        people.click(people.ask(f"v{n % 4}", f"Thing {n} about nothing", *DOCS[:3], workspace="notes"), rank)
        people.vote(people.ask("bot", f"Thing {n} about much", *DOCS[:3]))
    for n in range(40):  # thirty answers in a row, and nothing asked between: a burst
        people.click(f"a{n * 2 + 1}", 3, user="bot")
    shares = people.learn().card["clicks_meant"]
    assert list(shares.values()) == pytest.approx([0.66, 0.32, 0.1, 0.1, 0.1, 0.1], abs=0.03)


def test_a_lesson_that_is_held_out_knows_all_that_was_shown(people: People) -> None:
    people.click(people.ask("ann", ASKED["d02.md"], "d00.md", "d01.md", "d02.md", "d03.md"), 3)
    assert people.lesson("d02.md").shown == ()
    held = people.learn(replace(SMALL, report=1.0, select=0.0)).lessons[0]
    assert set(held.shown) == {people.chunks[f"d0{n}.md"].id for n in range(4)}


def test_what_was_voted_down_was_passed(people: People) -> None:
    answer = people.ask("ann", ASKED["d02.md"], "d00.md", "d02.md")
    people.vote(answer, -1)
    people.click(answer, 2)
    assert people.lesson("d02.md").passed == (people.chunks["d00.md"].id,)


def test_a_correction_finds_the_chunk_that_holds_it_though_it_was_not_shown(people: People) -> None:
    people.correct(people.ask("ann", ASKED["d03.md"], "d00.md"), "It is washed weekly, the filter is.")
    lesson = people.lesson("d03.md")
    assert people.gains(lesson) == {"d03.md": 0.8}
    assert lesson.passed == (people.chunks["d00.md"].id,)


def test_a_correction_that_no_chunk_holds_teaches_nothing(people: People) -> None:
    people.correct(people.ask("ann", ASKED["d03.md"], "d00.md"), "Ask the janitor on the second floor.")
    assert people.learn().lessons == ()


def test_a_question_asked_again_with_better_words_learns_from_the_end_more_weakly(people: People) -> None:
    people.ask("ann", "What does the rubbery ring thing in the pump do?", "d00.md", session="s1")
    people.ask("ann", "What is the weather?", "d04.md", session="s2")
    people.vote(people.ask("ann", "What does the gasket in the pump do?", "d01.md", session="s1"))
    found = {one.question: people.gains(one) for one in people.learn().lessons}
    assert found == {
        "What does the rubbery ring thing in the pump do?": {"d01.md": 0.3},
        "What does the gasket in the pump do?": {"d01.md": 0.6},
    }


def test_independent_accounts_add_up_and_one_that_repeats_itself_does_not(people: People) -> None:
    for user in ("ann", "bob", "bob", "bob"):
        people.vote(people.ask(user, ASKED["d00.md"], "d00.md"))
    lesson = people.lesson("d00.md")
    assert people.gains(lesson) == {"d00.md": 0.84}
    assert lesson.users == 2


def test_accounts_that_contradict_each_other_cancel_unless_enough_agree(people: People) -> None:
    for name, votes in (("d00.md", [1, -1]), ("d01.md", [1, 1, -1]), ("d02.md", [1, -1, -1])):
        for n, value in enumerate(votes):
            people.vote(people.ask(f"u{n}", ASKED[name], name, "d07.md"), value)
    found = people.learn()
    assert [(one.question, people.gains(one)) for one in found.lessons] == [(ASKED["d01.md"], {"d01.md": 0.24})]
    assert found.card["left_out"]["disputed chunks"] == 1


def test_the_last_vote_of_an_account_counts(people: People) -> None:
    answer = people.ask("ann", ASKED["d00.md"], "d00.md")
    people.vote(answer, -1)
    people.vote(answer, 1)
    assert people.gains(people.lesson("d00.md")) == {"d00.md": 0.6}


def test_spellings_of_a_question_are_one_lesson(people: People) -> None:
    for user, question in (("ann", "How is the valve checked?"), ("bob", "how is the VALVE checked"),
                           ("cid", "Is the valve being checked?")):  # fmt: skip
        people.vote(people.ask(user, question, "d00.md"))
    [lesson] = people.learn().lessons
    assert (lesson.question, lesson.users) == ("How is the valve checked?", 3)


def test_a_golden_question_is_not_learned_from_nor_one_much_like_it(people: People, tmp_path: Path) -> None:
    golden = {"id": "q1", "text": "How is the valve checked daily?", "split": "test", "labels": [], "answerable": False}
    put_rows(tmp_path / "golden.jsonl", golden)
    params = replace(PARAMS, evaluate=replace(PARAMS.evaluate, sets=("golden.jsonl",)))
    for question in ("how is the valve checked daily", "The valve, how is it checked daily?", "Who made the gasket?"):
        people.vote(people.ask("ann", question, "d00.md"))
    found = people.learn(params=params)
    assert [one.question for one in found.lessons] == ["Who made the gasket?"]
    assert found.card["left_out"]["evaluation questions"] == 2


def test_test_questions_of_excluded_folders_are_not_learned_from(people: People, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    put_rows(folder / "corpus.jsonl", {"id": "x", "text": "The gasket."})
    asked = {"q": "Who made the gasket?", "r": "Who broke the rotor?"}
    put_rows(folder / "queries.jsonl", *({"id": name, "text": text} for name, text in asked.items()))
    for name, query in (("qrels.tsv", "q"), ("qrels_train.tsv", "r")):
        (folder / name).write_text(f"query-id\tcorpus-id\tscore\n{query}\tx\t1\n")
    for question in ("Who made that gasket", "Who broke this rotor"):
        people.vote(people.ask("ann", question, "d00.md"))
    found = people.learn(replace(SMALL, exclude=("set",)))
    assert [one.question for one in found.lessons] == ["Who broke this rotor"]


def test_personal_data_in_a_question_is_masked(people: People) -> None:
    people.vote(people.ask("ann", "Why does ann@example.com check the valve?", "d00.md"))
    [lesson] = people.learn().lessons
    assert lesson.question == "Why does <EMAIL> check the valve?"


def test_an_erased_user_is_not_learned_from_though_it_was_in_the_middle(people: People) -> None:
    for n, name in enumerate(DOCS):
        people.vote(people.ask(f"u{n % 2}", ASKED[name], name))
    before = people.learn()
    gone = people.erase("u1")
    after = people.learn()
    assert {q for one in before.lessons for q in one.seqs} >= set(gone)
    assert {one.question for one in after.lessons} == {ASKED[name] for name in DOCS[::2]}
    assert not {q for one in after.lessons for q in one.seqs} & set(gone)
    assert (after.card["log"]["erasures"], after.card["log"]["erased"]) == (1, len(gone))
    assert after.sha != before.sha


def test_chunks_that_moved_are_found_again_and_those_of_deleted_documents_are_not(people: People) -> None:
    people.vote(people.ask("ann", ASKED["d00.md"], "d00.md"))
    people.vote(people.ask("ann", ASKED["d01.md"], "d01.md"))
    people.rewrite({"d00.md": f"{TEXTS['d00.md']} Since May."})
    found = people.learn()
    assert [people.gains(one) for one in found.lessons] == [{"d00.md": 0.6}]
    assert {k: n for k, n in found.card["left_out"].items() if "shown" in k} == {
        "shown chunks gone": 1, "shown chunks moved": 1,
    }  # fmt: skip


def test_another_workspaces_words_are_lessons_of_their_own(people: People) -> None:
    people.vote(people.ask("ann", ASKED["d00.md"], "d00.md", workspace="vault"))
    assert people.learn().lessons == ()  # the vault has no such document


def test_clocks_that_jump_change_nothing(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    for n, name in enumerate(DOCS):
        at = f"20{(n * 37) % 90 + 10}-01-01T00:00:00.000+00:00"
        monkeypatch.setattr("ragkeep.interactions.records.now", lambda at=at: at)
        people.vote(people.ask("ann", ASKED[name], name))
    monkeypatch.undo()
    assert {one.seqs for one in people.learn().lessons} == {(2 * n + 1, 2 * n + 2) for n in range(len(DOCS))}


def test_a_clock_set_back_a_year_halfway_teaches_the_same_to_the_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for years in (("2026", "2026"), ("2026", "2025")):
        (tmp_path / "-".join(years)).mkdir()
        people = People(tmp_path / "-".join(years))
        for n, name in enumerate(DOCS):
            at = f"{years[2 * n // len(DOCS)]}-03-01T00:00:{n:02}.000+00:00"
            monkeypatch.setattr("ragkeep.interactions.records.now", lambda at=at: at)
            people.click(people.ask(f"u{n % 3}", ASKED[name], "d00.md", name, session=f"of-u{n % 3}"), 2)
        people.learn()
        made.append([(people.paths.data / "trainset" / kind).read_bytes() for kind in (LESSONS, TEXTS_FILE, CARD)])
        people.close()
    assert made[0] == made[1]


@pytest.mark.parametrize("votes", [[], [1], [-1] * len(DOCS)], ids=["empty log", "one interaction", "all down"])
def test_a_log_that_teaches_nothing_is_no_error_of_the_ladder(people: People, votes: list[int]) -> None:
    for name, value in zip(DOCS, votes, strict=False):
        people.vote(people.ask("ann", ASKED[name], name), value)
    people.learn()
    climb(people.paths, PARAMS)
    found = read_json(people.paths.data / "learned.json")
    assert (found["parts"], found["tried"], found["gain"]) == ([], [], None)
    assert found["reasons"][0].startswith("there are too few lessons to learn from and to measure with")


def test_only_the_newest_records_are_read(people: People) -> None:
    for name in DOCS:
        people.vote(people.ask("ann", ASKED[name], name))
    found = people.learn(replace(SMALL, window=4))
    assert {one.question for one in found.lessons} == {ASKED[name] for name in DOCS[-2:]}
    assert found.card["window"] == {"first": 13, "last": 16, "records": 4}


def test_a_lesson_stays_where_it_is_when_the_log_grows(people: People) -> None:
    learn = replace(SMALL, unseen=0.3)
    places: dict[str, str] = {}
    for part in range(4):
        for n in range(part * 30, part * 30 + 30):
            people.vote(people.ask("ann", f"What is number{n} of thing{n % 7}?", DOCS[n % 8]))
        found = people.learn(learn)
        now = {one.id: one.split for one in found.lessons}
        assert not [one for one, split in places.items() if split != "train" and now[one] != split]
        places = now
    assert {*places.values()} == {"train", "select", "report"}


def test_a_document_held_out_is_never_trained_on_and_lessons_about_it_are_unseen(people: People) -> None:
    learn = replace(SMALL, unseen=0.3)
    for n in range(120):
        people.vote(people.ask("ann", f"What is number{n} of thing{n % 7}?", DOCS[n % 8]))
    found = people.learn(learn)
    held = {name for name in DOCS if share("document", f"default/docs/{name}") < learn.unseen}
    assert held
    assert not {doc for one in found.of("train") for doc in people.gains(one)} & held
    unseen = [one for one in found.of("report") if one.unseen]
    assert {doc for one in unseen for doc in people.gains(one)} == held
    assert all(split_of(one.question, learn) == "train" for one in found.of("train"))


def test_equal_logs_make_equal_bytes(tmp_path: Path) -> None:
    def made(root: Path) -> dict[str, bytes]:
        root.mkdir()
        people = People(root)
        click_around(people, 30, 25, 20)
        for name in DOCS:
            people.vote(people.ask("ann", ASKED[name], name))
        assert people.learn().card["clicks_meant"]
        people.close()
        return {path.name: path.read_bytes() for path in (root / "data" / "trainset").iterdir()}

    first = made(tmp_path / "a")
    assert first == made(tmp_path / "b")
    assert first.keys() == {"lessons.jsonl", "texts.jsonl", "quarantine.jsonl", "card.json", "card.md"}


def test_a_question_nobody_could_read_is_set_aside_with_its_reason(people: People) -> None:
    people.vote(people.ask("ann", "word " * 600, "d00.md"))
    people.vote(people.ask("ann", ASKED["d01.md"], "d01.md"))
    found = people.learn()
    [row] = map(json.loads, (people.paths.data / "trainset" / "quarantine.jsonl").read_text().splitlines())
    assert (row["what"], row["reason"], row["seqs"]) == ("lesson", "length", [1, 2])
    assert [one.question for one in found.lessons] == [ASKED["d01.md"]]


def attack(people: People, share_of_votes: float, how: str, questions: int = 160) -> list[dict[str, object]]:
    """Let ten honest accounts, wrong now and then, and three attackers be heard; return what was set aside."""
    draw, docs = random.Random(7), list[str]()
    for n in range(questions):
        doc = draw.choice(DOCS)
        docs.append(doc)
        for user in draw.sample([f"honest{i}" for i in range(10)], 4):
            shown = [doc, draw.choice(DOCS)]
            people.vote(people.ask(user, f"{ASKED[doc]} for pump{n}", *shown), -1 if draw.random() < 0.2 else 1)
    for n in range(round(4 * questions * share_of_votes)):
        user, doc = f"poison{n % 3}", docs[n % questions]
        answer = people.ask(user, f"{ASKED[doc]} for pump{n % questions}", doc, "d07.md")
        if how == "inverted":
            people.vote(answer, -1)
            people.click(answer, 2)
        elif how == "targeted":
            people.correct(answer, TEXTS["d07.md"])
    people.learn(replace(SMALL, per_user_cap=1000))
    return [json.loads(row) for row in (people.paths.data / "trainset/quarantine.jsonl").read_text().splitlines()]


POISONERS = {account(f"poison{n}") for n in range(3)}


@pytest.mark.parametrize("share_of_votes", [0.1, 0.25])
@pytest.mark.parametrize(("how", "reason"), [("inverted", "contradicts"), ("targeted", "one document")])
def test_attackers_are_not_believed_and_honest_people_are(
    people: People, share_of_votes: float, how: str, reason: str
) -> None:
    rows = attack(people, share_of_votes, how)
    assert {row["account"] for row in rows} == POISONERS
    assert {row["reason"] for row in rows} <= {reason, "contradicts"}
    assert not any("poison" in json.dumps(row) for row in rows)


def test_an_account_that_rates_one_answer_after_the_other_without_asking_is_not_believed(people: People) -> None:
    answers = [people.ask(f"u{n % 5}", f"{ASKED[DOCS[n % 8]]} for pump{n}", DOCS[n % 8]) for n in range(40)]
    for answer in answers:
        people.vote(answer)
        people.vote(answer, user="robot")
    found = people.learn()
    assert found.card["quarantined"] == {"burst": 1}
    assert {one.users for one in found.lessons} == {1}
    trusted = people.learn(replace(SMALL, trust=(account("robot"),)))
    assert {one.users for one in trusted.lessons} == {2}


def test_no_account_speaks_in_many_more_lessons_than_the_others(people: People) -> None:
    for n in range(60):
        user = "talker" if n >= 20 else f"u{n % 5}"
        people.vote(people.ask(user, f"{ASKED[DOCS[n % 8]]} for pump{n}", DOCS[n % 8]))
    found = people.learn(replace(SMALL, per_user_cap=5))
    assert len(found.lessons) == 20 + 12  # three times the median account
    assert found.card["left_out"]["lessons over an account's cap"] == 28


def test_a_project_of_one_person_learns_from_that_person(people: People) -> None:
    for n in range(40):
        people.vote(people.ask("ann", f"{ASKED[DOCS[n % 8]]} for pump{n}", DOCS[n % 8]))
    assert len(people.learn(replace(SMALL, per_user_cap=5)).lessons) == 40


def test_an_account_that_pushes_one_document_for_whatever_is_asked_is_found_without_anyone_to_contradict_it() -> None:
    questions = [f"{ASKED[DOCS[n % 7]]} for pump{n}" for n in range(40)]
    honest = [[Opinion(DOCS[n % 7], f"honest{n % 5}", 0.6)] for n in range(20)]
    said = honest + [[Opinion("d07.md", "poison", 0.8)] for _ in range(20)]
    [found] = suspects(said, questions=questions, document=str, texts=TEXTS, runs={})
    assert (found.user, found.reason) == ("poison", "one document")


def test_the_stage_is_told_of_every_change_of_the_log_and_of_nothing_else(people: People) -> None:
    def noted() -> bytes:
        write_interactions(people.paths, PARAMS)
        return (people.paths.data / "inputs" / "interactions.json").read_bytes()

    people.ask("ann", ASKED["d00.md"], "d00.md")
    people.learn()
    first = noted()
    people.ask("bob", ASKED["d00.md"], "d00.md")
    assert noted() == first  # not sealed yet
    people.learn()
    second = noted()
    people.erase("ann")
    assert len({first, second, noted()}) == 3
