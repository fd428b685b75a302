"""What every loader test needs: bytes in, one extract out."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ragkeep import loaders
from ragkeep.loaders import load, loader_for
from ragkeep.ports import Extract


def read(name: str, data: bytes | str) -> Extract:
    """Read a file by its name, as the sandbox would."""
    found = loader_for(PurePosixPath(name))
    assert found is not None, name
    (extract,) = load(found[0])(PurePosixPath(name), data.encode() if isinstance(data, str) else data)
    return extract


@contextmanager
def edited(module: str, copy: Path) -> Iterator[None]:
    """Let a module, "loaders/docx.py" say, have one more line in the copy of the package that versions are taken from."""
    real = loaders._PACKAGE
    shutil.copytree(real / "loaders", copy / "loaders")
    for name in ("encoding.py", "reader.py"):
        shutil.copy(real / name, copy / name)
    (copy / module).write_text((copy / module).read_text() + "# mended\n")
    loaders._PACKAGE = copy
    loaders.version_of.cache_clear()
    try:
        yield
    finally:
        loaders._PACKAGE = real
        loaders.version_of.cache_clear()
