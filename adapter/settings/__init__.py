"""
The settings: one file, ``koord.toml``, read once at start and never changed while running.

An environment variable ``KOORD_`` + the setting's path with ``__`` between its parts (``KOORD_SERVER__PORT``)
overrides one value; a name that fits no setting is an error. Secrets are never in the file: it names files that
hold them. What goes wrong is told by the setting's path, never by its value.
"""

from adapter.settings.files import check_files
from adapter.settings.model import (
    JOURNAL,
    Audit,
    Authentication,
    Destination,
    DestinationTls,
    DestinationToken,
    Journal,
    Limits,
    Link,
    Network,
    Peer,
    Recipient,
    Region,
    Retention,
    Role,
    Server,
    ServerTls,
    Settings,
    Store,
)
from adapter.settings.reading import FILE_NAME, init, load, show

__all__ = [
    "FILE_NAME",
    "JOURNAL",
    "Audit",
    "Authentication",
    "Destination",
    "DestinationTls",
    "DestinationToken",
    "Journal",
    "Limits",
    "Link",
    "Network",
    "Peer",
    "Recipient",
    "Region",
    "Retention",
    "Role",
    "Server",
    "ServerTls",
    "Settings",
    "Store",
    "check_files",
    "init",
    "load",
    "show",
]
