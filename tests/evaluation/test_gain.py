from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.compare import Paired
from evaluation.gain import GOLDEN, Gain, Rules, compare, crossfit, decide, harmed, verdict
from ragkeep.errors import ConfigError
from ragkeep.types import Legs
from tasks.lessons import Lesson

FEW = Rules(resamples=199)


def legs(vector: list[float], keyword: list[float]) -> Legs:
    ids = tuple(f"c{n:02}" for n in range(len(vector)))
    return Legs(ids, np.array(vector, np.float32), np.array(keyword, np.float32))


def held_out(count: int, *, unseen: bool = False, first: int = 0) -> list[Lesson]:
    return [
        Lesson(f"q{n}", f"question {n}", {"c00": 1.0}, split="report", unseen=unseen) for n in range(first, first + count)
    ]


def found_at(rank: int, lessons: list[Lesson]) -> dict[str, Legs]:
    """Legs whose vector leg has the answer at a rank; no word matches."""
    scores = sorted(np.linspace(0.1, 0.9, 12).tolist(), reverse=True)
    scores.insert(0, scores.pop(rank - 1))
    return {one.id: legs(scores, [0.0] * 12) for one in lessons}


def test_a_better_rank_is_a_gain_and_is_promoted() -> None:
    lessons = held_out(20) + held_out(20, unseen=True, first=20)
    gain = compare(found_at(3, lessons), found_at(1, lessons), lessons, rules=FEW)
    assert gain.overall["ndcg_at_10"].delta == pytest.approx(0.5)
    assert gain.overall["recall_at_10"].delta == 0
    assert gain.slices.keys() == {"seen", "unseen"}
    assert verdict(gain).promote


def test_a_tie_is_not_promoted() -> None:
    lessons = held_out(40)
    same = found_at(2, lessons)
    found = verdict(compare(same, same, lessons, rules=FEW))
    assert not found.promote
    assert "lower bound must be above" in found.reasons[0]


def test_a_gain_too_small_to_be_worth_a_change_is_not_promoted() -> None:
    sure = replace(paired(0.004), ci=(0.001, 0.007))
    gain = Gain({"ndcg_at_10": sure}, {}, (0.6, 0.6))
    assert verdict(gain).reasons[0].endswith("the lower bound must be above 0, the gain at least +0.50 points")
    assert verdict(replace(gain, overall={"ndcg_at_10": replace(sure, delta=0.006)})).promote


def test_a_loss_on_unseen_documents_refuses_what_gains_elsewhere() -> None:
    lessons = held_out(200) + held_out(20, unseen=True, first=200)
    before, after = found_at(2, lessons), found_at(1, lessons)
    after |= found_at(3, lessons[200:])
    found = verdict(compare(before, after, lessons, rules=FEW))
    assert not found.promote
    assert len(found.reasons) == 3
    assert found.reasons[0].startswith("unseen documents")


def test_forgetting_another_domain_refuses() -> None:
    lessons = held_out(40)
    gain = compare(found_at(3, lessons), found_at(1, lessons), lessons, rules=FEW)
    assert verdict(gain, guard=paired(-0.01)).promote
    assert not verdict(gain, guard=paired(-0.011)).promote


def test_few_lessons_prove_nothing() -> None:
    lessons = held_out(5)
    found = verdict(compare(found_at(3, lessons), found_at(1, lessons), lessons, rules=FEW))
    assert found.reasons[0] == "5 lessons were held out, 30 are needed"


def test_both_sides_get_the_weight_that_serves_them_best_on_the_lessons_for_selection() -> None:
    report = held_out(30)
    lessons = [*report, *(replace(one, id=f"s{one.id}", split="select") for one in report)]
    worded = {one.id: legs([0.1, 0.9, 0.5], [3.0, 1.0, 0.5]) for one in lessons}
    near = {one.id: legs([0.9, 0.1, 0.5], [1.0, 3.0, 2.5]) for one in lessons}
    gain = compare(worded, near, lessons, rules=FEW)
    assert gain.weights[0] < 0.5 < gain.weights[1]
    assert gain.overall["ndcg_at_10"].base == gain.overall["ndcg_at_10"].new == 1


def test_the_report_decides_nothing() -> None:
    report, chosen = held_out(10), [Lesson("s", "s", {"c01": 1.0}, split="select")]
    before = found_at(1, [*report, *chosen])
    flipped = [replace(one, gains={"c05": 1.0}) for one in report]
    weights = {compare(before, before, [*some, *chosen], rules=FEW).weights for some in (report, flipped)}
    assert len(weights) == 1


def test_without_lessons_for_the_report_there_is_no_figure() -> None:
    with pytest.raises(ConfigError, match="held out"):
        compare({}, {}, [Lesson("q", "q", {"c": 1.0})])


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_exchanging_the_sides_turns_the_sign(ranks: list[tuple[int, int]]) -> None:
    lessons = held_out(len(ranks))
    pairs = list(zip(lessons, ranks, strict=True))
    one = {k: v for lesson, (a, _) in pairs for k, v in found_at(a, [lesson]).items()}
    other = {k: v for lesson, (_, b) in pairs for k, v in found_at(b, [lesson]).items()}
    there, back = (compare(a, b, lessons, rules=FEW, weights=(1, 1)) for a, b in ((one, other), (other, one)))
    for name, found in there.overall.items():
        assert found.delta == pytest.approx(-back.overall[name].delta)
        assert 0 <= found.base <= 1
        assert 0 <= found.new <= 1


