"""Messages that were logged in a test."""

import logging

import pytest


def component_log(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """Return the component's messages from a level on."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("custom_components") and record.levelno >= level
    ]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return all warnings and errors, except those of asyncio, which warns about slow callbacks on a slow machine."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name != "asyncio" and record.levelno >= logging.WARNING
    ]


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages above debug level that were logged with a traceback."""
    shown = (record for record in caplog.records if record.levelno > logging.DEBUG)
    lines = ((record, record.getMessage()) for record in shown)
    return [line for record, line in lines if record.exc_info or "Traceback" in line]
