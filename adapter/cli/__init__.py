"""
``koord``: the same flows from a terminal. One file for each family of commands.

A command is a few lines around a flow. Heavy modules are imported inside the commands, so that help is there at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from adapter.cli import (
    auditing,
    checking,
    convert,
    deciding,
    doctor,
    profiles,
    reference,
    running,
    sending,
    setting_up,
    why,
    withdrawals,
)
from adapter.cli.terminal import Root, language_option, put, run


@click.group(cls=Root)
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
for command in (
    running.demo,
    convert.map_,
    checking.check,
    convert.filter_,
    deciding.decide,
    sending.send,
    sending.queue,
    sending.dead,
    withdrawals.withdrawals_,
    why.why_,
    running.serve,
    running.worker,
    running.mock,
    reference.schema,
    reference.tables,
    profiles.profiles,
    setting_up.config_,
    setting_up.certs,
    auditing.audit,
    doctor.doctor,
):
    koord.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The program. Leaves with the exit code of the command."""
    sys.exit(run(koord, arguments))
