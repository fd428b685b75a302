"""What users said about answers, by the rules of the training set: pairs to tune a generator on, texts to measure it by.

A pair is one prompt, as serving would send it today, and two answers to it, the better first; which is better, the
module `tasks.finetune.preferences` says. Only records that lessons for training were made of are read, so that whoever
is not believed, or erased, says nothing here either; a record that a held-out lesson has as well, and a question that
quality is measured with, are left out. Where what was shown did not hold a correction, the chunk that does stands among
the sources, as if it had been found: what no source holds is not taught.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ragkeep import prompts
from ragkeep.citations import MARKER, cite
from ragkeep.config import Params, Paths
from ragkeep.glossary import glossaries
from ragkeep.interactions import impressions, read
from ragkeep.pii import mask
from ragkeep.tables import iter_chunks, read_table
from ragkeep.types import Chunk, Hit, Interaction, content_id
from tasks.finetune.preferences import preferences
from tasks.history import Place, window_start
from tasks.lessons import Lesson, TrainingSet
from tasks.questions import Known, Likeness
from tasks.shards import iter_shards
from tasks.trainset import held_back
from tasks.trainset_chunks import Chunks

Fits = Callable[[str, str], str]
"""A prompt and an answer to why the model cannot be trained on them, "" where it can."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of preferences.jsonl, {prompt, chosen, rejected, kind, seqs}, and what was left out, by reason."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def best(lesson: Lesson) -> str:
    """The chunk that users are surest of; "" for none."""
    return max(lesson.gains, key=lambda chunk: (lesson.gains[chunk], chunk), default="")


def pairs(paths: Paths, params: Params, lessons: TrainingSet, fits: Fits) -> Pairs:
    """Make the pairs for training, in the order of the log."""
    asked = lessons.asked()
    held = {seq for lesson in asked.lessons if lesson.split != "train" for seq in lesson.seqs}
    wanted = {seq for lesson in asked.of("train") for seq in lesson.seqs} - held
    found = list(preferences(_records(paths, params, wanted)))
    named = {row[side] for row in found for side in ("asked", "worse")}
    answers = {record.seq: record for record in _records(paths, params, named)}
    right = {seq: best(lesson) for lesson in asked.of("train") for seq in lesson.seqs}
    sources, chunks = _sources(paths, answers, params.retrieve.k, {right[seq] for seq in named})
    known, made = Known(held_back(paths, params), Likeness()), Pairs()
    glossary = glossaries(params.retrieve)
    for row in found:
        better, worse = answers[row["asked"]], answers[row["worse"]]
        question = mask(better.payload["rewritten"] or better.payload["question"])[0]
        if known.near(question) >= params.learn.evaluation_question:
            made.left_out["evaluation questions"] += 1
            continue
        hits = [hit for _, hit in sources[better.seq]]
        worded = glossary(better.workspace).apply(question)
        if row["kind"] == "correction":
            hits, chosen = _corrected(row["chosen"], hits, chunks.get(right[better.seq]))
        else:
            chosen = _said(better, sources, hits)
        pair = _fitting(worded, hits, (chosen, _said(worse, sources, hits)), fits, params.answer.context_tokens)
        if isinstance(pair, str):
            made.left_out[pair] += 1
        else:
            made.rows.append({**pair, "kind": row["kind"], "seqs": row["seqs"]})
    return made


def corrections(paths: Paths, params: Params, lessons: Sequence[Lesson]) -> dict[str, str]:
    """Read what users said an answer should have been: lesson id -> the newest such text."""
    about = {seq: lesson.id for lesson in lessons for seq in lesson.seqs}
    found = (record for record in _records(paths, params, about) if record.kind == "correction")
    return {about[record.seq]: mask(record.payload["text"])[0].strip() for record in found}


