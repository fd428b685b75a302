"""Documents in the page: upload, state, delete, ask about one."""

from playwright.sync_api import Page, expect

from tests.web.asking import answered
from tests.web.standin import Standin

DROP = """name => {
  const data = new DataTransfer();
  data.items.add(new File(["text"], name));
  const zone = document.querySelector(".page");
  for (const type of ["dragenter", "dragover", "drop"])
    zone.dispatchEvent(new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


def upload(page: Page, name: str) -> None:
    page.get_by_role("link", name="Documents", exact=True).click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload").click()
    chooser.value.set_files({"name": name, "mimeType": "text/plain", "buffer": b"The gate closes at six.\n" * 4000})


def test_an_uploaded_document_is_asked_about_at_once(page: Page, server: Standin) -> None:
    upload(page, "gate.md")
    expect(page.get_by_text("Being read").nth(1)).to_be_visible()
    page.get_by_role("link", name="Ask about gate.md").click()
    answered(page, "When does the gate close?")
    assert server.state.said("POST", "/v1/chat")[0]["filters"] == {"uri": "upload://default/gate.md"}
    page.get_by_role("button", name="Ask all documents again").click()
    answered(page, "And elsewhere?")
    assert "filters" not in server.state.said("POST", "/v1/chat")[1]


def test_files_are_dropped_on_the_page(page: Page, server: Standin) -> None:
    page.get_by_role("link", name="Documents", exact=True).click()
    page.get_by_text("runbook-ingest.md").wait_for()
    page.evaluate(DROP, "dropped.md")
    expect(page.get_by_role("button", name="Delete dropped.md")).to_be_visible()
    assert server.state.said("POST", "/v1/documents") == ["dropped.md"]


def test_what_cannot_be_read_says_why(page: Page) -> None:
    upload(page, "secret.pdf")
    expect(page.get_by_text("page 3 is encrypted")).to_be_visible()


def test_a_refused_upload_says_why_and_can_be_dismissed(page: Page) -> None:
    upload(page, "setup.exe")
    refused = page.get_by_role("alert")
    expect(refused).to_contain_text("Programs are not read")
    page.get_by_role("button", name="Dismiss setup.exe").click()
    expect(refused).to_have_count(0)


def test_deleting_asks_first_and_names_the_models_trained_on_it(page: Page, server: Standin) -> None:
    page.get_by_role("link", name="Documents", exact=True).click()
    page.get_by_role("button", name="Delete runbook-ingest.md").click()
    page.get_by_role("button", name="Cancel").click()
    assert len(server.state.documents) == 3
    page.get_by_role("button", name="Delete runbook-ingest.md").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("adapter-7")).to_be_visible()
    assert len(server.state.documents) == 2


def test_documents_are_filtered_by_state(page: Page) -> None:
    page.get_by_role("link", name="Documents", exact=True).click()
    page.get_by_role("button", name="Not readable").click()
    expect(page.locator(".documents li")).to_have_count(1)
    expect(page.locator(".documents li")).to_contain_text("scan.pdf")


def test_another_workspace_shows_its_own_documents_and_chats(page: Page) -> None:
    answered(page, "asked in Platform")
    page.get_by_label("Workspace", exact=True).select_option("handbook")
    expect(page.get_by_role("link", name="asked in Platform")).to_have_count(0)
    expect(page.get_by_text("Nothing was uploaded to Handbook yet")).to_be_visible()
    page.get_by_role("link", name="Documents", exact=True).click()
    expect(page.get_by_role("heading", name="No documents yet")).to_be_visible()
    expect(page.get_by_role("button", name="Upload")).to_have_count(0)


def test_a_new_workspace_is_switched_to(page: Page) -> None:
    page.get_by_role("button", name="New workspace").click()
    page.get_by_label("Name").fill("Field notes")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_label("Workspace", exact=True)).to_have_value("field-notes")


def test_deleting_a_workspace_asks_first_and_shows_another(page: Page, server: Standin) -> None:
    page.get_by_role("link", name="Documents", exact=True).click()
    page.get_by_role("button", name="Delete this workspace").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete workspace").click()
    expect(page.get_by_label("Workspace", exact=True)).to_have_value("handbook")
    assert [one["id"] for one in server.state.workspaces] == ["handbook"]
