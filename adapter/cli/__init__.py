"""
``koord``: the same flows from a terminal. One file for each family of commands.

A command is a few lines around a flow. Its file is imported when it is asked for, heavy modules inside the command, so that
``koord check`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

import click

from adapter.cli.terminal import Root, language_option, put, run

COMMANDS: Final = {
    "audit": "auditing:audit",
    "certs": "setting_up:certs",
    "check": "checking:check",
    "config": "setting_up:config_",
    "dead": "sending:dead",
    "decide": "deciding:decide",
    "demo": "running:demo",
    "doctor": "doctor:doctor",
    "filter": "convert:filter_",
    "map": "convert:map_",
    "mock": "running:mock",
    "profiles": "profiles:profiles",
    "queue": "sending:queue",
    "schema": "reference:schema",
    "send": "sending:send",
    "serve": "running:serve",
    "tables": "reference:tables",
    "why": "why:why_",
    "withdrawals": "withdrawals:withdrawals_",
    "worker": "running:worker",
}
"""The commands, each with its file and its name there."""


class Program(Root):
    """Loads a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"adapter.cli.{module}"), name)
        return command


@click.group(cls=Program)
def koord() -> None:
    """
    An HL7 FHIR adapter for Swedish coordination interventions, with a consent gate before anything leaves.

    Files or standard input in, results on standard output, reasons on standard error. Ends with 0 ok, 1 findings, 2 usage,
    3 configuration, 4 peer or network, 5 withheld by consent, 6 integrity, 70 internal error.
    """


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001  click's signature
    if value and not context.resilient_parsing:
        from importlib.metadata import version

        put(f"koord {version('koord-adapter')}")
        context.exit()


koord.params += [
    click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_print_version,
        help="Show the version.",
    ),
    language_option(),
]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The program. Leaves with the exit code of the command."""
    sys.exit(run(koord, arguments))
