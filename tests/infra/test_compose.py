"""`infra/compose.yaml` offers the servers that `infra/local/` starts, to this machine only, and holds no secret."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local import dynamodb, s3
from infra.local.opensearch import artifacts

SERVICES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "infra" / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_for_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    if service.get("network_mode") == "host":  # to reach a server that listens on loopback
        listens = [*service.get("command", ()), *service.get("environment", {}).values()]
        assert any("127.0.0.1" in one for one in listens)
        return
    assert service["ports"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


PLAIN = [name for name, one in SERVICES.items() if "profiles" not in one and name != "dynamodb"]  # it knows no password


@pytest.mark.parametrize("name", PLAIN)
def test_a_password_has_no_default(name: str) -> None:
    environment = SERVICES[name]["environment"]
    secrets = {key: value for key, value in environment.items() if key.endswith(("PASSWORD", "_KEY"))}
    assert secrets
    assert all(value.startswith("${") and ":?" in value for value in secrets.values())


def test_versions_are_those_of_the_local_servers() -> None:
    nodes = {name: service for name, service in SERVICES.items() if name.startswith("opensearch")}
    assert {service["image"] for service in nodes.values()} == {f"opensearchproject/opensearch:{artifacts.VERSION}"}
    assert [service["environment"]["node.name"] for service in nodes.values()] == list(nodes)
    assert SERVICES["s3"]["image"].endswith(f":{s3.VERSION}")
    assert SERVICES["dynamodb"]["image"].endswith(f":{dynamodb.VERSION}")
