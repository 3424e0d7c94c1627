"""The strict readers and writers: the only places where bytes become values, and values bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The most that a body may hold before it is refused.

    ``size`` in bytes; ``depth`` of nesting (objects and arrays, or elements); ``nodes``: JSON values; ``elements`` of XML, whose
    tree takes more memory; ``digits`` of a number; ``exponent``: the largest power of ten, either sign; ``attributes`` of one XML
    element; ``names`` of one JSON object.
    """

    size: int = 5 * 1024 * 1024
    depth: int = 64
    nodes: int = 250_000
    elements: int = 150_000
    digits: int = 40
    exponent: int = 308
    attributes: int = 16
    names: int = 1_000

    def allow_number(self, text: str) -> bool:
        """Whether a number, as it is written, has at most ``digits`` digits and a bearable exponent."""
        if len(text) <= self.digits and text.isdigit():
            return True
        mantissa, _, exponent = text.lower().partition("e")
        exponent = exponent.lstrip("+-").lstrip("0")
        return len(mantissa) <= self.digits + 2 and len(exponent) <= 9 and int(exponent or 0) <= self.exponent


LIMITS = Limits()
"""What is accepted where nothing else is configured."""
