"""``koord config``, ``certs``: start an installation and look through it."""

from __future__ import annotations

from pathlib import Path

import click

from adapter.cli.installation import config, settings_of
from adapter.cli.terminal import OK, Group, language, put, put_json
from adapter.errors import Fault, Misconfigured


@click.group("config", cls=Group)
def config_() -> None:
    """Start, check and show the settings."""


@config_.command("init")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def config_init(folder: Path) -> int:
    """Write a commented koord.toml and new keys into FOLDER. Nothing that is there is replaced."""
    from secrets import token_bytes

    from adapter.certs import new_audit_key
    from adapter.settings import init
    from adapter.store import make_key_file

    keys = folder / "store.keys"
    if keys.exists():
        raise Misconfigured(Fault("config.exists", str(keys)))
    path = init(folder, secrets={"id.key": token_bytes(32), "audit.key": new_audit_key()})
    make_key_file(keys)
    put_json({"config": str(path), "keys": [str(keys), str(folder / "id.key"), str(folder / "audit.key")]})
    return OK


@config_.command("check")
@config
def config_check(config: Path) -> int:
    """Look through the settings, every file that they name, and the region's own codes."""
    from adapter.tables import load_every

    load_every(settings_of(config).overlays)
    put(f"{config}: {Fault('cli.nothing-found').says(language())}")
    return OK


@config_.command("show")
@config
def config_show(config: Path) -> int:
    """Print the settings in force, with what the environment overrides. What is in secret files is not shown."""
    from adapter.settings import load, show

    put_json(show(load(config)))
    return OK


@click.group(cls=Group)
def certs() -> None:
    """Certificates for tests. Real ones come from your issuer."""


@certs.command("make")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--host", "hosts", multiple=True, help="Name or address of the server; this machine's if left out.")
@click.option("--hsa-id", required=True, help="Of the client certificate's holder.")
def certs_make(folder: Path, hosts: tuple[str, ...], hsa_id: str) -> int:
    """Make a test authority in FOLDER, with a server certificate, a client certificate and a key that signs tokens."""
    from adapter.certs import Authority, create_signing_key

    try:
        authority = Authority.create(folder)
        server = authority.issue_server("server", hosts=hosts) if hosts else authority.issue_server("server")
        client = authority.issue_client("client", hsa_id)
        token = create_signing_key(folder, "token")
    except FileExistsError as error:
        raise Misconfigured(Fault("config.exists", str(error.filename))) from None
    except OSError as error:
        raise Misconfigured(Fault("config.cannot-write", str(folder), type(error).__name__)) from None
    put_json(
        {
            "ca": str(authority.certificate),
            "server": {"certificate": str(server.certificate), "key": str(server.key)},
            "client": {"certificate": str(client.certificate), "key": str(client.key)},
            "token": {"key": str(token.private), "jwks": str(token.public_set)},
        }
    )
    return OK
