"""The built page in ragkeep/serving/web is what the sources in web/ make: `cd web && npm ci && npm run build`."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WEB, BUNDLE = ROOT / "web", ROOT / "ragkeep" / "serving" / "web"
SOURCES = ["index.html", "package-lock.json", "package.json", "src", "tsconfig.json", "vite.config.ts"]
MANIFEST = json.loads((BUNDLE / "manifest.json").read_text())


def files(base: Path) -> list[Path]:
    return sorted(p for p in ([base] if base.is_file() else base.rglob("*")) if p.is_file())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bundle_was_built_from_these_sources() -> None:
    found = {p.relative_to(WEB).as_posix(): p for name in SOURCES for p in files(WEB / name) if ".test." not in p.name}
    lines = "".join(f"{sha256(found[name])}  {name}\n" for name in sorted(found))
    assert hashlib.sha256(lines.encode()).hexdigest() == MANIFEST["sources"], "run: cd web && npm ci && npm run build"


def test_the_bundle_is_as_it_was_built() -> None:
    built = {p.relative_to(BUNDLE).as_posix(): sha256(p) for p in files(BUNDLE) if p.name != "manifest.json"}
    assert built == MANIFEST["files"]


def test_the_page_needs_nothing_from_elsewhere_and_nothing_inline() -> None:
    html = (BUNDLE / "index.html").read_text()
    assert re.findall(r'(?:src|href)="([^"]+)"', html) == [f"./{name}" for name in named(html)]
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", html)
    css = "".join(p.read_text() for p in BUNDLE.rglob("*.css"))
    assert "@import" not in css
    assert "url(" not in css


def named(html: str) -> list[str]:
    """Files of the bundle that the page names, in its order."""
    return [name for name in re.findall(r'"\./([^"]+)"', html) if (BUNDLE / name).is_file()]


def test_no_registry_is_named() -> None:
    text = (WEB / "package-lock.json").read_text() + (WEB / ".npmrc").read_text()
    assert '"resolved"' not in text
    assert "registry." not in text


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources alone, with their packages installed from the lock."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on the PATH: building the page again needs Node 20")
    root = tmp_path_factory.mktemp("page")
    shutil.copytree(WEB, root / "web", ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(["npm", "ci"], cwd=root / "web", capture_output=True, text=True, timeout=600)
    if done.returncode and "RAGKEEP_CI" not in os.environ:
        pytest.skip(f"npm ci failed, is its registry reachable? {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return root


@pytest.mark.slow
def test_building_again_gives_the_same_bytes(checkout: Path) -> None:
    subprocess.run(["npm", "run", "build"], cwd=checkout / "web", check=True, capture_output=True, timeout=600)
    again = checkout / "ragkeep" / "serving" / "web"
    made = {p.relative_to(again).as_posix(): p.read_bytes() for p in files(again)}
    assert made == {p.relative_to(BUNDLE).as_posix(): p.read_bytes() for p in files(BUNDLE)}


@pytest.mark.slow
def test_the_units_of_the_page_hold(checkout: Path) -> None:
    done = subprocess.run(["npm", "test"], cwd=checkout / "web", capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
