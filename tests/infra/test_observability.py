"""The dashboard and the alert rules name metrics that a running server has, with labels that they have."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ragkeep.serving.observe import Observer
from tests.serving.conftest import serve
from tests.serving.published import project, publish

HERE = Path(__file__).parents[2] / "infra" / "observability"
DASHBOARD: dict[str, Any] = json.loads((HERE / "grafana" / "ragkeep.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((HERE / "rules.yaml").read_text())["groups"][0]["rules"]
NAME = re.compile(r"\b((?:ragkeep|process)_\w+)(?:\{([^}]*)\})?")
ADDED = {"instance", "job", "le", "__rate_interval"}
"""Labels that Prometheus adds, or that every histogram has."""


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    return [*panels, *(note["expr"] for note in DASHBOARD["annotations"]["list"]), *(rule["expr"] for rule in RULES)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """The names of all series that a running server shows or has declared."""
    paths = project(tmp_path_factory.mktemp("observed") / "project")
    publish(paths)
    for served in serve(paths):
        text = served.client().get("/metrics").text
        families = text_string_to_metric_families(text)
        kinds = {family.name: family.type for family in families}
        sums = {
            f"{name}_{end}" for name, kind in kinds.items() if kind == "histogram" for end in ("bucket", "count", "sum")
        }
        yield sums | {f"{name}_total" for name, kind in kinds.items() if kind == "counter"} | set(kinds)


def test_every_metric_named_is_there(shown: set[str]) -> None:
    named = {found[1] for text in expressions() for found in NAME.finditer(text)}
    assert len(named) > 20
    assert named - shown == set()


def test_every_label_named_is_there() -> None:
    labels = {
        label for collector in Observer().registry._collector_to_names for label in getattr(collector, "_labelnames", ())
    }
    chosen = {
        name
        for text in expressions()
        for found in NAME.finditer(text)
        for name in re.findall(r"(\w+)[!=]", found[2] or "")
    }
    grouped = {
        name.strip()
        for text in expressions()
        for group in re.findall(r"by \(([^)]*)\)", text)
        for name in group.split(",")
    }
    assert chosen | grouped <= labels | ADDED | {"outcome"}


def test_every_metric_of_ours_is_on_the_dashboard(shown: set[str]) -> None:
    text = " ".join(expressions())
    ours = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in shown if name.startswith("ragkeep_")}
    assert {name for name in ours if name not in text} == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["action"].endswith(".")


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize("what", [("config", "prometheus.yaml"), ("rules", "rules.yaml")])
def test_prometheus_takes_the_files(what: tuple[str, str]) -> None:
    done = subprocess.run(["promtool", "check", what[0], HERE / what[1]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
