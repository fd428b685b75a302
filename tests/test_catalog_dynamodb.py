"""What only the catalog at DynamoDB has to survive: a deletion that was cut short, tables that are there already."""

import uuid
from pathlib import Path

import pytest

from ragkeep.catalogs.dynamodb import DynamoCatalog, open_catalog
from ragkeep.catalogs.dynamodb_tables import tables
from ragkeep.errors import NotFound
from ragkeep.serving.params import CatalogParams
from ragkeep.types import DocumentRecord, Workspace


@pytest.fixture
def catalog(dynamodb: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> DynamoCatalog:
    for name, value in dynamodb.items():
        monkeypatch.setenv(name, value)
    return open_catalog(params=CatalogParams("dynamodb", prefix=f"test-{uuid.uuid4().hex}"), path=Path())


def test_a_deletion_that_was_cut_short_is_finished_by_the_next(catalog: DynamoCatalog) -> None:
    catalog.create_workspace(Workspace("docs", "Docs", "user:ann"))
    made = [catalog.submit(DocumentRecord("", "docs", name, "", "", 1)) for name in "abc"]
    catalog._close("docs")
    catalog.delete(made[0].id)
    with pytest.raises(NotFound):
        catalog.submit(DocumentRecord("", "docs", "d", "", "", 1))
    assert [one.name for one in catalog.delete_workspace("docs")] == ["b", "c"]
    with pytest.raises(NotFound):
        catalog.delete_workspace("docs")
    assert [one.action for one in catalog.changes()] == ["upload"] * 3 + ["delete"] * 3


def test_long_lists_come_in_many_answers(catalog: DynamoCatalog) -> None:
    catalog.create_workspace(Workspace("docs", "Docs", "user:ann"))
    reason = "x" * 300_000  # an answer of DynamoDB holds one megabyte
    for name in "abcdefgh":
        made = catalog.submit(DocumentRecord("", "docs", name, "", "", 1))
        catalog.update(made, status="error", reason=reason)
    assert catalog.count("docs") == 8
    assert [one.name for one in catalog.documents("docs", status="error", limit=7)[0]] == list("hgfedcb")


def test_the_tables_have_the_indexes_that_lists_need() -> None:
    indexes = {name: {i["IndexName"] for i in made["GlobalSecondaryIndexes"]} for name, made in tables("x").items()}
    assert indexes == {"x-workspaces": {"by_owner"}, "x-documents": {"by_created", "by_type", "by_status"}}
