"""
The SQLite file: one thread writes, with group commit; a few threads read, each on its own connection.

Writes that arrive while a commit is being flushed wait together and become the next commit: one flush for all of them.
If one of them fails, all run again, each in a savepoint of its own, so that it takes nothing with it. A job resolves only
after the commit (WAL, ``synchronous=FULL``: it is on disk). Several processes may open the same file.

So an operation may run twice, and changes nothing but the database.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar

from adapter.errors import Fault, StoreFault
from adapter.store import schema
from adapter.store.bodies import Keys

T = TypeVar("T")
P = ParamSpec("P")
Row = tuple[Any, ...]

GROUP = 256
READERS = 3
BUSY_TIMEOUT_S = 10.0
_FAULTS = {
    sqlite3.SQLITE_FULL: "store.full",
    sqlite3.SQLITE_BUSY: "store.busy",
    sqlite3.SQLITE_LOCKED: "store.busy",
    sqlite3.SQLITE_CORRUPT: "store.corrupt",
    sqlite3.SQLITE_NOTADB: "store.corrupt",
    sqlite3.SQLITE_CANTOPEN: "store.unreadable",
    sqlite3.SQLITE_PERM: "store.unreadable",
    sqlite3.SQLITE_READONLY: "store.unreadable",
    sqlite3.SQLITE_IOERR: "store.unreadable",
}


class Job(Future[T]):
    """What was asked of the store: ``await`` it in asyncio code, or call ``result()``."""

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self).__await__()


class Transaction:
    """A transaction that is open: SQL with ``:named`` values, the store's keys, and the care unit that it is used at."""

    __slots__ = ("_connection", "keys", "unit")

    def __init__(self, connection: sqlite3.Connection, keys: Keys, unit: str | None = None) -> None:
        self._connection = connection
        self.keys = keys
        self.unit = unit

    def run(self, sql: str, **values: object) -> int:
        """Execute; the number of rows changed."""
        return self._connection.execute(sql, values).rowcount

    def one(self, sql: str, **values: object) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._connection.execute(sql, values).fetchone()
        return row

    def all(self, sql: str, **values: object) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def each(self, sql: str, **values: object) -> Iterator[Row]:
        """The rows one by one, for results that need not fit in memory."""
        return iter(self._connection.execute(sql, values))


