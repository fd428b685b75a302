"""Make lessons of what users did: `python -m tasks.trainset`, the stage behind `ragkeep learn`.

From the newest sealed part of the interaction log (learn.window records) comes data/trainset: lessons, the texts of
the chunks they name, what was set aside and why, and a card. Too small a log makes an empty set that says so. A lesson
is placed by the hashes of its question and documents, so that none moves from the report to training as the log grows
(one whose records leave the window is placed anew). Where there are too few lessons for training, questions made from
documents fill them up, labelled as such. docs/learning-data.md tells the rules with their reasons.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from evaluation.beir import read_folder
from evaluation.sets import load_sets
from ragkeep.config import LearnParams, Params, Paths
from ragkeep.files import write_rows, write_text
from ragkeep.pii import mask
from ragkeep.types import content_id
from tasks.claims import FEW, Claims, Opinion, judge, meant, opinions, trust
from tasks.history import History, read_history
from tasks.learners.synthetic import make_lessons
from tasks.lessons import Lesson, Split, write_set
from tasks.questions import Known, Likeness, canonical, leaders, normalised, share
from tasks.suspects import Suspect, suspects
from tasks.trainset_card import card_text, checked
from tasks.trainset_chunks import Chunks

QUARANTINE, CARD_TEXT = "quarantine.jsonl", "card.md"
CORRECTIONS = 5000
"""At most so many of the newest corrections are looked up."""
SAMPLE = 2000
"""Chunks nobody asked for whose texts are there as well: what a learner must not forget."""
SPLITS: tuple[Split, ...] = ("train", "select", "report")
"""Each is more held out than the one before."""


@dataclass(slots=True)
class _Theme:
    """A question in all its spellings: the answers about it; `held` is the most held-out place any of them has."""

    workspace: str
    question: str
    answers: list[int]
    held: int = 0


@dataclass(slots=True)
class _Set:
    """What is made, with what was counted on the way."""

    lessons: list[Lesson] = field(default_factory=list)
    synthetic: list[Lesson] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    evidence: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    ranks: Counter[int] = field(default_factory=Counter)
    meant: dict[str, dict[int, float]] = field(default_factory=dict)
    users: int = 0
    expectations: list[dict[str, Any]] = field(default_factory=list)


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Write data/trainset. Raises ValidationFailed where a lesson contradicts what a set promises."""
    learn = params.learn
    history, chunks = read_history(paths.interactions, learn.window), Chunks(paths.data / "chunks")
    made = _Set()
    if history.acts:
        known = Known(held_back(paths, params), likeness := Likeness())
        _fill(made, history, chunks, learn, known, likeness)
        history.forget()
        made.expectations = checked(made.lessons, made.texts, made.quarantined, known, learn)
        made.synthetic = _made_up(made, chunks, learn, known)
    if len(made.lessons) < learn.min_lessons:
        made.left_out["too few"] += len(made.lessons)
        made.lessons, made.synthetic, made.texts = [], [], {}
    card = _card(history, made, learn)
    folder = paths.data / "trainset"
    write_rows(folder / QUARANTINE, made.quarantined)
    write_text(folder / CARD_TEXT, card_text(card))
    write_set(folder, [*made.lessons, *made.synthetic], made.texts, card)
    splits = {f"{name}ing" if name == "train" else name: part["lessons"] for name, part in card["splits"].items()}
    return {
        "lessons": len(made.lessons),
        **splits,
        "synthetic": len(made.synthetic),
        "quarantined": len(made.quarantined),
        "note": card["note"],
    }


def held_back(paths: Paths, params: Params) -> list[str]:
    """List every question that quality is measured with: of the golden sets, and of the folders in learn.exclude."""
    golden = [q.text for s in load_sets([paths.root / name for name in params.evaluate.sets]) for q in s.questions]
    return golden + [text for name in params.learn.exclude for text in read_folder(paths.root / name).measured()]


