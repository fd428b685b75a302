"""The night report: whole on its own, escaped throughout, and never the reason a night fails."""

import re
from dataclasses import asdict, fields
from html.parser import HTMLParser
from typing import Any

import pytest

from evaluation.charts import Bar, Point, deltas, forest, score_bars, trend
from evaluation.page import esc, interval, metric_name, number, seconds
from evaluation.report import SECTIONS, NightReport, headline, render_markdown, render_report
from tests.evaluation.night_example import example, held_back

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>' & \x00\ud800"
VOID = {"meta"}


class Page(HTMLParser):
    """Collects tags and ids, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def poisoned(value: Any) -> Any:
    """The same data with every text hostile."""
    if isinstance(value, dict):
        return {f"{k}{HOSTILE}" if k.startswith("source=") else k: poisoned(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [poisoned(v) for v in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_a_page_is_well_formed_and_has_every_section() -> None:
    page = Page(render_report(example()))
    assert page.open == []
    ids = {value for name, value in page.attributes if name == "id"}
    assert {ident for ident, *_ in SECTIONS} <= ids


def test_a_page_asks_nothing_of_the_outside() -> None:
    text = render_report(example())
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", text)
    assert all(value and value.startswith("#") for name, value in page.attributes if name in ("href", "src"))


def test_nothing_a_source_or_a_user_wrote_becomes_markup() -> None:
    clean, text = render_report(example()), render_report(poisoned(asdict(example())))
    assert set(Page(text).tags) == set(Page(clean).tags)
    assert not [name for name, _ in Page(text).attributes if name.startswith("on")]
    assert text.encode("utf-8")


def test_a_night_without_anything_still_has_a_page() -> None:
    text = render_report({})
    assert text.count("not run") == len(SECTIONS) - 1  # the way back is always there
    assert Page(text).open == []


@pytest.mark.parametrize("name", [f.name for f in fields(NightReport) if f.default is None])
def test_a_missing_part_reads_not_run_and_the_others_stay(name: str) -> None:
    text = render_report({k: v for k, v in asdict(example()).items() if k != name})
    assert Page(text).open == []
    assert "could not be shown" not in text


@pytest.mark.parametrize("name", [f.name for f in fields(NightReport) if f.default is None])
@pytest.mark.parametrize("odd", [[1], {"x": [None]}, {"metrics": "?"}, "text"])
def test_a_part_with_odd_data_costs_no_other_part(name: str, odd: Any) -> None:
    night = {**asdict(example()), name: odd}
    text = render_report(night)
    assert Page(text).open == []
    assert render_markdown(night).startswith("## ")
    assert all(f'<section id="{ident}"' in text for ident, *_ in SECTIONS)


def test_the_head_says_how_the_night_ended() -> None:
    assert headline(example())[:3] == ("good", "✓", "Release 12 is live")
    assert headline(held_back())[:3] == ("bad", "✗", "Held back: release 11 stays live")
    unchanged = NightReport(result={"verdict": "unchanged", "release": "11"})
    assert headline(unchanged)[2] == "Nothing new to publish: release 11 stays live"
    stopped = NightReport(error="disk full", live={"number": 11})
    assert headline(stopped)[2:] == ("The night stopped; release 11 stays live", ["disk full"])


def test_a_release_that_was_rolled_back_is_not_called_live() -> None:
    result = {"verdict": "unchanged", "release": "11", "reasons": ["release 12 was rolled back on Friday"]}
    night = NightReport(result=result, release={"number": 12}, live={"number": 11})
    _, _, sentence, reasons = headline(night)
    assert sentence == "Nothing new to publish: release 11 stays live"
    assert reasons == ["release 12 was rolled back on Friday"]


def test_a_held_back_night_says_why_and_how_to_promote_it_anyway() -> None:
    text = render_report(held_back())
    assert "ndcg_at_10 fell from 0.5930 to 0.1186" in text
    assert "ragkeep releases promote 12" in text
    assert "the 15 largest of 170" in text


def test_the_worst_answer_is_one_nobody_could_know() -> None:
    summaries = re.findall(r"<summary>(.*?)</summary>", render_report(example()))
    assert "answered what the documents do not hold" in summaries[0]


def test_a_worst_answer_shows_what_it_was_made_from() -> None:
    text = render_report(example())
    assert "<code>stdlib/textwrap.py:419-440</code>" in text
    assert "<blockquote>def dedent(text): remove the margin</blockquote>" in text


def test_what_is_watched_says_what_is_well_what_not_and_what_cannot_be_told() -> None:
    text = render_report(example())
    section = text[text.index('<section id="watching"') : text.index('<section id="timings"')]
    assert [section.count(mark) for mark in ("✓ well", "✗ alarm", "cannot tell")] == [3, 1, 1]
    assert "told apart from before: told apart with AUC 0.810" in section
    assert "voted down +0.010 [−0.010, +0.030] against release 11" in section
    assert "there is no earlier index" in section
    assert "1 of these answers were asked for by" in section


def test_labels_that_point_nowhere_are_named() -> None:
    rows = [
        {"id": "stdlib-001", "labels": ["json.gone"], "miss": True},
        {"id": "stdlib-002", "labels": ["x.y"], "miss": False},
    ]
    text = render_report({"scores": {"metrics": {}, "unresolved": rows}})
    assert "2 questions have labels that no document holds; 1 of them count as missed" in text
    assert "json.gone" in text


def test_near_duplicates_are_counted_whole_though_only_the_most_alike_are_listed() -> None:
    pairs = [{"a": f"docs/{n}.md", "b": "docs/licence.md", "similarity": 0.99} for n in range(200)]
    text = render_report({"near_duplicates": {"count": 1613, "pairs": pairs}})
    assert "1,613 pairs, the 200 most alike" in text
    assert "1 pair</caption>" in render_report(example())


def test_quarantine_counts_reasons_and_false_rejects() -> None:
    text = render_report(example())
    assert '<th scope="row">empty</th><td>ingest</td><td class="n">2</td><td class="n">0</td>' in text
    assert '<th scope="row">control</th><td>validate</td><td class="n">1</td><td class="n">1</td>' in text


def test_markdown_holds_the_verdict_the_figures_and_no_markup_of_others() -> None:
    text = render_markdown(example())
    assert text.startswith("## ✓ Release 12 is live")
    assert "| nDCG@10 | 0.532 | 0.553 | +0.020 |" in text
    hostile = render_markdown(NightReport(error="a | b <script> [x](javascript:y)"))
    assert "\\|" in hostile
    assert "\\<script" in hostile
    assert "](" not in hostile.replace("\\](", "")


def test_the_same_night_gives_the_same_bytes() -> None:
    assert render_report(example()) == render_report(example())


def test_numbers_read_as_people_write_them() -> None:
    assert [number(0.5), number(-0.02, signed=True), number(12345), number(None)] == ["0.500", "−0.020", "12,345", "–"]
    assert [seconds(0.42), seconds(61), seconds(7300)] == ["0.4 s", "1 min 1 s", "2 h 1 min"]
    assert [metric_name("ndcg_at_10"), metric_name("rr"), metric_name("recall_at_5")] == ["nDCG@10", "RR", "recall@5"]
    assert interval([0.1, float("nan")]) == "[0.100, –]"
    assert esc("<b>\x00") == "&lt;b&gt;\ufffd"


def test_charts_keep_inside_their_picture() -> None:
    charts = [
        score_bars([Bar("a", 1.7, low=0.0, high=1.0, base=2.0)], title="t"),
        forest([Bar("a", -0.9, low=-1.0, high=-0.8)], title="t", tolerated=0.05),
        deltas([("q", -1.0), ("r", 0.5), ("s", 0.0)], title="t"),
        trend([Point("1", 0.5)], title="t"),
    ]
    for chart in charts:
        assert 'role="img"' in chart
        assert all(0 <= float(x) <= 760 for x in re.findall(r' x[12]?="([-\d.]+)"', chart))


def test_ties_are_counted_and_not_drawn() -> None:
    chart = deltas([("lost", -0.5), ("won", 0.5), ("tie", 0.0)], title="t")
    assert "1 questions lost, 1 won, 1 as before" in chart
    assert chart.count("<rect") == 2
