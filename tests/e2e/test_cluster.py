"""The night on a cluster: three nodes, TLS and a user, and nothing but the environment says so."""

import json
from collections.abc import Iterator

import pytest

from infra.local.opensearch.cluster import Cluster
from tests.e2e.projects import Project, make_project
from tests.services import own_opensearch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_opensearch(nodes=3, secure=True) as made:
        yield made


@pytest.fixture(scope="module")
def live(cluster: Cluster, prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose first night ran on the cluster."""
    access = cluster.access()
    where = {"STORE": "opensearch", "OPENSEARCH_URL": ",".join(access.urls), "OPENSEARCH_USER": access.user}
    secret = {"OPENSEARCH_CA": access.ca, "OPENSEARCH_PASSWORD": access.password}
    env = {f"RAGKEEP_{name}": value for name, value in (where | secret).items()}
    made = make_project(tmp_path_factory.mktemp("cluster") / "project")
    project = made.having(**env, PREFECT_API_URL=prefect_server)
    assert project.run("nightly").json["release"] == "1"
    return project


def edit(project: Project, text: str) -> None:
    (project.root / "docs" / "guide.md").write_text(f"# Guide\n\n{text}\n")


def test_the_night_publishes_to_the_cluster_and_ask_answers_from_it(live: Project) -> None:
    assert "def slugify" in live.run("ask", "how do I make a web address from a headline?").json["answer"]
    assert not (live.state / "store").exists()
    assert live.run("nightly").json["verdict"] == "unchanged"


def test_a_wrong_password_is_one_line_the_next_night_swaps_and_the_way_back_is_one_command(live: Project) -> None:
    edit(live, "Never touch the flux capacitor.")
    said = live.run("nightly", check=1, RAGKEEP_OPENSEARCH_PASSWORD="wrong").json["error"]
    assert "does not know user 'admin' or the password" in said
    assert live.run("search", "how do I make a web address?").json["hits"][0]["uri"] == "docs/slugify.py"
    assert live.run("nightly").json["published"] is True
    assert "flux capacitor" in live.run("search", "flux capacitor").json["hits"][0]["text"]
    live.run("releases", "rollback", "--reason", "wrong guide")
    assert not any("flux capacitor" in hit["text"] for hit in live.run("search", "flux capacitor").json["hits"])


def test_with_a_node_killed_both_the_answers_and_the_night_go_on(live: Project, cluster: Cluster) -> None:
    edit(live, "Water the cactus once a month.")
    cluster.kill(1)  # for good: the tests below do with two of three
    assert live.run("ask", "how do I say hello to a person?").json["citations"]
    assert live.run("nightly").json["published"] is True
    assert "cactus" in live.run("search", "cactus").json["hits"][0]["text"]


def test_the_same_project_builds_the_same_index_on_the_laptops_store(live: Project) -> None:
    receipt = json.loads((live.root / "data" / "index.json").read_text())
    laptop = live.having(RAGKEEP_STORE="lancedb")
    assert laptop.run("nightly").json["published"] is True
    assert json.loads((live.root / "data" / "index.json").read_text()) == {**receipt, "store": "lancedb"}
    assert "cactus" in laptop.run("search", "cactus").json["hits"][0]["text"]
