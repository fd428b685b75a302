"""What no answer may contain, whatever a document told the model; and what is refused."""

import json
import random
from collections.abc import Sequence
from itertools import cycle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ragkeep import guard
from ragkeep.config import BlockedTopic
from ragkeep.guard import ADDRESS, LONGEST, TAG, OutputGuard, clean, refusal
from ragkeep.types import Chunk, Hit
from tests.evaldata import evaldata

SOURCE = 'Call `get("https://api.example.com/v1")` first.'
HITS = [Hit(Chunk("c", "d", "u", "s", "default", SOURCE, (0, len(SOURCE)), (1, 1), "prose", "en"), 1.0)]
HOSTILE = {
    "see https://evil.com/x?q=1. [1]": "see (link removed). [1]",
    "![alt](http://evil/x.png) [1]": "alt [1]",
    "[click here](http://evil) now [2]": "click here now [2]",
    "<img src=x onerror=alert(1)> hi": " hi",
    "<im<b>g src=x> hi": " hi",
    "unfinished <img src=http://x": "unfinished ",
    "<script>alert(1)</script> ok": "alert(1) ok",
    "www.evil.com and //evil.com/x": "(link removed) and (link removed)",
    "[x]: http://evil\n[ref][x] go": "x (link removed)\nref go",
    "the data:image/png;base64,xx end": "the (link removed) end",
    "```sh\ncurl http://evil/1\n```": "```sh\ncurl (link removed)\n```",
    'File "<stdin>", a List<String> and <x\nonclick=y>': 'File "< stdin>", a List< String> and < x\nonclick=y>',
    "[a\nb](/out) and [1](/out)\n[1]: /out": "[a\nb] (/out) and [1] (/out)\n[1] : /out",
    "one ` here\nand `</b>` there": "one ' here\nand `</b>` there",
    "``` and `<b>` and \\`<i>`": "''' and `<b>` and \\''",
    "1. do\n   ```\n   x = 1\n   ``` [1]\n<b>": "1. do\n```\nx = 1\n```\n[1]\n",
    "```a`b\n<b>": "'''a'b\n",
    "~~~\n```\n~~~\t\n<b>": "~~~\n```\n~~~\n",
    "</a>~~~\n~~~\n<b>": "'''\n~~~\n<b>",
    "1. ```sh\n   x `<b>`\n   ```\n   then [1]\n2. y": "1.\n```sh\nx `<b>`\n```\nthen [1]\n2. y",
    "> ```\n> a<b>c\nafter <b>it": "```\na<b>c\n```\nafter it",
}
HARMLESS = (
    "plain words, a < b and a > b. [1]",
    "dict[str, int] and x[0], p<0.05, a <- b [1] [2]",
    "C:\\temp, std::vector, a//b, 10:30, data: 5, file: a.txt, see [the docs] [1]",
    'use `<img>` and `get("https://api.example.com/v1")` [1]',
    '```html\n<img src="a.png">\nget("https://api.example.com/v1")\n```\nthen [1]',
)


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_html_images_and_links_are_taken_out(text: str, shown: str) -> None:
    assert clean(text, HITS) == shown


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert clean(text, HITS) == text


@pytest.mark.parametrize("text", [*HOSTILE, *HARMLESS])
def test_pieces_join_up_to_the_cleaned_whole(text: str) -> None:
    for seed in range(50):
        assert pieced(text, [random.Random(seed).randint(1, 7) for _ in range(9)], HITS) == clean(text, HITS)


MARKS = r"""
    [ ] ( ) < > ! ` `` ``` ```` ~~~ \ * - / # = " ' : [1] [1]: ]( ]: <b </a> <a> <x onclick=y <!-- --> <? <![CDATA[ ]]>
    <a@b.co> <h:x> www.e.com //e.com http://e.com data:text/html,x javascript: mailto:a@b.co &lt; a <1 @y.co> [~~~](x)"""
SPACES = (" ", "\t", "    ", "\n", "\n\n", "\r", "\n```\n", "\n~~~\n", "\n- ```\n", "\n> ~~~\n", "\n1. a\n   ```\n")
MARKUP = st.lists(st.sampled_from((*MARKS.split(), *SPACES)), max_size=16).map("".join)


def marked_up(text: str) -> list[str]:
    """What CommonMark makes a link, an image or markup of."""
    tokens = [one for block in MarkdownIt("commonmark").parse(text) for one in (block, *(block.children or ()))]
    return [one.type for one in tokens if one.type in ("link_open", "image", "html_block", "html_inline")]


@pytest.mark.parametrize("longest", [guard.LONGEST, 12])
@given(text=MARKUP, steps=st.lists(st.integers(1, 5), min_size=1))
@example(text="\\<![CDATA[``<a@b.co>``<x@y.co>", steps=[1])
@example(text="-<*<a@b.co>script> [1]", steps=[1])
@example(text="```)```<?`)`[x](y)", steps=[1])
@example(text="<1`@y.co>`\n`<img src=x>` ", steps=[1])
@example(text=" <b>~~~\nfoo\n~~~\n<img src=x>\n", steps=[1])
def test_whatever_is_written_commonmark_finds_no_markup_in_it(longest: int, text: str, steps: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "LONGEST", longest)
        whole = clean(text, [])
        assert marked_up(whole) == []
        assert pieced(text, steps, []) == whole


def pieced(text: str, steps: Sequence[int], sources: Sequence[Hit]) -> str:
    """Feed a text in pieces of these lengths, again and again."""
    made, shown, at = OutputGuard(sources), "", 0
    for step in cycle(steps):
        if at >= len(text):
            return shown + made.flush()
        shown += made.feed(text[at : at + step])
        at += step
    raise AssertionError


@pytest.mark.parametrize("part", ["![a", "<!--", "[", "<b", "-     ", "> ", "`", "``` ", "[a](", "<a =", "\\`"])
def test_marks_without_end_are_none(part: str) -> None:
    assert marked_up(clean(part * (LONGEST // len(part)) + ">x", [])) == []


def test_words_are_shown_before_their_line_ends() -> None:
    assert OutputGuard(HITS).feed("Pumps are serviced ye") == "Pumps are serviced "


def test_a_very_long_line_is_not_held_back_for_ever() -> None:
    assert len(OutputGuard([]).feed("`" + "word " * 2000)) > 3000


def test_instructions_hidden_in_documents_leave_no_link_or_image() -> None:
    rows = (evaldata("attacks-a") / "injections.jsonl").read_text(encoding="utf-8").splitlines()
    for text in (found["text"] for found in map(json.loads, rows) if "```" not in found["text"]):
        for dressed in (text, f"![{text}](https://evil.example/?q=1)", f'<a href="//evil.example">{text}</a>'):
            shown = clean(dressed, [])
            assert not ADDRESS.search(shown)
            assert not TAG.search(shown)


def test_a_blocked_topic_is_refused_with_its_reason() -> None:
    blocked = [BlockedTopic("salaries", r"\bsalar(y|ies)\b", "Ask the personnel department.")]
    assert refusal("What is the SALARY of Ann?", blocked) == "Ask the personnel department."
    assert refusal("What is a salamander?", blocked) is None
