"""A page with the array card and simulated states, without Home Assistant."""

from collections.abc import Iterator
from contextlib import contextmanager
import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from custom_components.enphase_envoy.frontend import CARD

from .home import LONGEST_WAIT

#: Variables of Home Assistant's default themes.
_THEMES = {
    False: {"primary-text-color": "#212121", "secondary-text-color": "#727272", "card": "#fff", "page": "#fafafa"},
    True: {"primary-text-color": "#e1e1e1", "secondary-text-color": "#9b9b9b", "card": "#1c1c1c", "page": "#111"},
}
_HTML = """<!doctype html><meta charset="utf-8"><style>
  body { margin: 8px; background: %(page)s; font-family: Roboto, sans-serif; --primary-color: #009ac7;
    --primary-text-color: %(primary-text-color)s; --secondary-text-color: %(secondary-text-color)s; }
  enphase-array-card { background: %(card)s; border-radius: 12px; border: 1px solid #8884; height: auto; }
</style><body></body>"""

#: Creates `hass` with panels of which the last ones have a problem, a warning and no data, and the card.
_SETUP = (Path(__file__).parent / "array_page.js").read_text(encoding="utf-8")


@contextmanager
def empty_page(browser: Browser, **options: Any) -> Iterator[Page]:
    """Open an empty page in a session of its own. Errors of its scripts fail the test."""
    errors: list[str] = []
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.set_default_timeout(LONGEST_WAIT)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert not errors


def show_card(
    page: Page,
    count: int = 24,
    *,
    dark: bool = False,
    admin: bool = True,
    language: str = "en",
    config: dict[str, Any] | None = None,
    arrangement: dict[str, Any] | None = None,
    statistics: bool = True,
    history: bool | None = None,
    report: dict[str, Any] | None = None,
) -> None:
    """Show the card with that many panels.

    The recorder has statistics or history or, with `history=False`, neither. With a report of the panels, their sensors
    of the energy are disabled.
    """
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.set_content(_HTML % _THEMES[dark])
    page.add_script_tag(content=CARD.read_text(encoding="utf-8"), type="module")
    page.wait_for_function("!!customElements.get('enphase-array-card')")
    page.evaluate(
        _SETUP,
        {
            "count": count,
            "admin": admin,
            "language": language,
            "config": config or {},
            "arrangement": arrangement,
            "statistics": statistics and history is None,
            "history": history is not False,
            "report": report,
        },
    )
    page.locator(".panel").nth(count - 1).wait_for()
    settle(page)


def settle(page: Page) -> None:
    """Wait until the card has written what is due: values with the next frame, labels when the browser is idle."""
    page.wait_for_function("""async () => {
      // Sizes are observed after the layout of a frame.
      for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
      const card = document.querySelector("enphase-array-card");
      return !card._frame && !card._idle;
    }""")


def stored(page: Page) -> Any:
    """Return the arrangement that was saved last."""
    return json.loads(page.evaluate("JSON.stringify(window.stored ?? null)"))