def _records(paths: Paths, params: Params, wanted: Collection[int]) -> Iterator[Interaction]:
    if wanted:
        after = max(window_start(paths.interactions, params.learn.window), min(wanted) - 1)
        found = read(paths.interactions, after=after, sealed=True, skip_damaged=True)
        yield from (record for record in found if record.seq in wanted)


_Shown = Mapping[int, Sequence[tuple[int, Hit]]]
"""A record of an answer to what it showed: the rank there, and the chunk that stands for it today."""


def _sources(
    paths: Paths, answers: Mapping[int, Interaction], k: int, right: Collection[str]
) -> tuple[_Shown, dict[str, Chunk]]:
    """Find what each answer showed, at most the first k, among today's chunks, each once; what is gone is left out.

    Returns all these chunks as well, and those of `right`, by id.
    """
    shown = [(seq, one) for seq, record in answers.items() for one in impressions(record)[:k]]
    places = [Place(one.chunk, answers[seq].workspace, one.uri, *one.span) for seq, one in shown]
    ids, _ = Chunks(paths.data / "chunks").place(places)
    chunks = _chunks(paths, {*ids.values(), *right})
    found: dict[int, dict[str, tuple[int, Hit]]] = {seq: {} for seq in answers}
    for number, chunk in sorted(ids.items()):
        seq, one = shown[number]
        found[seq].setdefault(chunk, (one.rank, Hit(chunks[chunk], one.score)))
    return {seq: list(hits.values()) for seq, hits in found.items()}, chunks


def _chunks(paths: Paths, wanted: Collection[str]) -> dict[str, Chunk]:
    rows = (chunk for shard in iter_shards(paths.data / "chunks") for chunk in iter_chunks(read_table(shard)))
    return {chunk.id: chunk for chunk in rows if chunk.id in wanted} if wanted else {}


def _said(answer: Interaction, sources: _Shown, hits: Sequence[Hit]) -> str:
    """What an answer said, each marker with the number its source has among `hits`, or without where it is not there."""
    number = {hit.chunk.id: n for n, hit in enumerate(hits, 1)}
    own = {rank: number.get(hit.chunk.id) for rank, hit in sources[answer.seq]}
    cited = answer.payload["citations"]

    def put(marker: Any) -> str:
        n = int(marker[1])
        there = own.get(cited[n - 1][0]) if 0 < n <= len(cited) else None
        return str(marker[0]).replace(f"[{n}]", f"[{there}]") if there else ""

    return mask(MARKER.sub(put, answer.payload["text"]))[0].strip()


def _corrected(text: str, hits: list[Hit], right: Chunk | None) -> tuple[list[Hit], str]:
    """A correction as an answer: with the number of the first source that holds what it says, if one does.

    The chunk that users agree on comes in where none of those shown does, at a place that only the text decides.
    """
    text = mask(text)[0]
    for among in (hits, _put_in(hits, right, text) if right else hits):
        for n in range(1, len(among) + 1):
            if cite(said := f"{text} [{n}]", among).citations:
                return among, said
    return hits, text


def _put_in(hits: list[Hit], chunk: Chunk, text: str) -> list[Hit]:
    place = int(content_id(text)[:8], 16) % (len(hits) + 1)
    return [*hits[:place], Hit(chunk, 0.0), *hits[place:]]


def _fitting(
    question: str, hits: Sequence[Hit], answers: tuple[str, str], fits: Fits, context_tokens: int
) -> dict[str, Any] | str:
    """Write the prompt with as many sources as fit, or say why not.

    What serving would not let stand is not taught: the better answer must cite a source that holds it.
    """
    chosen, rejected = answers
    if chosen == rejected:
        return "both answers say the same"
    why = "no source holds the better answer"
    for many in range(len(prompts.fit(hits, context_tokens)), 0, -1):
        if not cite(chosen, hits[:many]).citations:
            break
        prompt = prompts.messages(question, hits[:many])[-1].content
        why = fits(prompt, chosen) or fits(prompt, rejected)
        if not why:
            return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return why
