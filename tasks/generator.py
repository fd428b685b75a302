"""The ladder's last rung, a generator tuned on votes and corrections: `python -m tasks.generator`.

data/trainset and the log -> models/generator/generator-<sha>/ and data/generator.json, which says what came of it. It is
off until learn.generator names a finetune.yaml: whose model is tuned, and how (docs/finetune.md). DPO on pairs of answers
(tasks/answer_pairs.py), merged with its base, then asked, as the release would ask it, the questions held out for the
report, beside the release as it is. What gains is a part like any other; `flows/learn.py` puts it before the gate.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evaluation import answer_gain
from evaluation.gain import Verdict
from ragkeep import prompts
from ragkeep.app import Assistant, open_release
from ragkeep.config import GeneratorParams, Params, Paths
from ragkeep.errors import MissingExtra
from ragkeep.files import read_json, read_rows, write_json, write_rows
from ragkeep.generators import open_generators
from ragkeep.generators.resilient import Resilient
from ragkeep.learned import Part, effective, placed, rows_of, tonight
from ragkeep.models import require_safetensors, sha256
from ragkeep.types import Answer
from tasks.answer_pairs import Fits, Pairs, best, corrections, pairs
from tasks.finetune import formats, merge, train, weights
from tasks.finetune.config import Place, load
from tasks.learners import NothingToLearn
from tasks.lessons import Lesson, TrainingSet, read_set
from tasks.stage import progress, stage_main, ticking

NAME = "generator"
MADE, FOUND = "models/generator", "generator.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the rung: `part` where it is worth promoting, `gain` where it was measured.

    `reasons` are words, those that speak against it first; `skipped` says that nothing was tried.
    """

    reasons: tuple[str, ...]
    part: Part | None = None
    gain: dict[str, Any] | None = None
    card: dict[str, Any] | None = None
    skipped: bool = False


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Learn, measure, and write data/generator.json. Raises ConfigError, ModelError, SourceError on a wrong recipe."""
    out = paths.root / MADE
    out.mkdir(parents=True, exist_ok=True)
    (out / "preferences.jsonl").unlink(missing_ok=True)  # what a killed run left of what people said
    try:
        found = _rung(paths, params, out)
    except (NothingToLearn, MissingExtra) as error:
        found = Outcome((f"skipped: {error}",), skipped=True)
    _leave(paths, found)
    gain = found.gain["overall"][answer_gain.DECIDES]["delta"] if found.gain else 0.0
    return {"kept": int(found.part is not None), "gain": round(gain, 4), "note": found.reasons[0]}


def _rung(paths: Paths, written: Params, out: Path) -> Outcome:
    if not written.learn.generator:
        raise NothingToLearn("learn.generator names no finetune.yaml, so no generator is tuned")
    weights.need_packages()
    place = recipe(paths, written)  # a wrong one is said before anything else
    lessons, params = read_set(paths.data / "trainset"), effective(written, paths.data, paths.cache)
    asked = _held_out(lessons, written.learn.min_measured)
    made, left_out = _learned(paths, params, lessons, place)
    live = next((part for part in tonight(paths.data) if part.learner == NAME), None)
    if live and live.sha256 == made["sha256"]:
        return Outcome(("what is live is this very model",), card=made | left_out)
    folder = _named(out, place.merged, made)
    part = _part(written, folder, lessons, made["sha256"])
    chosen = asked[: max(place.params.measure.rows, written.learn.min_measured)]
    gain, verdict = measured(paths, written, part, folder, chosen)
    return Outcome(verdict.reasons, part if verdict.promote else None, gain, made | left_out)


def recipe(paths: Paths, params: Params) -> Place:
    """Read the finetune.yaml that learn.generator names; its answers follow serving's rules, its files lie in MADE."""
    place = load(paths.root / params.learn.generator)
    own = replace(place.params, output=str(paths.root / MADE), format=replace(place.params.format, system=prompts.RULES))
    return replace(place, params=own)


def _held_out(lessons: TrainingSet, least: int) -> list[Lesson]:
    asked = [lesson for lesson in lessons.asked().of("report") if best(lesson) in lessons.texts]
    if len(asked) < least:
        raise NothingToLearn(
            f"{len(asked)} questions are held out for the report, and learn.min_measured is {least}: let people rate more"
        )
    return asked


