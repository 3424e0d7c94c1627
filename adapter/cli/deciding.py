"""``koord decide``: questions to the consent engine, one on each line, answered one on each line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

import click

from adapter.cli.reading import STDIN
from adapter.cli.terminal import FINDINGS, OK, Command, put
from adapter.errors import Fault, Unreadable


@click.command(cls=Command)
@click.argument("file", default=STDIN)
def decide(file: str) -> int:
    """
    Decide on questions by consents in FHIR R4 or R5, one question in JSON on each line, one answer on each line.

    FILE, or standard input if it is left out or -, is read as it comes, and each line is answered at once, in the same
    order. A line that cannot be read is answered with a denial, UNREADABLE, and says where it is wrong; then the command ends
    with 1. docs/decide.md has the format.
    """
    from adapter.consent.questions import answer

    unread = 0
    with _opened(file) as stream:
        for line in _lines(stream):
            answered = answer(line)
            unread += not answered.is_read
            put(answered.line + b"\n")
    return FINDINGS if unread else OK


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    try:
        if name == STDIN:
            return nullcontext(sys.stdin.buffer)
        return open(name, "rb")  # noqa: PTH123  a name of the command line, as it was typed
    except FileNotFoundError:
        raise Unreadable(Fault("cli.no-such-file", name)) from None
    except (OSError, ValueError, AttributeError) as error:  # AttributeError: standard input is closed
        raise Unreadable(Fault("cli.unreadable-file", name, type(error).__name__)) from None


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Each line, also an empty one; of one that is too long, as much as tells that it is, and the rest is passed over."""
    from adapter.consent.questions import LIMITS

    most = LIMITS.size + 1
    try:
        while line := stream.readline(most):
            yield line
            while len(line) == most and not line.endswith(b"\n"):
                line = stream.readline(most)
    except OSError as error:
        raise Unreadable(Fault("cli.unreadable-file", stream.name, type(error).__name__)) from None
