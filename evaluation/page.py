"""The small parts a report is made of: escaping, numbers as people read them, tables and folds.

Everything that reaches a page goes through `esc`; `Html` marks what already has. The style sheet is report.css.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

METRICS = {"rr": "RR", "map": "MAP", "chrf": "chrF", "rouge_l": "ROUGE-L"}
STYLE = Path(__file__).with_name("report.css")


class Html(str):
    """Text that is markup already and must not be escaped again."""

    __slots__ = ()


def esc(value: object) -> Html:
    """Escape a value for text and attributes; what no UTF-8 file or screen can show becomes U+FFFD."""
    if isinstance(value, Html):
        return value
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    shown = "".join(c if c >= " " or c in "\n\t" else "\ufffd" for c in text)
    return Html(html.escape(shown, quote=True))


def number(value: object, *, signed: bool = False) -> str:
    """Three decimals for a share or a score, thin thousands for a count, a dash for what is absent."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if isinstance(value, int):
        return f"{value:+,}" if signed else f"{value:,}"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("-", "\u2212")


def seconds(value: object) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def interval(bounds: object, *, signed: bool = False) -> str:
    """[0.412, 0.467], or nothing where there is none."""
    if not isinstance(bounds, list | tuple) or len(bounds) != 2 or None in bounds:
        return ""
    return f"[{number(float(bounds[0]), signed=signed)}, {number(float(bounds[1]), signed=signed)}]"


def metric_name(name: str) -> str:
    """ndcg_at_10 -> nDCG@10, recall_at_5 -> recall@5, abstention_accuracy -> abstention accuracy."""
    stem, _, cut = name.partition("_at_")
    stem = METRICS.get(stem) or ("nDCG" if stem == "ndcg" else stem.replace("_", " "))
    return f"{stem}@{cut}" if cut else stem


def clip(value: object, length: int) -> str:
    """Shorten to a number of characters, with an ellipsis."""
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str, numeric: Sequence[int] = ()) -> Html:
    """A table with a caption and column headers; the first cell of a row is its header."""

    def cell(i: int, value: object) -> str:
        kind = ' class="n"' if i in numeric else ""
        return f'<th scope="row">{esc(value)}</th>' if i == 0 else f"<td{kind}>{esc(value)}</td>"

    head = "".join(f'<th scope="col"{" class=n" if i in numeric else ""}>{esc(h)}</th>' for i, h in enumerate(heads))
    body = "".join("<tr>" + "".join(cell(i, v) for i, v in enumerate(row)) + "</tr>" for row in rows)
    return Html(
        f'<div class="wide" tabindex="0" role="region" aria-label="{esc(caption)}">'
        f"<table><caption>{esc(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def fold(summary: object, body: str, *, opened: bool = False) -> Html:
    """A part that opens on click or Enter."""
    return Html(f"<details{' open' if opened else ''}><summary>{esc(summary)}</summary>{body}</details>")


def note(text: object) -> Html:
    """A quiet line."""
    return Html(f'<p class="quiet">{esc(text)}</p>')


def code(value: object) -> Html:
    """Monospaced text."""
    return Html(f"<code>{esc(value)}</code>")


def join(*parts: str | None) -> Html:
    """Put parts one after the other; None is left out."""
    return Html("".join(part for part in parts if part))


def legend(*pairs: tuple[str, str]) -> Html:
    """Say what the colours of a chart mean: (colour of the style sheet, meaning)."""
    keys = "".join(f'<span class="key" style="background:var(--{kind})"></span>{esc(label)}' for kind, label in pairs)
    return Html(f"<figcaption>{keys}</figcaption>")
