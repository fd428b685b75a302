"""What every loader test needs: bytes in, one extract out."""

from pathlib import PurePosixPath

from ragkeep.loaders import load, loader_for
from ragkeep.ports import Extract


def read(name: str, data: bytes | str) -> Extract:
    """Read a file by its name, as the sandbox would."""
    found = loader_for(PurePosixPath(name))
    assert found is not None, name
    (extract,) = load(found[0])(PurePosixPath(name), data.encode() if isinstance(data, str) else data)
    return extract
