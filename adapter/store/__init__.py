"""
What is durable: records, the outbox, the inbox, disclosures and the audit chain.

The store holds opaque bytes (sealed) and plain values; it knows no FHIR and no network, and it never reads a clock:
``now`` is always an argument, an aware ``datetime``.

One rule carries all of it: **an operation is a function whose first argument is a transaction**, and the store runs it.

    store = Store.open(path, load_keys(key_file))
    accepted = await store.write(inbox.accept, arrival, records=…, sends=…, entries=…, respond=…, now=now)
    snapshot = await store.read(records.consents, patient_key)
    store.close()

``write`` and ``read`` return a ``Job``: ``await`` it in asyncio code, call ``.result()`` elsewhere. A write's job is done
when its commit is on disk. Operations compose: a function that calls several of them runs them in one commit.

======================  ==================================================================================
``database``            ``Store``, ``Job``, ``Transaction``: the writer with group commit, and the readers
``bodies``              ``Keys``, ``load_keys``, ``make_key_file``, ``add_body_key``: encryption at rest, keyed hashes
``records``             record versions, the consent snapshot, search, history, change feed
``inbox``               ``accept`` (idempotent: the same request again gets the stored answer), ``seen_once``
``outbox``              lanes: ``claim``, ``renew``, ``begin``, ``complete``, ``give_back``, ``block``
``destinations``        ``declare``, ``pause``, ``resume``, the breaker, ``overview`` of the queues
``quarantine``          lists of messages, dead letters: ``release``, ``discard``, ``resend``
``disclosures``         who received what, and what may have left
``audit``               append-only entries in a chain that shows tampering
``checkpoints``         signed statements about the audit log, to be kept elsewhere; ``verify``, ``verify_export``
``schedule``            when to try again: pure functions
======================  ==================================================================================

Errors: ``StoreFault`` when reading or writing failed, ``Conflict`` when the state forbids it, ``Misconfigured`` for key
files and undeclared destinations.
"""

from adapter.store.bodies import Keys, add_body_key, load_keys, make_key_file
from adapter.store.database import Job, Store, Transaction

__all__ = ["Job", "Keys", "Store", "Transaction", "add_body_key", "load_keys", "make_key_file"]
