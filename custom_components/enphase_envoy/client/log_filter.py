"""Keep what the library's updaters warn of at every poll to who debugs it: one line of ours says that it begins."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
import logging
from pkgutil import iter_modules
from typing import Final

from pyenphase import updaters

#: Whether what runs now is an updater that we run.
_OURS: Final = ContextVar("enphase_envoy_hush", default=False)


def _is_wanted(record: logging.LogRecord) -> bool:
    """Return whether a record of an updater is for anybody: not while we run it, unless somebody debugs the library."""
    return not _OURS.get() or logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


for _module in iter_modules(updaters.__path__, f"{updaters.__name__}."):
    logging.getLogger(_module.name).addFilter(_is_wanted)


@contextmanager
def library_warnings_suppressed() -> Iterator[None]:
    """Run updaters without their warnings."""
    token = _OURS.set(True)
    try:
        yield
    finally:
        _OURS.reset(token)
