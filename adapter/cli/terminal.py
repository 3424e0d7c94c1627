"""
What a command says: results on stdout, reasons on stderr, and the exit code that the faults give.

This is the only place where an error becomes text on a terminal.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from adapter.errors import AdapterError, Fault, Language, Misconfigured

if TYPE_CHECKING:
    from traceback import FrameSummary

Result = TypeVar("Result")

OK: Final = 0
FINDINGS: Final = 1
INTERRUPTED: Final = 130
GONE: Final = 141
"""Nobody reads what we write: as other programs end at a closed pipe (128 + SIGPIPE)."""

_LONG_NUMBER: Final = re.compile(r"[0-9][0-9-]{5,}")
_PACKAGE: Final = Path(__file__).parents[1]


class Command(click.Command):
    """A command that takes ``--language`` too, after its name as well as before it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.params.append(language_option())


class Group(click.Group):
    command_class = Command


class _ReaderGoneError(Exception):
    """Nobody reads standard output any more. Not an OSError, which click would end in its own way."""


class Root(Group):
    """The program itself: errors are told while the language that was asked for is still known."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGoneError from None
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001  as in run
            return ended(error)


def language_option() -> click.Option:
    return click.Option(
        ["--language"],
        type=click.Choice(["sv", "en"]),
        expose_value=False,
        callback=_choose_language,
        help="Language of sentences; from LANG if left out.",
    )


test_identities: Final = click.option(
    "--test", "mode", flag_value="test", default="production", help="Test identities: a wrong check digit only warns."
)


def _choose_language(context: click.Context, _: click.Parameter, value: Language | None) -> None:
    if value is not None:
        context.find_root().meta[__name__] = value


def language() -> Language:
    """The language that was asked for, else that of the machine, else English."""
    context = click.get_current_context(silent=True)
    chosen: Language | None = context.find_root().meta.get(__name__) if context else None
    return chosen or _language_of_the_machine()


def _language_of_the_machine() -> Language:
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "sv" if locale.startswith("sv") else "en"


def put(content: bytes | str) -> None:
    """
    A result, as it is; text gets its line end.

    Raises:
        Misconfigured: nothing more can be written there (``cli.unwritable``).
    """
    try:
        sys.stdout.buffer.write(content if isinstance(content, bytes) else f"{content}\n".encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _write_nowhere()
        raise Misconfigured(Fault("cli.unwritable", "standard output", type(error).__name__)) from None


def put_json(value: Any) -> None:
    """A result as JSON for programs and people: UTF-8, two spaces, keys in their order."""
    import msgspec

    from adapter.wire import json

    put(msgspec.json.format(json.write(value), indent=2) + b"\n")


def put_rows(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """A result of many rows with the same keys: JSON, or columns for people."""
    if as_json:
        put_json(list(rows))
        return
    if not rows:
        return
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        put("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def shown(name: str) -> str:
    """The name of a file as it can be shown: whatever is no character, or would move the cursor, is replaced."""
    readable = os.fsencode(name).decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in readable)


def say(faults: Iterable[Fault], *, source: str = "") -> None:
    """Reasons, on stderr: each on one line, behind what it is about."""
    before = f"{source}: " if source else ""
    for fault in faults:
        click.echo(before + fault.as_line(language()), err=True)


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """What a flow comes to, waited for. asyncio takes a quarter of the time that help is there in, so it is loaded here."""
    import asyncio

    return asyncio.run(work)


def run(group: click.Group, arguments: Sequence[str] | None) -> int:
    """Run a command line; its exit code. No error goes past here."""
    try:
        code = group.main(arguments, prog_name="koord", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return INTERRUPTED
    except (BrokenPipeError, _ReaderGoneError):
        _write_nowhere()
        return GONE
    except Exception as error:  # noqa: BLE001  the last line of defence: nothing of what was read may reach the terminal
        return ended(error)
    return code if isinstance(code, int) else OK


def ended(error: Exception) -> int:
    """Say why a command ended; its exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    if isinstance(error, AdapterError):
        say(error.faults)
        return error.exit
    fault = _usage(error) if isinstance(error, click.UsageError) else _internal(error)
    say([fault])
    return fault.entry.exit


def _write_nowhere() -> None:
    """What is still buffered is written when Python ends, and nobody is there to read it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.UsageError) -> Fault:
    """Click's finding. A long number on a command line may be a person's, so it is not repeated."""
    command = error.ctx.command_path if error.ctx else "koord"
    found = _LONG_NUMBER.sub("…", error.format_message()).rstrip(".")
    return Fault("cli.usage", command, found, named=(("command", command),))


def _internal(error: BaseException) -> Fault:
    """The same reference for the same error at the same place. Never the error's own text, which may quote what was read."""
    import traceback
    from hashlib import sha256

    frames = [_frame(frame) for frame in traceback.extract_tb(error.__traceback__)]
    kind = type(error).__name__
    reference = sha256("\n".join([kind, *frames]).encode()).hexdigest()[:12]
    if os.environ.get("KOORD_DEBUG"):
        for frame in frames:
            click.echo(frame, err=True)
        click.echo(kind, err=True)
    return Fault(
        "cli.internal", frames[-1].partition(" ")[0] if frames else "", kind, named=(("reference", reference),)
    )


def _frame(frame: FrameSummary) -> str:
    path = Path(frame.filename)
    name = path.relative_to(_PACKAGE.parent) if path.is_relative_to(_PACKAGE) else path.name
    return f"{name}:{frame.lineno} in {frame.name}"
