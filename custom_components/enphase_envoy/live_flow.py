"""Live power in dialogs: the step that offers it at the end of a new set-up, and the source that is found."""

from collections.abc import Callable
from typing import Any, Final

import voluptuous as vol

from .client.live import LivePower
from .const import OPTION_LIVE_POWER
from .model.text import escape_markdown

#: Seconds between readings of live power where it is accepted in a new set-up.
RECOMMENDED_INTERVAL: Final = 5


async def async_source_text(live: LivePower) -> str:
    """Return the path of the source, or why there is none: a dash, and the failure of each source."""
    source = live.source or await live.find()
    return source or f"- ({'; '.join(f'{path}: {escape_markdown(reason)}' for path, reason in live.failures.items())})"


class LivePowerSteps[R]:
    """Offers live power, selected, before the entry of a new set-up is created."""

    async_show_form: Callable[..., R]
    async_create_entry: Callable[..., R]
    #: Title and data of the new entry, and its source of live power.
    _new_entry: dict[str, Any]
    _live_source: str

    def _offer_live_power(self, source: str | None, **new_entry: Any) -> R:  # noqa: ANN401
        """Show the step where there is a source, and create the entry at once where there is none."""
        if source is None:
            return self.async_create_entry(**new_entry)
        self._new_entry, self._live_source = new_entry, source
        return self._live_power_form()

    def _live_power_form(self) -> R:
        return self.async_show_form(
            step_id="live_power",
            data_schema=vol.Schema({vol.Required(OPTION_LIVE_POWER, default=True): bool}),
            description_placeholders={"source": self._live_source},
        )

    async def async_step_live_power(self, user_input: dict[str, Any] | None = None) -> R:
        """Create the entry with the choice of the user; a dialog that is opened again shows the form again."""
        if user_input is None:
            return self._live_power_form()
        options = {OPTION_LIVE_POWER: RECOMMENDED_INTERVAL} if user_input[OPTION_LIVE_POWER] else {}
        return self.async_create_entry(**self._new_entry, options=options)