@given(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1))
@settings(max_examples=60, deadline=None)
def test_what_is_promoted_breaks_no_rule(overall: float, unseen: float, guard: float) -> None:
    gain = Gain({"ndcg_at_10": paired(overall)}, {"unseen": {"ndcg_at_10": paired(unseen)}}, (0.6, 0.6))
    found = verdict(gain, guard=paired(guard))
    assert found.promote == (overall - 0.01 > 0 and overall >= 0.005 and unseen >= -0.005 and guard >= -0.01)
    assert len(found.reasons) == 4


def paired(delta: float) -> Paired:
    return Paired(base=0.5, new=0.5 + delta, delta=delta, ci=(delta - 0.01, delta + 0.01), p=0.01, n=100)


def test_among_what_was_shown_only_the_order_counts() -> None:
    lessons = [replace(one, shown=("c00", "c01")) for one in held_out(40)]
    before = found_at(2, lessons)  # c01, c00, c02, ...
    after = found_at(1, lessons)  # c00, c01, ... but behind six that nobody saw
    for one in lessons:
        found = after[one.id]
        unseen = np.where(np.arange(12) > 5, 1.0, found.vector).astype(np.float32)
        after[one.id] = replace(found, vector=unseen)
    naive = crossfit(before, after, lessons, rules=FEW, weights=(1.0, 1.0)).overall["ndcg_at_10"]
    among = crossfit(before, after, lessons, rules=FEW, weights=(1.0, 1.0), shown_only=True).overall["ndcg_at_10"]
    assert naive.delta < 0 < among.delta
    assert (among.base, among.new) == (pytest.approx(0.6309, abs=1e-4), 1.0)


def judge_says(points: float, *, of: str = "lessons") -> Gain:
    """A gain of so many points, half a point to both sides, over a hundred questions."""
    low, high = (points - 0.5) / 100, (points + 0.5) / 100
    return Gain({"ndcg_at_10": replace(paired(points / 100), ci=(low, high), n=100)}, {}, (0.5, 0.5), of)


def heard(lessons: float, golden: float | None, order: float) -> tuple[Gain, bool, tuple[str, ...]]:
    known = None if golden is None else judge_says(golden, of=GOLDEN)
    rules, more = Rules(min_lessons=100), Rules(min_lessons=100, min_gain=0.01)  # golden questions must show a point
    gain, found = decide(judge_says(lessons), known, lambda: judge_says(order), rules=rules, golden_rules=more)
    return gain, found.promote, found.reasons


@pytest.mark.parametrize(
    ("lessons", "golden", "order", "judge"),
    [
        (+2, None, 0, "lessons"), (-7, None, +3, ""),  # nobody but lessons can say
        (+2, 0, 0, "lessons"), (+2, -0.8, 0, "lessons"), (+2, -2, 0, ""),  # they may contradict
        (-7, +2, 0, GOLDEN), (-7, +2, +1, GOLDEN),  # and prove what lessons cannot
        (-7, +2, -0.8, GOLDEN), (-7, +2, -2, ""),  # unless it puts what people saw in a worse order
        (-7, 0, +3, ""), (-7, +0.9, +3, ""), (+0.9, 0, 0, "lessons"),  # a tie is none
    ],
)  # fmt: skip
def test_two_judges_are_heard(lessons: float, golden: float | None, order: float, judge: str) -> None:
    gain, promote, reasons = heard(lessons, golden, order)
    assert promote == bool(judge)
    assert gain.judge == (judge or "lessons")
    assert ("golden questions" in " ".join(reasons)) == (golden is not None)


def test_what_golden_questions_prove_says_what_lessons_said() -> None:
    _, _, reasons = heard(-7, 2, 1)
    assert reasons[1] == "end to end +2.00 points [+1.50, +2.50] over 100 golden questions: " + (
        "the lower bound must be above 0, the gain at least +1.00 points"
    )
    assert reasons[-1].startswith("not by lessons, where nobody could take what was not shown: end to end -7.00 points")


def test_what_golden_questions_hold_against_it_is_said_in_full() -> None:
    known = judge_says(3, of=GOLDEN)
    known = replace(known, slices={"unseen": {"ndcg_at_10": paired(-0.02)}})
    _, found = decide(judge_says(-7), known, lambda: judge_says(1), rules=Rules(), golden_rules=Rules())
    assert (
        "unseen documents -2.00 points [-3.00, -1.00] over 100 golden questions: at least -0.50 points" in found.reasons
    )


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_harm_is_harm_however_often_was_looked(confidence: float) -> None:
    lessons = held_out(40)
    gain = compare(found_at(1, lessons), found_at(2, lessons), lessons, rules=Rules(confidence=confidence))
    assert harmed(gain, Rules(confidence=confidence))
    assert not harmed(compare(found_at(1, lessons), found_at(1, lessons), lessons, rules=FEW), FEW)


def test_an_interval_says_how_sure_it_is_where_it_is_not_the_usual_one() -> None:
    assert judge_says(2).told() == "+2.00 points [+1.50, +2.50] over 100 lessons"
    assert replace(judge_says(2), confidence=0.975).told() == "+2.00 points [+1.50, +2.50] at 97.5 % over 100 lessons"
