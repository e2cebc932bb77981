"""Filters of log records: warnings that the library's updaters repeat at every poll, and tokens in answers.

This integration logs one line when a warning starts. A gateway may quote the token of a request in its answer, of which
the library logs the beginning while debugging.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
import logging
from pathlib import Path
from pkgutil import iter_modules, walk_packages
import re
from typing import Final

import pyenphase
from pyenphase import updaters

#: Whether the code that runs now is an updater run by this integration.
_SUPPRESSED: Final = ContextVar("enphase_envoy_warnings_suppressed", default=False)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Return whether to log a record of an updater: while it is run here, only with debug logging of the library."""
    return not _SUPPRESSED.get() or logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


for _module in iter_modules(updaters.__path__, f"{updaters.__name__}."):
    logging.getLogger(_module.name).addFilter(_is_wanted)


#: A JSON web token, or the beginning of one.
_TOKEN: Final = re.compile(r"eyJ[\w-]++(?:\.[\w-]*+)*+")
_REDACTED: Final = "**TOKEN**"
_FORMATTER: Final = logging.Formatter()


def _redact(record: logging.LogRecord) -> bool:
    """Replace tokens in a record."""
    try:
        message = record.getMessage()
    except TypeError, ValueError:
        return True
    if "eyJ" in message:
        record.msg, record.args = _TOKEN.sub(_REDACTED, message), ()
    if record.exc_info and record.exc_info[0]:
        # Errors quote what was received. A formatter uses this text instead of its own.
        text = record.exc_text or _FORMATTER.formatException(record.exc_info)
        record.exc_text = _TOKEN.sub(_REDACTED, text)
    return True


_CLIENT: Final = str(Path(__file__).parent)
_PACKAGE: Final = __name__.rpartition(".client")[0]
# Loggers of the library and of this integration. Filters do not apply to the loggers below one.
for _name in (
    *(module.name for module in walk_packages(pyenphase.__path__, f"{pyenphase.__name__}.")),
    *(pyenphase.__name__, _PACKAGE, *(module.name for module in iter_modules([_CLIENT], f"{_PACKAGE}.client."))),
):
    logging.getLogger(_name).addFilter(_redact)


@contextmanager
def library_warnings_suppressed() -> Iterator[None]:
    """Run updaters without their warnings."""
    token = _SUPPRESSED.set(True)
    try:
        yield
    finally:
        _SUPPRESSED.reset(token)
