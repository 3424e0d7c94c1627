"""
The order of the steps, one file per way of a message:

* ``accept``: the local system hands over records; stored and queued in one commit, then answered.
* ``dispatch``: a claimed message passes the gate, at this moment, and is sent; the answer is committed.
* ``receive``: a peer's resources are checked, mapped to records and stored in one commit, then answered.
* ``answer``: an authorised care provider reads; every record passes the same gate.
* ``withdraw`` and ``notify``: a consent ends, and whoever got something on it is told. ``stopped``: a peer is told that its notice is
  obeyed.
* ``checkpoints``: the audit log is signed at intervals. ``reviews``: somebody looks into it, and is logged. ``audit_events``:
  its entries as FHIR.

``Adapter`` holds the parts that the steps use. Nothing else in the project knows the order, and nothing else opens the gate.
"""

from adapter.flows.accept import Acceptance, accept
from adapter.flows.adapter import Adapter
from adapter.flows.answer import Answer, Reader, read_one, search
from adapter.flows.dispatch import Dispatcher, deliver
from adapter.flows.receive import Received, Written, receive

__all__ = [
    "Acceptance",
    "Adapter",
    "Answer",
    "Dispatcher",
    "Reader",
    "Received",
    "Written",
    "accept",
    "deliver",
    "read_one",
    "receive",
    "search",
]
