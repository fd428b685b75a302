"""What a learning run leaves to read: what was learned from what, the gain, what was tried and refused.

As the night's page, it asks nothing of anybody: no script, no font, no request.
"""

from __future__ import annotations

from typing import Any

from ragkeep.learned import outcome_of

from .gain import headline
from .page import STYLE, Html, esc, fold, join, note, number, seconds, table

_WORDS = "entries"
HEADS = {
    "promoted": ("good", "✓", "Learned, proven, live"),
    "waits": ("", "•", "Learned; waits for a person"),
    "on trial": ("", "•", "Learned, not proven: on trial, where people's clicks decide"),
    "refused": ("bad", "✗", "Learned, and refused by the gate: the champion stays"),
    "no gain": ("", "•", "Nothing that was tried gains: the champion stays"),
    "nothing to learn": ("", "•", "There is too little to learn from: the champion stays"),
}


def render_learned(found: dict[str, Any], result: dict[str, Any], *, title: str, at: str) -> str:
    """Render data/learned.json and the flow's result as a self-contained HTML page."""
    state, mark, head = HEADS[result["verdict"]]
    reasons = "".join(f"<li>{esc(reason)}</li>" for reason in result.get("reasons", []))
    parts = (
        _section("gain", "The gain, on questions that chose nothing", _gain(found.get("gain"))),
        _answers(found.get("answers")),
        _section("tried", "What was tried, cheapest first", _tried(found.get("tried", []))),
        _section("lessons", "What it learned from", _lessons(found)),
        _section("back", "The way back", note("ragkeep models rollback returns to the release before, with its models.")),
    )
    simulated = "<p><strong>Simulated:</strong> these interactions were made by `ragkeep simulate`, not by people.</p>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{esc(f"{head} · {title}")}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE.read_text('utf-8')}</style></head>"
        f'<body><header><p class="quiet">{esc(title)} · learning of {esc(at[:16].replace("T", " "))}</p>'
        f'<div class="hero {state}"><h1><span class="mark" aria-hidden="true">{mark}</span>{esc(head)}</h1>'
        f"<ul>{reasons}</ul></div>{simulated if found.get('simulated') else ''}</header>"
        f"<main>{join(*parts)}</main></body></html>\n"
    )


def _section(ident: str, name: str, body: Html) -> Html:
    return Html(f'<section id="{ident}"><h2>{esc(name)}</h2>{body}</section>')


def _gain(gain: dict[str, Any] | None) -> Html:
    if not gain:
        return note("not measured: no rung was kept")
    judge = gain["judge"]
    rows = [_row(f"all {judge}", metric, one) for metric, one in gain["overall"].items()]
    for cut, metrics in gain["slices"].items():
        rows += [_row(f"{cut} documents", metric, one) for metric, one in metrics.items()]
    heads = (judge, "measure", "served", "learned", "points", f"{100 * gain['confidence']:.4g} % interval", "n")
    return join(
        table(heads, rows, caption="What is served against what was learned, end to end", numeric=(2, 3, 4, 5, 6)),
        note(f"fusion weights: {number(gain['weights']['base'])} served, {number(gain['weights']['new'])} learned"),
    )


def _answers(gain: dict[str, Any] | None) -> Html | None:
    if not gain:
        return None
    rows = [_row("held-out questions", metric, one) for metric, one in gain["overall"].items()]
    heads = ("questions", "measure", "served", "learned", "points", "interval", "n")
    said = f"{gain['measure']} decides; what is right is a correction for {gain['corrections']} of them, else a passage"
    shown = table(heads, rows, caption="What answers against what was tuned", numeric=(2, 3, 4, 5, 6))
    return _section("answers", "Answers, on questions nobody trained on", join(shown, note(said)))


def _row(what: str, metric: str, one: dict[str, Any]) -> tuple[object, ...]:
    low, high = one["ci"]
    points = (f"{100 * one['delta']:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}")
    return (what, metric, number(float(one["base"])), number(float(one["new"])), *points, one["n"])


def _tried(tried: list[dict[str, Any]]) -> Html:
    if not tried:
        return note("nothing was tried")
    rows = []
    for one in tried:
        of = headline(one["gain"]) if one.get("gain") else None
        told = f"{100 * of['delta']:+.1f} [{100 * of['ci'][0]:+.1f}, {100 * of['ci'][1]:+.1f}]" if of else "–"
        spent = (one.get("card") or {}).get("cpu_s")
        rows.append((one["learner"], outcome_of(one), told, seconds(spent), "; ".join(one["reasons"])))
    cards = [
        fold(f"{one['learner']}: how", Html(f"<pre>{esc(_card(one['card']))}</pre>")) for one in tried if one.get("card")
    ]
    words = [fold("glossary: what stands for what", _words(one)) for one in tried if (one.get("card") or {}).get(_WORDS)]
    heads = ("learner", "", "points where it was chosen", "CPU", "why")
    return join(table(heads, rows, caption="The ladder", numeric=(2, 3)), *words, *cards)


def _words(tried: dict[str, Any]) -> Html:
    """The entries of a glossary, kept or not: this is a learner whose model can be read."""
    names = ("word", "means", "lessons", "found", "strength")
    rows = [tuple(entry[name] for name in names) for entry in tried["card"][_WORDS]]
    heads = ("people say", "documents say", "lessons with it", "answers with the meaning", "log-likelihood ratio")
    return table(heads, rows, caption="Strongest first", numeric=(2, 3, 4))


def _card(card: dict[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in sorted(card.items()) if key != _WORDS)


def _lessons(found: dict[str, Any]) -> Html:
    counts = found.get("lessons", {})
    rows = [(split, f"{counts.get(split, 0):,}") for split in ("train", "select", "report")]
    if found.get("synthetic"):
        rows.append(("train, made from documents: nobody asked", f"{found['synthetic']:,}"))
    card = found.get("card") or {}
    facts = [(key, value) for key, value in sorted(card.items()) if isinstance(value, str | int | float)]
    left_out = card.get("left_out") or card.get("excluded") or {}
    return join(
        table(("lessons for", "how many"), rows, caption="Lessons", numeric=(1,)),
        table(("fact", "value"), facts, caption="Data card") if facts else None,
        table(("left out because", "how many"), sorted(left_out.items()), caption="Left out", numeric=(1,))
        if left_out
        else None,
    )
