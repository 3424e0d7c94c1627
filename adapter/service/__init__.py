"""
The HTTP face of the adapter.

``visit``: what every call has, its ids and its line in the log. ``door``: who calls, and whether its role lets it in.
``negotiation`` and ``answers``: JSON or XML, and what an answer can be. Then the routes: ``fhir`` (with ``packages``: what
a transaction asks and is told) and ``capability``, ``records`` for the local system, ``operations`` for the queue, ``health``.

No route makes FHIR content: what is read comes as ``Cleared`` from the gate, and everything else is a receipt or an error.
"""

from adapter.service.app import create_app, serve

__all__ = ["create_app", "serve"]
