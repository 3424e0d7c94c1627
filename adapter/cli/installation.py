"""What the commands that work on an installation share: its settings, its store, and who is at the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from adapter.settings import Settings
    from adapter.store import Store

config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("koord.toml"),
    show_default=True,
    envvar="KOORD_CONFIG",
    metavar="FILE",
    help="The settings; also KOORD_CONFIG.",
)


def settings_of(path: Path) -> Settings:
    """
    The settings in force, and every file that they name looked into.

    Raises:
        Misconfigured: with every fault of the file, or of the files that it names.
    """
    from adapter.settings import check_files, load

    settings = load(path)
    check_files(settings)
    return settings


@contextmanager
def store_of(path: Path) -> Iterator[Store]:
    """The store of an installation, open; nothing else of it is started."""
    from adapter.store import Store, load_keys

    settings = settings_of(path)
    keys = load_keys(settings.store.key_file)
    with Store.open(settings.store.path, keys, unit=settings.region.unit) as store:
        yield store


def operator() -> str:
    """Who the audit log says did it: the user of the operating system, whatever the environment claims."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"operator:{name}"
