"""
Ways out: the port ``send(Cleared) -> Receipt``, and what implements it.

``rest``: a FHIR transaction over HTTPS. ``memory``: the shipped twin for tests and benchmarks, which behaves the same.
``server``, ``login`` and ``outcome`` are the way in that they share with the service and the mock receiver.
"""

from adapter.transport.receipt import Outcome, Receipt, Transport

__all__ = ["Outcome", "Receipt", "Transport"]
