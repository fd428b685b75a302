"""A question is asked in the page: `pytest tests/web` (needs Chromium)."""

import re

from playwright.sync_api import Page, expect

from tests.web import content
from tests.web.asking import answered, ask
from tests.web.standin import Standin


def test_an_answer_streams_and_its_checked_text_replaces_it(page: Page) -> None:
    turn = answered(page, "How do I parse JSON?")
    expect(turn.get_by_role("heading", name="How do I parse JSON?")).to_be_visible()
    expect(turn.locator(".rich li")).to_have_count(3)
    expect(turn.locator(".rich pre")).to_contain_text("settings = json.loads")
    expect(turn.locator(".status-line")).to_have_text("ragkeep · 456 ms")


def test_shift_enter_makes_a_line_and_an_empty_question_is_not_sent(page: Page, server: Standin) -> None:
    box = page.get_by_label("Your question")
    box.press("Enter")
    box.type("one")
    box.press("Shift+Enter")
    box.type("two")
    box.press("Enter")
    page.locator("article.turn").wait_for()
    assert [body["message"] for body in server.state.said("POST", "/v1/chat")] == ["one\ntwo"]


def test_a_marker_opens_its_source_at_the_lines(page: Page, server: Standin) -> None:
    turn = answered(page, "How do I parse JSON?")
    marker = turn.get_by_role("button", name=re.compile("^Source 2: ")).first
    marker.click()
    pane = page.get_by_role("complementary", name="Sources")
    expect(pane.locator("[data-marked=true]")).to_have_count(14)
    expect(pane.locator("[data-marked=true]").first).to_contain_text("332")
    assert server.state.said("POST", "/v1/feedback") == [{"answer_id": "a1", "kind": "click", "n": 2}]
    page.keyboard.press("Escape")
    expect(pane).to_have_count(0)
    expect(marker).to_be_focused()


def test_lines_and_answers_are_copied(page: Page) -> None:
    turn = answered(page, "How do I parse JSON?")
    turn.get_by_label("Copy answer").click()
    assert page.evaluate("navigator.clipboard.readText()") == content.ANSWER
    turn.locator(".cite").first.click()
    page.get_by_role("button", name="Copy file:line").click()
    assert page.evaluate("navigator.clipboard.readText()") == "lib/python3.12/json/__init__.py:299-304"


def test_a_vote_takes_a_reason(page: Page, server: Standin) -> None:
    turn = answered(page, "How do I parse JSON?")
    turn.get_by_label("Bad answer").click()
    turn.get_by_role("button", name="It is out of date").click()
    expect(turn.get_by_text("The next night learns from it")).to_be_visible()
    expect(turn.get_by_label("Bad answer")).to_have_attribute("aria-pressed", "true")
    vote = {"answer_id": "a1", "kind": "vote", "value": -1}
    assert server.state.said("POST", "/v1/feedback") == [vote, {**vote, "reason": "It is out of date"}]


def test_an_answer_is_corrected(page: Page, server: Standin) -> None:
    turn = answered(page, "How do I parse JSON?")
    turn.get_by_label("Correct this answer").click()
    turn.get_by_label("The correct answer").fill("Use orjson.")
    turn.get_by_role("button", name="Send correction").click()
    expect(turn.get_by_text("The next night learns from it")).to_be_visible()
    assert server.state.said("POST", "/v1/feedback") == [{"answer_id": "a1", "kind": "correction", "text": "Use orjson."}]


def test_escape_stops_the_answer_here_and_on_the_server(page: Page, server: Standin) -> None:
    turn = ask(page, "a slow one")
    expect(turn.locator(".rich")).to_contain_text("Call")
    page.keyboard.press("Escape")
    expect(turn.get_by_text("was not checked")).to_be_visible()
    page.wait_for_timeout(300)
    assert server.state.cancelled == {"a1"}
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()


def test_a_cut_stream_goes_on_without_doubling(page: Page, server: Standin) -> None:
    turn = answered(page, "cut this one")
    assert server.state.said("GET", "/v1/chat/a1/events") in (["a1:6"], [])  # none where the start was lost too
    turn.get_by_label("Copy answer").click()
    assert page.evaluate("navigator.clipboard.readText()") == content.ANSWER


def test_a_stream_cut_before_it_began_is_asked_for_again_and_answered_once(page: Page, server: Standin) -> None:
    answered(page, "lost on the way")
    first, second = server.state.said("POST", "/v1/chat")
    assert first == second
    assert list(server.state.streams) == ["a1"]


def test_text_never_shrinks_or_doubles_while_a_cut_stream_is_resumed(page: Page, server: Standin) -> None:
    server.state.token_s = 0.01
    turn = ask(page, "cut long")
    expect(turn.locator(".status-line")).to_contain_text("resuming")
    expect(turn.get_by_label("Copy answer")).to_be_visible(timeout=30_000)
    texts = turn.locator(".rich > p").all_inner_texts()
    assert [text.split()[1] for text in texts[:-1]] == [str(n) for n in range(40)]


