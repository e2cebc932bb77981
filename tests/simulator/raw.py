"""An answer that is no JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Raw:
    """Text with its kind and status."""

    text: str
    content_type: str = "text/html"
    status: int = 200
