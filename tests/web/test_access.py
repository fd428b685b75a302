"""The page for everybody: by keyboard alone, in light and dark, on a phone, read aloud, with much in it."""

import json

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.web.asking import answered, ask
from tests.web.conftest import opened
from tests.web.standin import DOWN, Standin

TABS = ["releases", "trial", "nights", "monitor", "traffic", "quarantine", "keys"]
VIEWS = ["chat", "documents", *(f"operations/{tab}" for tab in TABS)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_breaks_a_rule_of_accessibility(chromium: Browser, server: Standin, scheme: str) -> None:
    for page in opened(chromium, server, color_scheme=scheme, reduced_motion="reduce"):
        for view in VIEWS:
            page.goto(f"{server.url}#/{view}")
            page.locator("h1").wait_for()
            page.wait_for_load_state("networkidle")
            found = Axe().run(page)
            assert found.violations_count == 0, f"{view}: {found.generate_report()}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answer_with_its_sources_breaks_no_rule_either(chromium: Browser, server: Standin, scheme: str) -> None:
    for page in opened(chromium, server, color_scheme=scheme, reduced_motion="reduce"):
        answered(page, "is it missing")
        turn = answered(page, "compare, unlogged")
        turn.get_by_label("Bad answer").click()
        turn.locator(".cite").first.click()
        page.locator(".listing mark").first.wait_for()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def tab_to(page: Page, name: str, *, steps: int = 60) -> None:
    for _ in range(steps):
        page.keyboard.press("Tab")
        if page.evaluate("(document.activeElement.ariaLabel ?? document.activeElement.textContent).trim()") == name:
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"the focus on {name!r} is not seen"
            return
    raise AssertionError(f"no {name!r} within {steps} presses of Tab")


def test_everything_is_done_by_keyboard_alone(page: Page, server: Standin) -> None:
    expect(page.get_by_label("Your question")).to_be_focused()
    page.keyboard.type("How do I parse JSON?")
    page.keyboard.press("Enter")
    page.get_by_label("Copy answer").wait_for()
    tab_to(page, "Source 1: lib/python3.12/json/__init__.py:299-304")
    page.keyboard.press("Enter")
    expect(page.locator(".pane h2")).to_be_focused()
    page.keyboard.press("Escape")
    tab_to(page, "Good answer")
    page.keyboard.press("Space")
    tab_to(page, "Operations")
    page.keyboard.press("Enter")
    tab_to(page, "Roll back to 11")
    page.keyboard.press("Enter")
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Release 11 answers")).to_be_visible()
    assert [body["kind"] for body in server.state.said("POST", "/v1/feedback")] == ["click", "vote"]


def test_the_first_tab_skips_to_the_content(phone: Page) -> None:
    phone.get_by_label("Your question").wait_for()  # which takes no focus by itself where fingers point
    phone.keyboard.press("Tab")
    expect(phone.get_by_text("Skip to chat")).to_be_focused()
    phone.keyboard.press("Enter")
    expect(phone.locator("#main")).to_be_focused()


def test_a_screen_reader_hears_the_start_and_the_end_only(page: Page) -> None:
    page.get_by_label("Your question").wait_for()
    page.evaluate("""() => {
        window.heard = [];
        const note = () => window.heard.push(document.querySelector('.talk > [role=status]').textContent);
        new MutationObserver(note).observe(document.querySelector('.talk > [role=status]'),
                                           {childList: true, characterData: true, subtree: true});
    }""")
    answered(page, "How do I parse JSON?")
    assert page.evaluate("window.heard") == ["Searching the documents.", "Answering.", "Answer ready, 3 citations."]


def test_the_theme_follows_the_system_until_it_is_switched(chromium: Browser, server: Standin) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    for page in opened(chromium, server, color_scheme="dark"):
        page.get_by_role("button", name="Theme: as the system").click()
        light = page.evaluate(background)
        page.reload()
        page.get_by_role("button", name="Theme: light").click()
        assert (light, page.evaluate(background)) == ("rgb(251, 250, 247)", "rgb(20, 23, 22)")


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_on_a_phone_nothing_sticks_out(phone: Page, server: Standin) -> None:
    answered(phone, f"{'w' * 300} https://example.org/{'path/' * 40}")
    answered(phone, "compare them all")
    assert overflow(phone) == 0
    for view in VIEWS:
        phone.goto(f"{server.url}#/{view}")
        phone.locator("h1").wait_for()
        phone.wait_for_load_state("networkidle")
        assert overflow(phone) == 0, view


def test_on_a_phone_the_menu_and_the_sources_open_and_close(phone: Page) -> None:
    turn = answered(phone, "How do I parse JSON?")
    turn.locator(".cite").first.tap()
    phone.get_by_label("Close sources").tap()
    phone.get_by_label("Menu", exact=True).tap()
    phone.get_by_role("link", name="Documents", exact=True).tap()
    expect(phone.get_by_role("heading", name="Documents")).to_be_visible()
    expect(phone.get_by_role("link", name="Operations", exact=True)).not_to_be_visible()


def test_two_hundred_long_messages_open_and_go_on(page: Page, server: Standin) -> None:
    answered(page, "a long one")
    page.evaluate("""() => {
        const key = Object.keys(localStorage).find(name => /^ragkeep:ana:default:/.test(name));
        const chat = JSON.parse(localStorage[key]);
        const turn = chat.turns[0];
        chat.turns = Array.from({length: 200}, (_, n) => ({...turn, id: 't' + n, text: turn.text.slice(0, 10000)}));
        localStorage[key] = JSON.stringify(chat);
    }""")
    page.reload()
    expect(page.locator("article.turn")).to_have_count(30)
    expect(page.locator("article.turn").last).to_be_in_viewport()
    page.get_by_role("button", name="Show earlier questions (170)").click()
    expect(page.locator("article.turn")).to_have_count(60)
    turn = ask(page, "one more")
    expect(turn.get_by_label("Copy answer")).to_be_visible(timeout=60_000)
    expect(turn.get_by_role("heading", name="one more")).to_be_in_viewport()


def test_a_key_signs_in(page: Page, server: Standin) -> None:
    server.state.authorized = False
    page.reload()
    page.get_by_label("API key").fill("rk_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key is not known")
    page.get_by_label("API key").fill("rk_good")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Your question")).to_be_visible()
    assert "rk_good" not in page.url


def test_a_server_that_is_away_is_said_and_found_again(page: Page) -> None:
    page.get_by_label("Your question").wait_for()
    page.route("**/v1/**", lambda route: route.abort())
    turn = ask(page, "anybody there?")
    expect(turn.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/v1/**")
    turn.get_by_role("button", name="Try again").click()
    expect(turn.get_by_label("Copy answer")).to_be_visible()


def test_degraded_health_is_shown_quietly_with_its_reason(page: Page, server: Standin) -> None:
    server.state.health = DOWN
    page.reload()
    page.get_by_role("button", name="Degraded").click()
    expect(page.get_by_role("dialog")).to_contain_text("disk full")
    expect(page.get_by_role("dialog")).to_contain_text("860,000 of 1,000,000 tokens")


def test_the_page_asks_nobody_but_its_server(page: Page, server: Standin) -> None:
    page.get_by_label("Your question").wait_for()  # what the first visit asks is not counted
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    answered(page, "html please")
    assert [url for url in asked if not url.startswith(server.url)] == []
    assert json.dumps(asked).count("/v1/me") == 1
