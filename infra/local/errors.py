"""What can go wrong with a local server: one line that names the thing and the next step.

LocalError         a server cannot be started, reached or stopped
└── Unavailable    this machine lacks what the server needs; tests skip, CI fails
"""


class LocalError(Exception):
    """A local server cannot be started, reached or stopped."""


class Unavailable(LocalError):
    """This machine lacks what the server needs: a JDK, Maven, the network for the first start."""