def _fill(made: _Set, history: History, chunks: Chunks, learn: LearnParams, known: Known, likeness: Likeness) -> None:
    places, counts = chunks.place(history.places)
    made.left_out.update({f"shown chunks {what}": count for what, count in counts.items()})
    claims = Claims(history, places, chunks.holding(_corrections(history, made)))
    themes = _themes(made, history, claims, learn, known, likeness)
    said = [opinions([claim for n in theme.answers for claim in claims.of(n)]) for theme in themes]
    made.texts = chunks.texts({one.chunk for about in said for one in about}, SAMPLE)
    found = suspects(
        said, questions=[t.question for t in themes], document=chunks.document, texts=made.texts,
        runs=history.longest_run,
    )  # fmt: skip
    distrusted = [one for one in found if account(one.user) not in learn.trust]
    made.quarantined = [_refused(one, said) for one in distrusted]
    believed = _capped(made, _without(said, distrusted), themes, learn)
    _count(made, history, claims, themes, believed)
    held = {chunk for chunk in chunks.where if share("document", chunks.document(chunk)) < learn.unseen}
    gone = frozenset(one.user for one in distrusted)
    made.meant = {workspace: meant(*ranks) for workspace, ranks in claims.opened(gone, learn.min_users).items()}
    lessons = []
    for theme, about in zip(themes, believed, strict=True):
        # whatever becomes of the votes: what was once said about a held-out document is never trained on
        spoken = [claim for n in theme.answers for claim in claims.of(n)]
        touched = any(claim.strength > 0 and claim.chunk in held for claim in spoken)
        lesson = _lesson(made, theme, about, learn, touched=touched, held=held)
        if lesson and lesson.split == "train":  # who judges takes clicks as they are: the champion chose the ranks
            followed = trust(spoken, about, made.meant.get(theme.workspace, {}))
            lesson = replace(lesson, gains={c: round(g * followed[c], 4) for c, g in lesson.gains.items()})
        if lesson:
            seqs = {seq for n in theme.answers for seq in claims.seqs(n, gone)}
            stood = {places.get(place) for n in theme.answers for place in history.answers[n].shown}
            shown = () if lesson.split == "train" else tuple(sorted(chunk for chunk in stood if chunk))
            lessons.append(replace(lesson, seqs=tuple(sorted(seqs)), shown=shown))
    made.lessons = sorted(_unseen(lessons, chunks.document), key=lambda lesson: lesson.id)


def _made_up(made: _Set, chunks: Chunks, learn: LearnParams, known: Known) -> list[Lesson]:
    """Fill up the lessons for training with questions made from documents that no user's lesson is about.

    None is made from a document that is held out, nor from one that a lesson for selection or the report is about: what
    is unseen stays so. None is like a question that quality is measured with, nor one that a user asked, nor names a
    person.
    """
    missing = learn.synthetic - sum(lesson.split == "train" for lesson in made.lessons)
    if missing <= 0 or not made.lessons:
        return []
    stands = chunks.stands(made.texts)
    about = {stands[chunk] for lesson in made.lessons for chunk in lesson.gains if chunk in stands}
    taken = [c for c, at in stands.items() if at in about or share("document", "/".join(at)) < learn.unseen]
    asked = {normalised(lesson.question) for lesson in made.lessons}
    found = [
        replace(one, workspace=stands[chunk].workspace)
        for one in make_lessons({c: made.texts[c] for c in sorted(stands)}, taken)
        for chunk in one.gains
        if normalised(one.question) not in asked
        and mask(one.question)[0] == one.question
        and known.near(one.question) < learn.evaluation_question
    ]
    return found[:missing]


def account(user: str) -> str:
    """How an account is named where its records may be gone one day: by a hash, as tombstones do."""
    return content_id("user", user)


def _corrections(history: History, made: _Set) -> dict[int, tuple[str, str]]:
    """The newest corrections: sequence number -> (workspace, text), personal data masked once more."""
    found = {
        act.seq: (history.answers[number].workspace, act.text)
        for number, acts in history.acts.items()
        for act in acts
        if act.kind == "correction"
    }
    newest = sorted(found, reverse=True)[:CORRECTIONS]
    made.left_out["corrections too old"] += len(found) - len(newest)
    return {seq: (found[seq][0], mask(found[seq][1])[0]) for seq in newest}


