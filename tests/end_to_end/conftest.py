"""Marks what starts a real Home Assistant."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark: `-m "not end_to_end"` leaves these tests out."""
    config.addinivalue_line("markers", "end_to_end: starts a real Home Assistant and a real browser")
