"""The starter of real OpenSearch servers: what it starts works, and what it cannot start it says in one line."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local import java, maven
from infra.local.errors import LocalError, Unavailable
from infra.local.maven import Artifact
from infra.local.opensearch import assemble
from infra.local.opensearch.__main__ import main
from infra.local.opensearch.client import Access, NoAnswer, call
from infra.local.opensearch.cluster import Cluster
from infra.local.opensearch.node import ClusterSettings
from infra.local.processes import ServerProcess, spawn
from tests import services

VECTORS = {"type": "knn_vector", "dimension": 2, "method": {"name": "hnsw", "engine": "lucene", "space_type": "l2"}}
MAPPING = {
    "settings": {"index": {"knn": True, "number_of_replicas": 0}},
    "mappings": {"properties": {"text": {"type": "text", "analyzer": "english"}, "vector": VECTORS}},
}


def test_a_node_searches_words_and_vectors(opensearch: Access) -> None:
    call(opensearch, "/starter", method="PUT", body=MAPPING, timeout_s=60)
    for name, text, vector in (("a", "houses of stone", [0, 1]), ("b", "a wooden bridge", [1, 0])):
        body = {"text": text, "vector": vector}
        call(opensearch, f"/starter/_create/{name}?refresh=true", method="PUT", body=body, timeout_s=60)
    words = {"query": {"match": {"text": "house"}}}
    vectors = {"query": {"knn": {"vector": {"vector": [0.9, 0], "k": 1}}}}
    assert [hit["_id"] for hit in search(opensearch, words)] == ["a"]
    assert [hit["_id"] for hit in search(opensearch, vectors)] == ["b"]


def search(access: Access, body: dict[str, object]) -> list[dict[str, object]]:
    return list(call(access, "/starter/_search", method="POST", body=body, timeout_s=60)["hits"]["hits"])


def test_workers_of_one_session_share_the_server(opensearch: Access) -> None:
    assert services.shared_opensearch() == opensearch


def test_status_and_env_tell_what_a_client_needs(opensearch: Access, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(services.session_folder() / "opensearch")
    assert main(["status", "--data", folder]) == 0
    assert main(["env", "--data", folder]) == 0
    said = capsys.readouterr().out
    assert "green, 1 node(s)" in said or "yellow, 1 node(s)" in said
    assert f"export RAGKEEP_OPENSEARCH_URL={opensearch.urls[0]}\n" in said
    assert "export RAGKEEP_STORE=opensearch\n" in said


@pytest.mark.slow
def test_a_secured_server_lets_nobody_in_without_the_password(secure_opensearch: Access) -> None:
    assert call(secure_opensearch, "/_cluster/health", timeout_s=60)["number_of_nodes"] == 1
    stranger = Access(secure_opensearch.urls, "admin", "wrong", secure_opensearch.ca)
    with pytest.raises(NoAnswer, match="401"):
        call(stranger, "/_cluster/health", timeout_s=60)
    files = services.session_folder() / "opensearch-secure" / "security"
    readable = [path.name for path in files.iterdir() if path.is_file() and path.stat().st_mode & 0o077]
    assert not {"password", "node.key"} & set(readable)


@pytest.mark.slow
def test_a_killed_node_comes_back_with_its_data() -> None:
    with services.own_opensearch(nodes=3) as cluster:
        access = cluster.access()
        settings = {"settings": {"number_of_shards": 3, "number_of_replicas": 1}}
        call(access, "/kept", method="PUT", body=settings, timeout_s=60)
        call(access, "/kept/_doc/1?refresh=true", method="PUT", body={"text": "kept"}, timeout_s=60)
        call(access, "/_cluster/health/kept?wait_for_status=green&timeout=60s", timeout_s=90)  # both copies are there
        cluster.kill(2)
        assert sorted(cluster.running()) == [1, 3]
        assert call(access, "/_cluster/health?wait_for_nodes=2", node=1, timeout_s=60)["number_of_nodes"] == 2
        call(access, "/_cluster/health/kept?wait_for_status=yellow&timeout=60s", node=3, timeout_s=90)
        assert call(access, "/kept/_doc/1", node=3, timeout_s=60)["found"]
        assert cluster.start(2, timeout_s=240)["number_of_nodes"] == 3
        call(access, "/_cluster/health/kept?wait_for_status=yellow&timeout=60s", node=2, timeout_s=90)
        assert call(access, "/kept/_doc/1", node=2, timeout_s=60)["found"]


def error_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail, and return the one line that it says."""
    assert main(list(arguments)) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_no_jdk_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(java, "FOLDERS", ())
    for name in ("PATH", "JAVA_HOME", "OPENSEARCH_JAVA_HOME"):
        monkeypatch.setenv(name, "")
    assert "no JDK 21 or newer (found: none)" in error_line(capsys, "up", "--data", str(tmp_path / "data"))


def test_an_old_jdk_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for version in (17, 22, 24):
        (tmp_path / str(version) / "bin").mkdir(parents=True)
        (tmp_path / str(version) / "bin" / "java").touch(mode=0o755)
        (tmp_path / str(version) / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}.0.1"\n')
    monkeypatch.setattr(java, "FOLDERS", (tmp_path,))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("OPENSEARCH_JAVA_HOME", "")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "17"))
    assert java.find_java(21) == tmp_path / "24"
    monkeypatch.setenv("OPENSEARCH_JAVA_HOME", str(tmp_path / "22"))
    assert java.find_java(21) == tmp_path / "22"
    with pytest.raises(Unavailable, match=r"no JDK 30 or newer \(found: \[17, 22, 24\]\)"):
        java.find_java(30)