def _themes(
    made: _Set, history: History, claims: Claims, learn: LearnParams, known: Known, likeness: Likeness
) -> list[_Theme]:
    """Put together what asks the same, without what quality is measured with."""
    spelt: dict[tuple[str, str], _Theme] = {}
    for number in claims.teaching():
        asked = history.answers[number]
        question = mask(asked.question)[0]
        made.left_out["questions masked again"] += question != asked.question
        key = (asked.workspace, normalised(question))
        spelt.setdefault(key, _Theme(asked.workspace, question, [])).answers.append(number)
    apart: dict[str, list[_Theme]] = defaultdict(list)
    for (workspace, words), theme in spelt.items():
        if not words or known.near(theme.question) >= learn.evaluation_question:
            made.left_out["evaluation questions" if words else "questions without words"] += 1
            continue
        theme.held = SPLITS.index(split_of(theme.question, learn))
        apart[workspace].append(theme)
    return [theme for workspace in sorted(apart) for theme in _merged(made, apart[workspace], learn, likeness)]


def _merged(made: _Set, themes: list[_Theme], learn: LearnParams, likeness: Likeness) -> list[_Theme]:
    first = leaders([theme.question for theme in themes], learn.same_question, likeness)
    for theme, leader in zip(themes, first, strict=True):
        if themes[leader] is not theme:
            made.left_out["near-duplicates merged"] += 1
            themes[leader].answers += theme.answers
            themes[leader].held = max(themes[leader].held, theme.held)
    return [theme for n, theme in enumerate(themes) if first[n] == n]


def split_of(question: str, learn: LearnParams) -> Split:
    """Place a question by the hash of its content terms."""
    at = share("question", canonical(question))
    return "report" if at < learn.report else "select" if at < learn.report + learn.select else "train"


def _without(said: Sequence[Sequence[Opinion]], distrusted: Sequence[Suspect]) -> list[list[Opinion]]:
    names = {one.user for one in distrusted}
    return [[one for one in about if one.user not in names] for about in said]


