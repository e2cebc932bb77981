"""Suppress what the library's updaters log as warnings at every poll; this integration logs one line when it starts."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
import logging
from pkgutil import iter_modules
from typing import Final

from pyenphase import updaters

#: Whether the code that runs now is an updater run by this integration.
_SUPPRESSED: Final = ContextVar("enphase_envoy_warnings_suppressed", default=False)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Return whether to log a record of an updater: while it is run here, only with debug logging of the library."""
    return not _SUPPRESSED.get() or logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


for _module in iter_modules(updaters.__path__, f"{updaters.__name__}."):
    logging.getLogger(_module.name).addFilter(_is_wanted)


@contextmanager
def library_warnings_suppressed() -> Iterator[None]:
    """Run updaters without their warnings."""
    token = _SUPPRESSED.set(True)
    try:
        yield
    finally:
        _SUPPRESSED.reset(token)
