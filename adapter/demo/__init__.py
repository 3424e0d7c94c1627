"""
``koord demo``: the main job on this machine, with the real parts.

Two regions' adapters and stand-ins for all other recipients run as processes over loopback TLS. The scenarios under
``examples/scenarios`` go through region A's adapter as its local system would send them. Then each receiver is asked what it
holds, and that is what the verdict is about: ``scenario`` reads, ``playing`` plays, ``judging`` compares; ``cast``, ``stage``
and ``processes`` are who takes part; ``client`` calls; ``report`` tells.
"""

from adapter.demo.run import run

__all__ = ["run"]