def _capped(made: _Set, said: list[list[Opinion]], themes: Sequence[_Theme], learn: LearnParams) -> list[list[Opinion]]:
    """Let no account speak in many more lessons than the others do; which ones it keeps is a matter of hashes."""
    spoken: dict[str, list[int]] = defaultdict(list)
    for number, about in enumerate(said):
        for user in {one.user for one in about}:
            spoken[user].append(number)
    made.users = len(spoken)
    counts = sorted(map(len, spoken.values()))
    if len(counts) < FEW:
        return said
    most = max(learn.per_user_cap, 3 * counts[len(counts) // 2])
    for user, numbers in spoken.items():
        name = account(user)
        order = sorted(numbers, key=lambda n: (share(name, themes[n].question), n))
        for number in order[most:]:
            said[number] = [one for one in said[number] if one.user != user]
        made.left_out["lessons over an account's cap"] += max(0, len(order) - most)
    return said


def _count(
    made: _Set, history: History, claims: Claims, themes: Sequence[_Theme], believed: Sequence[Sequence[Opinion]]
) -> None:
    """Count what was said by reason, and at which ranks sources were opened."""
    for theme, about in zip(themes, believed, strict=True):
        users = {one.user for one in about}
        for number in theme.answers:
            made.evidence.update(claim.reason for claim in claims.of(number) if claim.user in users)
            acts = history.acts.get(number, ())
            made.ranks.update(act.rank for act in acts if act.kind == "click" and act.user in users)


def _refused(one: Suspect, said: Sequence[Sequence[Opinion]]) -> dict[str, Any]:
    spoke = sum(any(opinion.user == one.user for opinion in about) for about in said)
    return {
        "what": "account", "account": account(one.user), "stage": "trainset", "reason": one.reason,
        "severity": "warning", "detail": one.detail, "lessons": spoke,
    }  # fmt: skip


def _lesson(
    made: _Set, theme: _Theme, about: Sequence[Opinion], learn: LearnParams, *, touched: bool, held: Collection[str]
) -> Lesson | None:
    """Judge one question. Of a document that is held out nothing is trained, not even that it does not answer."""
    judged = judge(about, learn.min_users)
    made.left_out["disputed chunks"] += judged.disputed
    if not judged.gains:
        made.left_out["questions nothing answers"] += 1
        return None
    split = SPLITS[theme.held]
    if touched and split == "train":
        reported = share("held", canonical(theme.question)) * (learn.report + learn.select) < learn.report
        split = "report" if reported else "select"
    passed = tuple(chunk for chunk in judged.passed if split != "train" or chunk not in held)
    return Lesson(
        content_id(theme.workspace, normalised(theme.question)), theme.question, dict(sorted(judged.gains.items())),
        passed, theme.workspace, judged.users, split,
        accounts=tuple(sorted({account(one.user) for one in about})),
    )  # fmt: skip


def _unseen(lessons: Sequence[Lesson], document: Callable[[str], str]) -> list[Lesson]:
    """Mark the lessons none of whose documents is trained on."""
    trained = {document(chunk) for lesson in lessons if lesson.split == "train" for chunk in lesson.gains}
    return [
        replace(lesson, unseen=lesson.split != "train" and not trained & {document(chunk) for chunk in lesson.gains})
        for lesson in lessons
    ]


def _card(history: History, made: _Set, learn: LearnParams) -> dict[str, Any]:
    parts = {name: [lesson for lesson in made.lessons if lesson.split == name] for name in SPLITS}
    return {
        "sha": _sha(made), "lessons": len(made.lessons), "synthetic": len(made.synthetic),
        "note": _note(history, made, learn),
        "simulated": history.simulated > 0,
        "window": {"first": history.first, "last": history.last, "records": history.records},
        "log": {
            "kinds": dict(sorted(history.kinds.items())), "simulated": history.simulated,
            "erasures": history.kinds["erase"],
            "erased": history.last - history.first + 1 - history.records if history.records else 0,
            "acts on what is gone": history.on_unknown,
        },
        "accounts": made.users,
        "evidence": dict(sorted(made.evidence.items())),
        "clicks_by_rank": {str(rank): n for rank, n in sorted(made.ranks.items())},
        "clicks_meant": {f"{place}, {rank}": share for place, of in made.meant.items() for rank, share in of.items()},
        "left_out": {what: n for what, n in sorted(made.left_out.items()) if n},
        "quarantined": dict(sorted(Counter(row["reason"] for row in made.quarantined).items())),
        "splits": {
            name: {
                "lessons": len(part), "unseen": sum(lesson.unseen for lesson in part),
                "several_accounts": sum(lesson.users > 1 for lesson in part),
            }
            for name, part in parts.items()
        },
        "texts": len(made.texts), "expectations": made.expectations, "params": asdict(learn),
    }  # fmt: skip


def _note(history: History, made: _Set, learn: LearnParams) -> str:
    if made.lessons:
        return ""
    if not history.records:
        return "the interaction log holds nothing that is sealed: there is nothing to learn from yet"
    few = made.left_out["too few"]
    return f"{few} lessons are fewer than learn.min_lessons ({learn.min_lessons}): nothing is learned from them"


def _sha(made: _Set) -> str:
    """Hash lessons and texts; each first by itself, so that they are not all in memory once more."""
    whole = (*made.lessons, *made.synthetic)
    lessons = (content_id(json.dumps(asdict(lesson), sort_keys=True)) for lesson in whole)
    return content_id(*lessons, *(content_id(*item) for item in sorted(made.texts.items())))


if __name__ == "__main__":
    from tasks.stage import stage_main

    stage_main("trainset", run)
