"""Fetch published artifacts with Maven, whose own settings say from where, and check each against its pinned sha256."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from .errors import LocalError, Unavailable
from .processes import say

TIMEOUT_S = 1800
ASK_MAVEN = "Maven delivered it so: remove it from Maven's local repository and check its mirrors"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>ragkeep</groupId><artifactId>fetch</artifactId><version>1</version>
<packaging>pom</packaging>
<build><plugins><plugin>
<groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>3.8.1</version>
<configuration><outputDirectory>{folder}</outputDirectory><artifactItems>
{items}
</artifactItems></configuration>
</plugin></plugins></build></project>
"""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published file: group:name:version, its type, and the sha256 it must have."""

    coordinate: str
    sha256: str
    type: str = "jar"

    @property
    def file(self) -> str:
        """Name of the file in a folder."""
        _, name, version = self.coordinate.split(":")
        return f"{name}-{version}.{self.type}"


def fetch(artifacts: Sequence[Artifact], folder: Path) -> None:
    """Bring all artifacts into a folder; what is there already is checked and not fetched again.

    Raises Unavailable without Maven or where Maven fails, LocalError for a file that is not what was published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [artifact for artifact in artifacts if not (folder / artifact.file).exists()]
    if missing:
        say(f"fetching {len(missing)} artifacts with Maven ...")
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as new:
            _copy(missing, Path(new))
            for artifact in missing:
                _check(artifact, Path(new), ASK_MAVEN)
                (Path(new) / artifact.file).replace(folder / artifact.file)
    for artifact in artifacts:
        _check(artifact, folder, f"delete {folder / artifact.file} and run the command again")


def _copy(artifacts: Sequence[Artifact], folder: Path) -> None:
    if not shutil.which("mvn"):
        raise Unavailable("mvn is not on the PATH: install Maven (on Debian `apt-get install maven`)")
    pom = folder / "pom.xml"
    pom.write_text(POM.format(folder=escape(str(folder)), items="\n".join(map(_item, artifacts))), encoding="utf-8")
    command = ["mvn", "--quiet", "--batch-mode", "--file", str(pom), "dependency:copy"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if ran.returncode:
        lines = (ran.stdout + ran.stderr).splitlines()
        why = next((line for line in lines if "ERROR" in line), "no reason given")
        raise Unavailable(f"Maven failed: {why[:400]}: check the network and Maven's settings.xml")


def _item(artifact: Artifact) -> str:
    group, name, version = artifact.coordinate.split(":")
    parts = {"groupId": group, "artifactId": name, "version": version, "type": artifact.type}
    return f"<artifactItem>{''.join(f'<{k}>{v}</{k}>' for k, v in parts.items())}</artifactItem>"


def _check(artifact: Artifact, folder: Path, next_step: str) -> None:
    path = folder / artifact.file
    if not path.is_file():
        raise LocalError(f"{artifact.file} is missing in {folder}: {next_step}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artifact.sha256:
        raise LocalError(f"{artifact.file} has sha256 {found[:12]}..., not {artifact.sha256[:12]}...: {next_step}")
