"""Fixtures: Home Assistant for tests in a browser, and pages of it."""

from collections.abc import Generator, Iterator
import re

import pytest
from pytest_socket import enable_socket

from scripts.instance import ROOT

pytest.importorskip("playwright", reason="Playwright is missing: run scripts/setup")

from playwright.sync_api import Browser, Page, expect

from scripts.browser import logged_in, running_browser

from .home import LONGEST_WAIT, Home, running_home

expect.set_options(timeout=LONGEST_WAIT)

#: Pictures of the pages of failed tests.
FAILURES = ROOT / ".develop" / "failures"


@pytest.fixture(autouse=True)
def _home_assistant(socket_enabled: None) -> None:
    """Replace a fixture that starts Home Assistant in this process."""


@pytest.fixture(autouse=True)
def configure_event_loop() -> None:
    """Replace a fixture of the test tools: the browser's event loop runs between tests too, so there is no other."""


enable_event_loop_debug = verify_cleanup = configure_event_loop


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Run Chromium for all tests: each has a session of its own."""
    # The test tools guard sockets before the first fixture of a test.
    enable_socket()
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Run Home Assistant and a simulated system for all tests that share them."""
    enable_socket()
    with running_home(tmp_path_factory.mktemp("home")) as home:
        yield home


@pytest.fixture
def home(shared_home: Home, request: pytest.FixtureRequest) -> Iterator[Home]:
    """Return the shared Home Assistant. The test logs no warning or error but those of its marker `logs`."""
    before = len(shared_home.problems())
    yield shared_home
    expected = [pattern for marker in request.node.iter_markers("logs") for pattern in marker.args]
    found = shared_home.problems()[before:]
    unexpected = [line for line in found if not any(re.search(pattern, line) for pattern in expected)]
    assert not unexpected, "\n".join(unexpected)


@pytest.fixture
def page(browser: Browser, home: Home) -> Iterator[Page]:
    """Return an empty page with a login."""
    with logged_in(browser, home.tokens) as page:
        page.set_default_timeout(LONGEST_WAIT)
        yield page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save a picture of the page of a failed test."""
    report = yield
    page: Page | None = getattr(item, "funcargs", {}).get("page")
    if page is not None and report.when == "call" and report.failed:
        FAILURES.mkdir(parents=True, exist_ok=True)
        file = FAILURES / f"{item.name}.png"
        page.screenshot(path=file)
        report.sections.append(("Picture of the page", f"{file} (at {page.url})"))
    return report
