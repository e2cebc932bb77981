"""Step of the options flow that shows implausible changes of recorded statistics, and corrects the selected ones."""

from collections.abc import Callable
from typing import Any

from homeassistant.config_entries import ConfigEntryState
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers.selector import SelectOptionDict, SelectSelector, SelectSelectorConfig, SelectSelectorMode
from homeassistant.util import dt as dt_util
import voluptuous as vol

from .coordinator import EnvoyConfigEntry
from .model.text import grouped
from .services import async_counters, async_repair
from .statistics.recorder import async_recorder
from .statistics.spikes import Spike

JUMPS = "jumps"


class StatisticsSteps[R]:
    """Shows the spikes of recorded statistics, and corrects the selected ones."""

    hass: HomeAssistant
    async_show_form: Callable[..., R]
    async_abort: Callable[..., R]
    config_entry: EnvoyConfigEntry

    async def async_step_repair_statistics(self, user_input: dict[str, Any] | None = None) -> R:
        """Show what was found, all of it selected; correct what is selected and still found."""
        entry = self.config_entry
        if entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="not_read")
        if (recorder := async_recorder(self.hass)) is None:
            return self.async_abort(reason="no_recorder")
        selected = None if user_input is None else set(user_input[JUMPS])
        try:
            found = await async_repair(
                self.hass,
                entry,
                recorder,
                async_counters(self.hass, entry),
                lambda entity_id, spike: selected is not None and _key(entity_id, spike) in selected,
            )
        except HomeAssistantError as err:
            is_unloaded = err.translation_key == "unloaded"
            return self.async_abort(reason="not_read" if is_unloaded else "statistics_unreadable")
        jumps = [(entity_id, spike) for entity_id, spikes in found.items() for spike in spikes]
        if not jumps:
            return self.async_abort(reason="no_jumps")
        if selected is not None:
            count = sum(_key(*jump) in selected for jump in jumps)
            return self.async_abort(reason="repaired", description_placeholders={"count": str(count)})
        options = [SelectOptionDict(value=_key(*jump), label=self._label(*jump)) for jump in jumps]
        config = SelectSelectorConfig(options=options, multiple=True, mode=SelectSelectorMode.LIST)
        keys = [option["value"] for option in options]
        return self.async_show_form(
            step_id="repair_statistics",
            data_schema=vol.Schema({vol.Required(JUMPS, default=keys): SelectSelector(config)}),
            description_placeholders={"count": str(len(jumps))},
        )

    def _label(self, entity_id: str, spike: Spike) -> str:
        """Return time, sensor and both values, in a form that is the same in all languages."""
        state = self.hass.states.get(entity_id)
        when = dt_util.as_local(dt_util.utc_from_timestamp(spike.at))
        energies = (spike.recorded, spike.recorded + spike.correction)
        before, after = (f"{grouped(energy / 1000, 1)} kWh" for energy in energies)
        return f"{when:%Y-%m-%d %H:%M} · {state.name if state else entity_id}: {before} → {after}"


def _key(entity_id: str, spike: Spike) -> str:
    return f"{entity_id} {spike.at:.0f}"