def _learned(paths: Paths, params: Params, lessons: TrainingSet, place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train on the pairs and merge; return the merged model's card with the training's, and what was left out."""
    weights.quietly()
    found = pairs(paths, params, lessons, _fits(place))
    left_out = dict(sorted(found.left_out.items()))
    if len(found.rows) < params.learn.min_lessons:
        raise NothingToLearn(_too_few(found, params.learn.min_lessons))
    write_rows(place.preferences, found.rows)
    try:
        with ticking("tune the generator") as tick:
            card = train.train(place, tick, method="dpo")
    finally:
        place.preferences.unlink()  # what people said stays in the log, where it can be erased
    made = merge.merge(place)
    kinds = {kind: sum(row["kind"] == kind for row in found.rows) for kind in ("correction", "votes")}
    told = {key: card[key] for key in ("base", "base_sha256", "rows", "seed", "steps", "lora", "curve")}
    facts = {"merged": made, "cpu_s": card["cpu_seconds"], "pairs": kinds}
    return told | facts | {"sha256": sha256(require_safetensors(place.merged))}, {"left_out": left_out}


def _too_few(found: Pairs, least: int) -> str:
    why = "; ".join(f"{count} left out: {what}" for what, count in sorted(found.left_out.items()))
    return (
        f"{len(found.rows)} pairs of a better and a worse answer are for training, and learn.min_lessons is {least}; "
        f"they come of corrections, and of votes for and against answers to one question{f' ({why})' if why else ''}"
    )


def _fits(place: Place) -> Fits:
    """Hold a prompt with its answer against what the base reads, and what must not stand in it."""
    base = weights.check(weights.find(place.params.model, place.path.parent))
    tokenizer = weights.tokenizer(base)
    formats.install(tokenizer, place.params.format)
    control = [token for token in tokenizer.all_special_tokens if token]
    most = place.params.train.max_tokens

    def why(prompt: str, answer: str) -> str:
        if any(token in text for token in control for text in (prompt, answer)):
            return "it holds a control token of the model"
        said = (("system", place.params.format.system), ("user", prompt), ("assistant", answer))
        turns = [{"role": role, "content": text} for role, text in said]
        long = len(tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"])
        return f"it is longer than train.max_tokens ({most})" if long > most else ""

    return why


def _named(out: Path, merged: Path, card: dict[str, Any]) -> Path:
    """Give the merged model the name it keeps for good; older ones of earlier runs, kept elsewhere if at all, go."""
    for old in out.glob(f"{NAME}-*"):
        shutil.rmtree(old)
    folder = out / f"{NAME}-{card['sha256'][:12]}"
    merged.rename(folder)
    write_json(folder / "card.json", card)
    return folder


def _part(written: Params, folder: Path, lessons: TrainingSet, sha: str) -> Part:
    spec = GeneratorParams(backend="local", name=folder.name, model="{folder}")
    over = written.answer.generators[0].label
    return Part(NAME, "", folder=folder.name, sha256=sha, trainset=lessons.sha,
                answer={"generator": asdict(spec), "over": over})  # fmt: skip


def measured(
    paths: Paths, written: Params, part: Part, folder: Path, asked: Sequence[Lesson]
) -> tuple[dict[str, Any], Verdict]:
    """Ask the release as it is, and the same with the candidate in it, the questions that nobody trained on."""
    right, texts = corrections(paths, written, asked), read_set(paths.data / "trainset").texts
    wanted = [right.get(lesson.id) or texts[best(lesson)] for lesson in asked]
    with open_release(paths, written) as served:
        sides = [served, _with(paths, written, served, part, folder)]
        questions, gains = [lesson.question for lesson in asked], [lesson.gains for lesson in asked]
        said = [_answers(side, asked) for side in sides]
        scored = [answer_gain.scores(questions, answers, wanted, gains, served.embedder) for answers in said]
    before = judged_before(paths)
    confidence = 1 - 0.05 / (1 + before)
    found = answer_gain.paired(scored[0], scored[1], written.gate, confidence=confidence)
    verdict = answer_gain.verdict(found, written.gate, min_lessons=written.learn.min_measured)
    old, new = map(_p95_ms, said)
    gain = answer_gain.as_json(found, confidence) | {
        "judged_before": before,
        "corrections": len(right),
        "p95_ms": [old, new],
    }
    slow = f"95 of 100 answers take at most {new / 1000:.1f} s, with what answers now {old / 1000:.1f} s"
    return gain, replace(verdict, reasons=(*verdict.reasons, slow))


def _p95_ms(answers: Sequence[Answer]) -> float:
    times = sorted(answer.timings_ms.get("total", 0.0) for answer in answers)
    return times[max(0, math.ceil(0.95 * len(times)) - 1)]


def _with(paths: Paths, written: Params, served: Assistant, part: Part, folder: Path) -> Assistant:
    """The release as it would answer with this generator: first, and before those that params.yaml names."""
    spec = GeneratorParams(**placed(part.answer["generator"], folder))
    answer = replace(served.answer, generators=(spec, *written.answer.generators))
    made = open_generators(answer, served.embedder, cache=paths.cache)
    return replace(served, generators=made, answering=Resilient(made, deadline_s=answer.deadline_s), answer=answer)


def _answers(assistant: Assistant, asked: Sequence[Lesson]) -> list[Answer]:
    answers = []
    with progress(f"answers of {assistant.answering.name}", len(asked)) as advance:
        for lesson in asked:
            answers.append(assistant.ask(lesson.question, workspace=lesson.workspace))
            advance(1)
    return answers


def judged_before(paths: Paths) -> int:
    """Count the generators that were judged since one was promoted: each look at the same lessons may be a lucky one."""
    runs = [row for row in read_rows(paths.models / "history.jsonl") if row.get("answers")]
    last = max((n for n, row in enumerate(runs) if row["published"] and row["answers"]["kept"]), default=-1)
    return len(runs) - 1 - last


def _leave(paths: Paths, found: Outcome) -> None:
    """Write data/generator.json: a row of what was tried, and the part."""
    part = rows_of([found.part])[0] if found.part else None
    write_json(paths.data / FOUND, {"tried": _row(found), "part": part})


def _row(found: Outcome) -> dict[str, Any]:
    return {
        "learner": NAME, "kept": found.part is not None, "reasons": list(found.reasons), "gain": found.gain,
        "card": found.card, "skipped": found.skipped,
    }  # fmt: skip


def left(paths: Paths, *, failed: str = "") -> dict[str, Any]:
    """Read data/generator.json: the row of what was `tried`, and the `part`. `failed` says why the rung left nothing."""
    if failed:
        return {"tried": _row(Outcome((failed,))), "part": None}
    found: dict[str, Any] = read_json(paths.data / FOUND)
    return found


if __name__ == "__main__":
    stage_main(NAME, run)