class Store:
    """
    One SQLite file, open. ``write`` and ``read`` run operations; ``close`` finishes what was asked and lets go.

    Usable as a context manager. Threads and event loops may share it.
    """

    def __init__(self, path: Path, keys: Keys, *, unit: str | None, group: int) -> None:
        self.keys = keys
        self._path = path
        self._writer = _Writer(_connect(path), keys, unit, group)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    @classmethod
    def open(cls, path: Path, keys: Keys, *, unit: str | None = None, group: int = GROUP) -> Self:
        """
        Open the store, or make it if there is no file (mode 0600). One of an older version gets what it lacks.

        ``unit``: HSA-id of the care unit that uses the store, for the audit log. ``group``: the most writes that share a commit.

        Raises:
            StoreFault: ``store.newer-schema``, ``store.foreign-file``, ``store.wrong-key``, ``store.corrupt``,
                ``store.unreadable``, ``store.busy``.
        """
        try:
            _prepare(path, keys)
            return cls(path, keys, unit=unit, group=group)
        except (sqlite3.Error, OSError) as error:
            raise wrapped(error) from error

    def write(self, work: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        """Run an operation in the next commit. The job gives its result, or what it raised, after the commit."""
        return self._writer.submit(lambda transaction: work(transaction, *args, **kwargs))

    def read(self, work: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> Job[T]:
        """Run an operation that only reads, on one consistent view of what has been committed."""
        job: Job[T] = Job()
        try:
            self._readers.submit(self._read, job, lambda transaction: work(transaction, *args, **kwargs))
        except RuntimeError:
            raise StoreFault(Fault("store.closed")) from None
        return job

    def close(self) -> None:
        """Commit what was asked for before, then close. Later calls raise ``store.closed``; closing twice is harmless."""
        self._readers.shutdown()
        while self._connections:
            self._connections.pop().close()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, job: Job[T], work: Callable[[Transaction], T]) -> None:
        if not job.set_running_or_notify_cancel():
            return
        try:
            job.set_result(self._in_view(work))
        except sqlite3.Error as error:
            job.set_exception(wrapped(error))
        except Exception as error:  # noqa: BLE001  it belongs to whoever waits for the job
            job.set_exception(error)

    def _in_view(self, work: Callable[[Transaction], T]) -> T:
        connection = self._reader()
        connection.execute("BEGIN")
        try:
            return work(Transaction(connection, self.keys))
        finally:
            connection.execute("ROLLBACK")

    def _reader(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            connection = _connect(self._path)
            connection.execute("PRAGMA query_only = ON")
            self._connections.append(connection)
            self._local.connection = connection
        mine: sqlite3.Connection = self._local.connection
        return mine


class _Task(NamedTuple):
    job: Job[Any]
    work: Callable[[Transaction], Any]


_Outcome = Callable[[], None]  # tells the job, once the commit is on disk


class _Writer:
    def __init__(self, connection: sqlite3.Connection, keys: Keys, unit: str | None, group: int) -> None:
        self._connection = connection
        self._transaction = Transaction(connection, keys, unit)
        self._group = group
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Transaction], T]) -> Job[T]:
        job: Job[T] = Job()
        with self._gate:
            if self._closed:
                raise StoreFault(Fault("store.closed"))
            self._tasks.put(_Task(job, work))
        return job

    def close(self) -> None:
        with self._gate:
            if not self._closed:
                self._closed = True
                self._tasks.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while (first := self._tasks.get()) is not None:
            group = [first]
            last = False
            while len(group) < self._group and not last:
                try:
                    task = self._tasks.get_nowait()
                except Empty:
                    break
                if task is None:
                    last = True
                else:
                    group.append(task)
            self._serve([task for task in group if task.job.set_running_or_notify_cancel()])
            if last:
                return

    def _serve(self, tasks: list[_Task]) -> None:
        """Commit the tasks together: at full speed, or, if one of them fails, each in a savepoint."""
        try:
            outcomes = self._commit(tasks, self._plainly)
        except Exception:  # noqa: BLE001  whose it is comes out the second time
            try:
                outcomes = self._commit(tasks, self._in_savepoint)
            except sqlite3.Error as error:
                outcomes = [partial(task.job.set_exception, wrapped(error)) for task in tasks]
        for tell in outcomes:
            tell()

    def _commit(self, tasks: list[_Task], run: Callable[[_Task], _Outcome]) -> list[_Outcome]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [run(task) for task in tasks]
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        return outcomes

    def _plainly(self, task: _Task) -> _Outcome:
        return partial(task.job.set_result, task.work(self._transaction))

    def _in_savepoint(self, task: _Task) -> _Outcome:
        self._connection.execute("SAVEPOINT task")
        try:
            outcome = self._plainly(task)
        except Exception as error:
            if not self._connection.in_transaction:  # SQLite gave up the whole commit: no room, or an I/O error
                raise
            self._connection.execute("ROLLBACK TO task")
            outcome = partial(task.job.set_exception, wrapped(error) if isinstance(error, sqlite3.Error) else error)
        self._connection.execute("RELEASE task")
        return outcome


def wrapped(error: sqlite3.Error | OSError) -> StoreFault:
    """Our error for one of SQLite's or the file system's: a stable code; SQLite's text holds no values."""
    fault = StoreFault(Fault(_code(error), why=getattr(error, "sqlite_errorname", type(error).__name__)))
    fault.__cause__ = error
    return fault


def _code(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        return "store.unreadable"
    return _FAULTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "store.failed")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S, cached_statements=512
    )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _prepare(path: Path, keys: Keys) -> None:
    """Make the store, or make an older one this version's: all of it in one transaction."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        present = _present(connection)
        if not present:
            _grow(connection, present)
            connection.execute("INSERT INTO store_info VALUES (1, ?, ?, ?)", (schema.SCHEMA_VERSION, *keys.checks()))
        elif "store_info" not in present:
            raise StoreFault(Fault("store.foreign-file"))
        elif _checked(connection, keys) < schema.SCHEMA_VERSION:
            _grow(connection, present)
            connection.execute("UPDATE store_info SET schema_version = ?", (schema.SCHEMA_VERSION,))
        connection.execute("COMMIT")
    finally:
        connection.close()


def _present(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """The tables and indexes of a database, each with its columns (an index: none)."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
    return {
        name: {column for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (name,))}
        for name in names
    }


def _grow(connection: sqlite3.Connection, present: Mapping[str, Container[str]]) -> None:
    for statement in schema.statements(present):
        connection.execute(statement)


def _checked(connection: sqlite3.Connection, keys: Keys) -> int:
    """The version of the schema of a store that is ours to open."""
    version, body_check, index_check = connection.execute(
        "SELECT schema_version, body_check, index_check FROM store_info"
    ).fetchone()
    if version > schema.SCHEMA_VERSION:
        raise StoreFault(
            Fault("store.newer-schema", named=(("found", str(version)), ("known", str(schema.SCHEMA_VERSION))))
        )
    if not keys.fit(body_check, index_check):
        raise StoreFault(Fault("store.wrong-key"))
    return int(version)
