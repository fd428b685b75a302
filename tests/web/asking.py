"""What most tests of the page begin with."""

from playwright.sync_api import Locator, Page


def ask(page: Page, question: str) -> Locator:
    """Type a question, press Enter, and return the turn it made."""
    box = page.get_by_label("Your question")
    box.fill(question)
    box.press("Enter")
    return page.locator("article.turn").last


def answered(page: Page, question: str) -> Locator:
    turn = ask(page, question)
    turn.get_by_label("Copy answer").wait_for()
    return turn
