"""Start, play, ask, judge, tell; and stop everything, however it ends."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TextIO

from adapter.demo import report, scenario
from adapter.demo.cast import RECEIVERS
from adapter.demo.judging import Verdict, delivered, judge
from adapter.demo.playing import play
from adapter.demo.report import Report
from adapter.demo.scenario import Scenario
from adapter.demo.stage import Stage
from adapter.errors import Fault, Language, Misconfigured
from adapter.mapping import Mapper
from adapter.tables import load

OK: Final = 0
FINDINGS: Final = 1
_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)
"""Besides Ctrl-C: told to end, the terminal closed. The programs run in sessions of their own and would not notice."""


def run(  # noqa: PLR0913  named by the caller
    *,
    as_json: bool = False,
    keep: bool = False,
    folder: Path | None = None,
    out: TextIO | None = None,
    language: Language = "en",
    scenarios: Path | None = None,
) -> int:
    """
    Run the demo; 0 if every outcome is as the scenarios say and nothing was lost or leaked, else 1.

    ``as_json``: the verdict as one JSON document, and nothing else, on ``out``; findings in words go to stderr. ``keep``:
    leave everything running, say where, until interrupted. ``folder``: where certificates, databases and logs are put, and
    stay; a temporary one, removed in the end, if left out. ``scenarios``: others than those shipped.

    Raises:
        Misconfigured: ``demo.scenario``, ``demo.folder-in-use``.
        PeerFault: a program did not start, ended or did not answer (``demo.not-started``, ``demo.too-slow``,
            ``demo.ended``, ``demo.no-answer``, ``demo.unexpected-answer``).
        KeyboardInterrupt: it was told to end in the middle; everything has been stopped.
    """
    chosen = scenario.load(scenarios)
    stream = out or sys.stdout
    telling = Report(stream, language, quiet=as_json)

    async def play_all() -> Verdict:
        _end_on_signals()
        begun = time.monotonic()
        async with Stage(place) as stage:
            try:
                verdict = await _verdict(chosen, stage, telling)
            finally:
                telling.end_of_steps()
            telling.verdict(verdict, chosen, time.monotonic() - begun)
            if as_json:
                stream.write(report.as_json(verdict))
                stream.flush()
                sys.stderr.writelines(f"{problem}\n" for problem in verdict.problems)
            if keep:
                (Report(sys.stderr, language) if as_json else telling).still_running(
                    stage, chosen[0].folder / "submission.json"
                )
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
        return verdict

    try:
        with _workplace(folder) as place, asyncio.Runner() as runner:
            verdict = runner.run(play_all())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    return OK if verdict.good else FINDINGS


async def _verdict(chosen: Sequence[Scenario], stage: Stage, telling: Report) -> Verdict:
    await stage.start(telling.step("starting", len(stage.programs)))
    one_more = telling.step("playing", len(chosen))
    played = []
    async with stage.local_system() as system:
        for each in chosen:
            played.append(await play(each, system, datetime.now(UTC)))
            stage.must_run()
            one_more(each)
    held = await stage.held(telling.step("asking", len(RECEIVERS)))
    return judge(played, held, Mapper(load(), load), await stage.entries(delivered(played)))


@contextmanager
def _workplace(folder: Path | None) -> Iterator[Path]:
    """
    An empty folder to work in.

    Raises:
        Misconfigured: ``demo.folder-in-use``.
    """
    if folder is None:
        with TemporaryDirectory(prefix="koord-demo-", ignore_cleanup_errors=True) as made:
            yield Path(made)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        in_use = any(folder.iterdir())
    except OSError as error:
        raise Misconfigured(Fault("demo.folder-in-use", str(folder), type(error).__name__)) from None
    if in_use:
        raise Misconfigured(Fault("demo.folder-in-use", str(folder)))
    yield folder.absolute()


def _end_on_signals() -> None:
    """What ends us in the middle unwinds as Ctrl-C does, so that no program and no folder is left."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  called from a coroutine
    for number in _ENDS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
