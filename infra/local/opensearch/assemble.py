"""Put an OpenSearch home together from fetched artifacts: the bare distribution, its modules, the plugins.

A home is built beside its place and renamed into it, and its name holds a digest of what it is made of: one that exists
is complete and up to date.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from ..errors import LocalError
from ..maven import Artifact, fetch
from ..processes import locked
from .artifacts import DISTRIBUTION, KNN, MODULES, SECURITY, SECURITY_NEEDS, VERSION, Module

DESCRIPTOR = """description={name}
name={name}
version={version}
opensearch.version={version}
java.version=21
classname={classname}
extended.plugins={extends}
custom.foldername=
has.native.controller=false
"""


def base_folder() -> Path:
    """Folder of the fetched artifacts, the assembled homes and, unless --data says otherwise, the cluster's data."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RAGKEEP_OPENSEARCH_HOME") or Path(cache) / "ragkeep" / "opensearch").absolute()


def home_folder(*, secure: bool) -> Path:
    """Where the assembled server lies, or would."""
    recipe = hashlib.sha256(repr((DESCRIPTOR, MODULES, _artifacts(secure=secure))).encode()).hexdigest()
    return base_folder() / f"opensearch-{VERSION}{'-secure' if secure else ''}-{recipe[:8]}"


def assemble(*, secure: bool) -> Path:
    """Return the home of an assembled server, fetching and building what is missing.

    Raises Unavailable without Maven or where it fails, LocalError for an altered artifact.
    """
    home = home_folder(secure=secure)
    if home.is_dir():
        return home
    with locked(base_folder() / "assemble.lock"):
        if not home.is_dir():
            downloads = base_folder() / "downloads"
            fetch(_artifacts(secure=secure), downloads)
            _build(home, downloads, secure=secure)
    return home


def _artifacts(*, secure: bool) -> list[Artifact]:
    jars = [jar for module in MODULES for jar in module.jars]
    unique = list(dict.fromkeys(jars))  # modules share some, each has its own copy
    return [DISTRIBUTION, KNN, *unique, *([SECURITY, *SECURITY_NEEDS] if secure else [])]


def _build(home: Path, downloads: Path, *, secure: bool) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="assembling-") as folder:
        _unzip(downloads / DISTRIBUTION.file, Path(folder))
        new = Path(folder) / f"opensearch-{VERSION}"
        for module in MODULES:
            _add_module(new / "modules" / module.name, module, downloads)
        _unzip(downloads / KNN.file, new / "plugins" / "opensearch-knn")
        if secure:
            _add_security(new / "plugins" / "opensearch-security", downloads)
        new.rename(home)


def _unzip(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise LocalError(f"{archive} cannot be unpacked: {error}: make room on the disk, or delete the file") from error


def _add_module(folder: Path, module: Module, downloads: Path) -> None:
    folder.mkdir(parents=True)
    for jar in module.jars:
        shutil.copy(downloads / jar.file, folder)
    values = {"name": module.name, "classname": module.classname, "extends": module.extends, "version": VERSION}
    (folder / "plugin-descriptor.properties").write_text(DESCRIPTOR.format(**values), encoding="utf-8")
    if module.permission:
        policy = f"grant {{ permission {module.permission}; }};\n"
        (folder / "plugin-security.policy").write_text(policy, encoding="utf-8")


def _add_security(folder: Path, downloads: Path) -> None:
    _unzip(downloads / SECURITY.file, folder)
    for jar in SECURITY_NEEDS:
        shutil.copy(downloads / jar.file, folder)
    # rule-framework is not published, and only extensions of it that we do not use would call it
    descriptor = folder / "plugin-descriptor.properties"
    lines = descriptor.read_text(encoding="utf-8").splitlines()
    optional = [f"{line};optional=true" if line.startswith("extended.plugins=") else line for line in lines]
    descriptor.write_text("\n".join(optional) + "\n", encoding="utf-8")
