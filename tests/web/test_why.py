"""Why an answer is as it is, what was said in earlier conversations, and what an error tells: `pytest tests/web`."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.web.asking import answered, ask
from tests.web.conftest import opened
from tests.web.standin import Standin

PICTURES = os.environ.get("PICTURES")
"""A folder: pictures of what these tests look at are kept there, to be looked at by a person."""


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def explained(page: Page) -> None:
    turn = answered(page, "How do I parse JSON?")
    turn.get_by_role("button", name="Why this answer?").click()
    page.locator(".passages li").first.wait_for()


def test_an_answer_says_why_it_is_so(page: Page) -> None:
    explained(page)
    why = page.get_by_role("dialog", name="Why this answer?")
    expect(why.locator(".passages li")).to_have_count(4)
    expect(why.locator(".passages li").first).to_contain_text("lib/python3.12/json/__init__.py:299-304 cited")
    expect(why.locator(".passages li").first.locator("dd")).to_have_text(["0.710", "14.2", "0.930", "4.10"])
    expect(why.locator(".timings li")).to_have_count(5)
    for said in ("12, of Nov 21, 2026", "docs-0012 (lancedb, 61,240 chunks)", "all-MiniLM-L6-v2", "$0.00213"):
        expect(why).to_contain_text(said)
    expect(why).to_contain_text("code, convex fusion, 85 % meaning and 15 % words")
    expect(why).to_contain_text("jayson → JSON")
    expect(why).to_contain_text("reranker/3")
    why.get_by_label("Copy trace id").click()
    assert page.evaluate("navigator.clipboard.readText()") == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_explanation_is_opened_and_closed_by_keyboard(page: Page) -> None:
    turn = answered(page, "How do I parse JSON?")
    button = turn.get_by_role("button", name="Why this answer?")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


def test_an_answer_without_a_record_shows_what_the_page_knows(page: Page, server: Standin) -> None:
    turn = answered(page, "unlogged")
    server.state.streams.clear()
    turn.get_by_role("button", name="Why this answer?").click()
    why = page.get_by_role("dialog")
    expect(why.get_by_role("alert")).to_contain_text("or it was erased. What this page knows is shown.")
    expect(why).to_contain_text("1,840 read, 142 written")
    expect(why.get_by_role("alert").get_by_label("Copy trace id")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_explanation_is_for_everybody(chromium: Browser, server: Standin, scheme: str, width: int) -> None:
    small = {"is_mobile": True, "has_touch": True} if width < 800 else {}
    viewport = {"width": width, "height": 844}
    for page in opened(chromium, server, viewport=viewport, color_scheme=scheme, reduced_motion="reduce", **small):
        explained(page)
        picture(page, f"why-{scheme}-{width}")
        assert Axe().run(page).violations_count == 0
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
        sides = page.evaluate("(d => d.scrollWidth - d.clientWidth)(document.querySelector('dialog'))")
        assert sides == 0
        page.locator("dialog .facts").scroll_into_view_if_needed()
        picture(page, f"why-{scheme}-{width}-facts")
        page.keyboard.press("Escape")
        picture(page, f"answer-{scheme}-{width}")
        ask(page, "please fail").get_by_label("Copy trace id").wait_for()
        picture(page, f"failed-{scheme}-{width}")
        assert Axe().run(page).violations_count == 0


def test_an_earlier_conversation_is_opened_and_gone_on_with(page: Page, server: Standin) -> None:
    page.get_by_role("link", name="How do I read JSON from a file?").click()
    expect(page.locator("article.turn")).to_have_count(3)  # of two pages
    first = page.locator("article.turn").first
    expect(first.get_by_label("Good answer")).to_have_attribute("aria-pressed", "true")
    first.locator(".cite").click()
    expect(page.locator(".pane [data-open=true] .place").first).to_have_text("lib/python3.12/json/decoder.py:335-338")
    picture(page, "earlier-light-1280")
    page.keyboard.press("Escape")
    answered(page, "and bytes?")
    assert server.state.said("POST", "/v1/chat")[0]["session"] == "c0ffee"
    expect(page.locator("article.turn")).to_have_count(4)
    page.reload()
    expect(page.locator("article.turn")).to_have_count(4)
    expect(page.locator(".history li")).to_have_count(1)


def test_an_earlier_conversation_is_deleted_on_the_server_or_stays(page: Page, server: Standin) -> None:
    server.state.stuck = True
    page.get_by_role("button", name="Delete chat: How do I read JSON from a file?").click()
    expect(page.get_by_role("dialog")).to_contain_text("cannot be undone")
    page.get_by_role("button", name="Delete", exact=True).click()
    alert = page.get_by_role("dialog").get_by_role("alert")
    expect(alert).to_contain_text("The log cannot be written")
    picture(page, "delete-failed-light-1280")
    alert.get_by_label("Copy trace id").click()
    assert page.evaluate("navigator.clipboard.readText()") == "7c0f1d6e"
    server.state.stuck = False
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator(".history li")).to_have_count(0)
    assert server.state.sessions == []


def test_a_conversation_that_is_not_there_is_said(page: Page, server: Standin) -> None:
    page.goto(f"{server.url}#/chat/nosuch")
    expect(page.get_by_role("heading", name="This chat is not here")).to_be_visible()
    expect(page.locator(".empty-chat")).to_contain_text("There is no such conversation")


def test_a_failed_answer_gives_its_trace(page: Page) -> None:
    turn = ask(page, "please fail")
    turn.get_by_label("Copy trace id").click()
    assert page.evaluate("navigator.clipboard.readText()") == "4bf92f3577b34da6"
