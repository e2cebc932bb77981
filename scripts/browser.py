"""Home Assistant's frontend in a headless Chromium, logged in."""

from collections.abc import Generator
from contextlib import contextmanager
import json
import shutil

from playwright.sync_api import Browser, Page, sync_playwright

from .instance import Json

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str | None:
    """Return the path of the system's Chromium, None without one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def running_browser() -> Generator[Browser]:
    """Run Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=[*FLAGS])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def logged_in(
    browser: Browser,
    tokens: Json,
    *,
    width: int = 1280,
    height: int = 900,
    language: str = "en",
    time_zone: str | None = None,
) -> Generator[Page]:
    """Open a page with tokens and language in the frontend's local storage, in a session of its own.

    A page shows the time of `time_zone`, that of the machine without one.
    """
    with browser.new_context(
        viewport={"width": width, "height": height}, base_url=tokens["hassUrl"], locale="en-US", timezone_id=time_zone
    ) as context:
        for key, value in (("hassTokens", tokens), ("selectedLanguage", language)):
            # The frontend stores JSON as a string.
            context.add_init_script(f"localStorage.setItem('{key}', {json.dumps(json.dumps(value))})")
        page = context.new_page()
        page.set_default_timeout(60_000)
        yield page