def test_a_taken_port_is_one_clear_line(opensearch: Access, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = error_line(capsys, "up", "--data", str(tmp_path / "data"), "--port", str(port))
    assert f"port {port} is taken" in said
    assert Cluster(tmp_path / "data").running() == {}


def test_a_node_that_ends_is_one_clear_line_and_none_is_left(
    opensearch: Access, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = error_line(
        capsys, "up", "--data", str(tmp_path / "data"), "--port", "0", "--jvm=-XX:NoSuchOption", "--nodes", "2"
    )
    assert "node 1 ended" in said or "node 2 ended" in said
    assert "console.log" in said
    assert Cluster(tmp_path / "data").running() == {}


def test_a_missing_cluster_is_one_clear_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in (["status"], ["env"], ["kill-node", "1"], ["start-node", "1"]):
        assert "no cluster in" in error_line(capsys, *command, "--data", str(tmp_path / "data"))


def test_another_kind_of_cluster_is_refused(opensearch: Access, tmp_path: Path) -> None:
    folder = services.session_folder() / "opensearch"
    wanted = ClusterSettings((1, 2, 3), (4, 5, 6), secure=False, heap="512m", jvm="")
    with pytest.raises(LocalError, match="holds a cluster of 1 nodes, plain"):
        Cluster(folder).up(wanted, timeout_s=1)


PUBLISHED = b"what was published"
ARTIFACT = Artifact("group:name:1", hashlib.sha256(PUBLISHED).hexdigest())


@pytest.fixture
def fake_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A `mvn` that delivers the bytes of a file, or fails where there is none."""
    served = tmp_path / "served"
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncp {served} "$(dirname "$4")/name-1.jar" || {{ echo "[ERROR] offline"; exit 1; }}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return served


def test_what_maven_delivers_is_checked_and_kept(fake_maven: Path, tmp_path: Path) -> None:
    fake_maven.write_bytes(PUBLISHED)
    maven.fetch([ARTIFACT], tmp_path / "downloads")
    fake_maven.unlink()
    maven.fetch([ARTIFACT], tmp_path / "downloads")
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["name-1.jar"]


def test_an_altered_artifact_is_refused(fake_maven: Path, tmp_path: Path) -> None:
    fake_maven.write_bytes(b"something else")
    with pytest.raises(LocalError, match=r"name-1\.jar has sha256 .* remove it from Maven's local repository"):
        maven.fetch([ARTIFACT], tmp_path / "downloads")
    assert list((tmp_path / "downloads").iterdir()) == []
    (tmp_path / "downloads" / "name-1.jar").write_bytes(b"altered later")
    with pytest.raises(LocalError, match=r"delete .*name-1\.jar and run the command again"):
        maven.fetch([ARTIFACT], tmp_path / "downloads")


def test_maven_that_fails_or_is_missing_is_one_clear_line(
    fake_maven: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match=r"Maven failed: \[ERROR\] offline"):
        maven.fetch([ARTIFACT], tmp_path / "downloads")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="install Maven"):
        maven.fetch([ARTIFACT], tmp_path / "downloads")


def test_a_broken_download_leaves_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAGKEEP_OPENSEARCH_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "downloads").mkdir(parents=True)
    monkeypatch.setattr(assemble, "fetch", lambda artifacts, folder: (folder / artifacts[0].file).write_bytes(b"no zip"))
    with pytest.raises(LocalError, match="cannot be unpacked"):
        assemble.assemble(secure=False)
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["assemble.lock", "downloads"]


def test_servers_end_with_the_session_even_when_it_is_killed(tmp_path: Path) -> None:
    session = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    env = {**os.environ, services.SESSION: str(session.pid), "TMPDIR": str(tmp_path)}
    folder = tmp_path / f"ragkeep-services-{session.pid}" / "opensearch"
    folder.mkdir(parents=True)
    server = spawn(["sleep", "1000"], cwd=tmp_path, env=env, log=tmp_path / "log")
    cluster = Cluster(folder)
    cluster.settings = ClusterSettings((1,), (2,), secure=False, heap="", jvm="")
    cluster.processes = {1: server}
    cluster.save()
    watcher = subprocess.Popen([sys.executable, "-m", "tests.services", str(session.pid)], env=env, cwd=services.ROOT)
    time.sleep(0.5)
    assert server.alive()
    session.send_signal(signal.SIGKILL)
    session.communicate()
    assert watcher.wait(timeout=60) == 0
    assert not server.alive()
    assert not folder.parent.exists()


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_what_this_machine_lacks_is_skipped_but_not_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("RAGKEEP_CI", ci)
    with pytest.raises(outcome, match="no JDK"), services.skipping_what_is_unavailable():
        raise Unavailable("no JDK 21 or newer")


def test_a_process_is_not_mistaken_for_a_later_one_with_its_id() -> None:
    this = ServerProcess(os.getpid(), started=1)
    assert not this.alive()
    assert (this.memory_mb(), this.cpu_s()) == (0, 0)
