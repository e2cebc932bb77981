"""An answer that is not JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextDocument:
    """Text with its content type and status."""

    text: str
    content_type: str = "text/html"
    status: int = 200
