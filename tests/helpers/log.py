"""Messages that were logged in a test."""

from collections.abc import Iterator
from contextlib import contextmanager
import logging
import re
from typing import override

import pytest

#: Home Assistant reports the use of deprecated names, and of functions in a wrong way, in these forms.
_DEPRECATION = re.compile(r"Detected that custom integration 'enphase_envoy'|deprecated .* from enphase_envoy\b")


def component_log(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """Return the component's messages from a level on."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("custom_components") and record.levelno >= level
    ]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return all warnings and errors."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the messages above debug level that were logged with a traceback."""
    shown = (record for record in caplog.records if record.levelno > logging.DEBUG)
    lines = ((record, record.getMessage()) for record in shown)
    return [line for record, line in lines if record.exc_info or "Traceback" in line]


class _Deprecations(logging.Handler):
    """Collects messages about deprecated names that the component uses."""

    def __init__(self) -> None:
        """Start without messages."""
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Collect the message of a record."""
        if _DEPRECATION.search(message := record.getMessage()):
            self.found.append(message)


@contextmanager
def logged_deprecations() -> Iterator[list[str]]:
    """Collect the messages about deprecated names that the component uses meanwhile."""
    handler = _Deprecations()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.found
    finally:
        logging.getLogger().removeHandler(handler)
