"""Operations in the page: releases, nights, traffic, quarantine, keys."""

from playwright.sync_api import Page, expect

from tests.web.standin import Standin


def open_tab(page: Page, name: str = "Releases") -> None:
    page.get_by_role("link", name="Operations", exact=True).click()
    page.get_by_role("navigation", name="Operations").get_by_role("link", name=name).click()


def test_the_champion_and_its_versions_are_shown(page: Page) -> None:
    open_tab(page)
    expect(page.get_by_role("heading", name="Release 12 answers")).to_be_visible()
    expect(page.locator(".now")).to_contain_text("docs-0012")
    expect(page.get_by_role("region", name="All releases").get_by_role("row")).to_have_count(13)


def test_the_chart_draws_intervals_and_its_values_are_read_by_hover_and_keys(page: Page) -> None:
    open_tab(page)
    expect(page.locator(".chart .bar")).to_have_count(12)
    chart = page.get_by_role("group", name="nDCG@10 by release")
    chart.focus()
    page.keyboard.press("End")
    expect(page.locator(".tip")).to_contain_text("nDCG@10 0.687 (0.663 to 0.709), answers now")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".chart [role=status]")).to_contain_text("Release 11")
    page.locator(".chart svg").hover(position={"x": 60, "y": 90})
    expect(page.locator(".tip")).to_contain_text("Release 1, ")


def test_rolling_back_asks_for_a_reason_and_says_what_it_expects(page: Page, server: Standin) -> None:
    open_tab(page)
    page.get_by_role("button", name="Roll back to 11").click()
    page.get_by_label("Reason").fill("answers got shorter")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("heading", name="Release 11 answers")).to_be_visible()
    expect(page.get_by_text("“answers got shorter”")).to_be_visible()
    assert server.state.said("POST", "/v1/ops/rollback") == [{"reason": "answers got shorter", "expect": 12}]


def test_a_rollback_that_comes_too_late_is_refused_in_words(page: Page, server: Standin) -> None:
    open_tab(page)
    page.get_by_role("button", name="Roll back to 11").click()
    server.state.ops["releases"]["champion"] = "13"
    page.get_by_label("Reason").fill("late")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Another release answers by now")


def test_a_trial_says_who_wins_so_far_and_when_it_is_carried_out(page: Page, server: Standin) -> None:
    open_tab(page, "Trial")
    expect(page.get_by_role("heading", name="Release 13 is on trial against release 12")).to_be_visible()
    expect(page.get_by_text("270 of 400, by at least five people; then the next night carries it out")).to_be_visible()
    row = page.get_by_role("region", name="What the trial shows").get_by_role("row").nth(1)
    expect(row).to_contain_text("0.036")
    expect(row).to_contain_text("0.011 to 0.061")
    over = {"running": False, "ended_at": "2026-03-01T00:00:00Z", "why": "release 13 was promoted: people chose it"}
    server.state.ops["trial"] |= over
    page.reload()
    expect(page.get_by_text("release 13 was promoted: people chose it")).to_be_visible()
    expect(page.get_by_text("carries it out")).to_have_count(0)


def test_a_trial_in_the_shadow_shows_how_the_two_differ(page: Page, server: Standin) -> None:
    alike = {
        "measure": "overlap@5",
        "champion": None,
        "challenger": None,
        "difference": 0.84,
        "lo": None,
        "hi": None,
        "n": 60,
    }
    slower = {
        "measure": "search_ms",
        "champion": 20.4,
        "challenger": 12.2,
        "difference": -8.2,
        "lo": -9.1,
        "hi": -7.0,
        "n": 60,
    }
    server.state.ops["trial"] |= {"measures": [alike, slower], "counts": None}
    server.state.ops["trial"]["trial"] |= {"mode": "shadow", "answers": 0}
    open_tab(page, "Trial")
    rows = page.get_by_role("region", name="What the trial shows").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("Alike, first five")
    expect(rows.nth(2)).to_contain_text("−8 ms")


def test_an_older_release_is_promoted(page: Page, server: Standin) -> None:
    open_tab(page)
    page.get_by_role("button", name="Promote release 7").click()
    page.get_by_label("Reason").fill("best recall")
    page.get_by_role("dialog").get_by_role("button", name="Promote").click()
    expect(page.get_by_role("heading", name="Release 7 answers")).to_be_visible()
    assert server.state.said("POST", "/v1/ops/promote") == [{"number": 7, "reason": "best recall"}]


def test_nights_and_quarantine_are_listed(page: Page) -> None:
    open_tab(page, "Nights")
    expect(page.get_by_text("refused: nDCG@10 fell").first).to_be_visible()
    open_tab(page, "Quarantine")
    expect(page.get_by_text("3 documents held back")).to_be_visible()
    expect(page.get_by_text("s3://docs/scans/2.pdf")).to_be_visible()


def test_what_is_watched_shows_alerts_figures_and_their_course(page: Page) -> None:
    open_tab(page, "Monitoring")
    expect(page.get_by_text("questions are other ones than before")).to_be_visible()
    rows = page.get_by_role("region", name="Last look")
    expect(rows.get_by_role("row", name="Recall of the index")).to_contain_text("well")
    expect(rows.get_by_role("row", name="Questions")).to_contain_text("told apart from before, auc 0.810")
    expect(rows.get_by_role("row", name="Documents")).to_contain_text("cannot tell")
    expect(page.locator(".chart svg")).to_have_count(4)
    expect(page.get_by_role("region", name="Releases by what people did").get_by_role("row")).to_have_count(3)


def test_traffic_has_charts_and_the_same_values_as_tables(page: Page) -> None:
    open_tab(page, "Traffic and cost")
    expect(page.locator(".chart svg")).to_have_count(4)
    page.get_by_text("Values as a table").nth(1).click()
    expect(page.get_by_role("region", name="Cost, values").get_by_role("row")).to_have_count(25)


def test_a_key_is_shown_once_and_revoked(page: Page, server: Standin) -> None:
    open_tab(page, "API keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("search box")
    page.get_by_label("Role there").select_option("writer")
    page.get_by_role("button", name="Create key").click()
    expect(page.locator(".secret")).to_have_text("rk_shown_once_5f1c")
    (asked,) = server.state.said("POST", "/v1/keys")
    assert (asked["scopes"], asked["workspaces"]) == (["chat"], {"default": "writer"})
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_text("rk_shown_once_5f1c")).to_have_count(0)
    page.get_by_role("button", name="Revoke search box").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("search box")).to_have_count(0)


def test_empty_operations_say_the_next_step(page: Page, server: Standin) -> None:
    server.state.ops |= {
        "releases": {"champion": None, "previous": None, "releases": []}, "history": {"events": []},
        "nights": {"nights": []}, "quarantine": {"rows": [], "total": 0}, "metrics": {"series": {}},
        "trial": {"trial": None, "trouble": ""},
        "monitor": {"last": None, "history": [], "alerts": []},
    }  # fmt: skip
    said = {"Releases": "ragkeep nightly", "Nights": "No night was run yet", "Quarantine": "Nothing in quarantine"}
    said["Monitoring"] = "ragkeep monitor"
    said["Trial"] = "ragkeep releases trial start N"
    for tab, words in {**said, "Traffic and cost": "Ask a question, or choose a longer time"}.items():
        open_tab(page, tab)
        expect(page.get_by_text(words)).to_be_visible()