def test_a_page_opened_again_takes_up_the_answer(page: Page, server: Standin) -> None:
    turn = ask(page, "a slow one")
    expect(turn.locator(".rich")).to_contain_text("Call")
    page.reload()
    server.state.streams["a1"][0][1]["question"] = "fast by now"
    expect(turn.get_by_label("Copy answer")).to_be_visible(timeout=30_000)
    expect(turn.locator(".rich li")).to_have_count(3)
    assert len(server.state.said("POST", "/v1/chat")) == 1


def test_a_failed_answer_can_be_asked_again(page: Page, server: Standin) -> None:
    turn = ask(page, "please fail")
    expect(turn.get_by_role("alert")).to_contain_text("The model stopped answering")
    turn.get_by_role("button", name="Try again").click()
    expect(turn.get_by_role("alert")).to_contain_text("The model stopped answering")
    keys = {body["idempotency_key"] for body in server.state.said("POST", "/v1/chat")}
    assert len(keys) == 2


def test_a_busy_server_says_when_to_ask_again(page: Page) -> None:
    turn = ask(page, "busy now")
    again = turn.get_by_role("button", name=re.compile("Try again"))
    expect(again).to_be_disabled()
    expect(again).to_be_enabled()
    again.click()
    expect(turn.get_by_label("Copy answer")).to_be_visible()


def test_not_in_the_documents_is_said_with_what_was_nearest(page: Page) -> None:
    turn = answered(page, "is it missing")
    expect(turn.get_by_role("heading", name="Not in the documents")).to_be_visible()
    expect(turn.locator(".not-found .places li")).to_have_count(4)


def test_quiet_notes_say_what_a_reader_should_know(page: Page) -> None:
    turn = answered(page, "cached and unlogged")
    expect(turn.locator(".status-line")).to_contain_text("from the cache")
    expect(turn.get_by_text("Not recorded")).to_be_visible()
    expect(turn.locator("mark.unsupported")).to_have_text("Most people log it.")
    turn.get_by_role("button", name="Why this answer?").click()
    expect(page.get_by_role("dialog")).to_contain_text("1,840 read, 142 written")


def test_what_a_model_writes_never_becomes_markup(page: Page) -> None:
    turn = answered(page, "html please")
    expect(turn.locator(".rich")).to_contain_text("<img src=x onerror=")
    assert turn.locator(".rich :is(img, script, a, iframe)").count() == 0
    assert page.title() == "Chat · ragkeep"


def test_models_are_chosen_and_compared(page: Page, server: Standin) -> None:
    page.get_by_label("Model").select_option("llama-3.3-70b")
    page.get_by_text("Compare", exact=True).click()
    page.get_by_label("claude-on-bedrock").check()
    turn = answered(page, "How do I parse JSON?")
    (body,) = server.state.said("POST", "/v1/chat")
    assert (body["model"], body["compare"]) == ("llama-3.3-70b", ["claude-on-bedrock"])
    expect(turn.get_by_text("The models disagree")).to_be_visible()
    expect(turn.locator(".columns section")).to_have_count(3)
    expect(turn.get_by_text("no answer within 8 s")).to_be_visible()


def test_chats_are_listed_switched_and_deleted(page: Page, server: Standin) -> None:
    answered(page, "first question")
    answered(page, "and more")
    page.get_by_role("button", name="New chat").click()
    answered(page, "second question")
    page.get_by_role("link", name="first question").click()
    expect(page.locator("article.turn")).to_have_count(2)
    assert [body.get("session") for body in server.state.said("POST", "/v1/chat")] == [None, "s-a1", None]
    page.get_by_role("button", name="Delete chat: first question").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("link", name="first question")).to_have_count(0)
    assert len(server.state.said("DELETE", "/v1/sessions/s-a1")) == 1


def test_an_answer_goes_on_while_another_page_is_looked_at(page: Page) -> None:
    ask(page, "a long one")
    page.get_by_role("link", name="Documents", exact=True).click()
    page.get_by_role("link", name="a long one").click()
    expect(page.get_by_label("Copy answer")).to_be_visible(timeout=30_000)
    expect(page.locator(".rich > p")).to_have_count(41)


def test_nothing_that_is_read_moves_while_an_answer_streams(page: Page, server: Standin) -> None:
    answered(page, "How do I parse JSON?")
    turn = ask(page, "a long one")
    expect(turn.locator(".rich")).to_contain_text("Paragraph 1 ")
    before = turn.locator(".rich p").first.bounding_box()
    expect(turn.get_by_label("Copy answer")).to_be_visible(timeout=30_000)
    assert turn.locator(".rich p").first.bounding_box() == before
    page.get_by_role("button", name="Latest").click()
    expect(turn.get_by_label("Copy answer")).to_be_in_viewport()
