"""The page on the real server: what the stand-in plays is what the API says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ragkeep.interactions import read
from tests.serving.conftest import Served, serve
from tests.serving.published import project, publish
from tests.web.asking import answered
from tests.web.test_why import picture


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    paths = project(tmp_path / "project")
    publish(paths)
    yield from serve(paths)


def test_an_answer_is_explained_found_in_another_browser_and_erased(chromium: Browser, served: Served) -> None:
    key = served.key()
    here = chromium.new_page()
    here.goto(f"{served.url}/?key={key}")
    answered(here, "How often are pumps serviced?").get_by_role("button", name="Why this answer?").click()
    why = here.get_by_role("dialog", name="Why this answer?")
    expect(why.locator(".passages li").first).to_contain_text("manual/pumps.md:1-3 cited")
    expect(why.locator(".passages li").first.locator("dt")).to_have_text(["meaning", "words", "mixed"])
    expect(why.locator(".timings li").first).to_contain_text("question")
    expect(why).to_contain_text("prose, convex fusion, 60 % meaning and 40 % words")
    picture(here, "real-why")

    there = chromium.new_context().new_page()
    there.goto(f"{served.url}/?key={key}")
    there.get_by_role("link", name="How often are pumps serviced?").click()
    expect(there.locator("article.turn .cite").first).to_be_visible()
    answered(there, "And by whom?")
    picture(there, "real-earlier")
    there.get_by_role("button", name="Delete chat: How often are pumps serviced?").click()
    there.get_by_role("button", name="Delete", exact=True).click()
    expect(there.locator(".history li")).to_have_count(0)
    assert [one for one in read(served.paths.interactions) if one.kind == "answer"] == []
    there.context.close()
    here.close()
