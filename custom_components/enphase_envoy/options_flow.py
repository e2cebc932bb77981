"""Options flow: options of the entry, the sources of the Energy dashboard, battery settings, statistics."""

from collections import ChainMap
from typing import Any, override

from homeassistant.components.energy.const import DOMAIN as ENERGY
from homeassistant.config_entries import ConfigEntry, ConfigEntryState, ConfigFlowResult, OptionsFlowWithReload
from homeassistant.const import UnitOfTime
from homeassistant.data_entry_flow import AbortFlow
from homeassistant.helpers.selector import (
    NumberSelector,
    NumberSelectorConfig,
    NumberSelectorMode,
    SelectSelector,
    SelectSelectorConfig,
    SelectSelectorMode,
)
import voluptuous as vol

from .authentication import uses_tokens
from .battery_control import has_account, is_enabled
from .battery_flow import BatteryCloudSteps
from .const import (
    DEFAULT_POLL_INTERVAL,
    LIVE_INTERVALS,
    OPTION_CLOUD_CODE,
    OPTION_CLOUD_SITE,
    OPTION_DISABLE_KEEP_ALIVE,
    OPTION_FIXTURES,
    OPTION_LIVE_POWER,
    OPTION_PIN_CERTIFICATE,
    OPTION_POLL_INTERVAL,
    POLL_INTERVALS,
)
from .descriptions import sources
from .energy.settings_monitor import STORAGE_SETTINGS
from .energy_dashboard import BALANCED, DUPLICATE_SUFFIX, async_add, async_proposals
from .live_flow import async_source_text
from .statistics.recorder import async_recorder
from .statistics_flow import StatisticsSteps


class EnvoyOptionsFlow(BatteryCloudSteps[ConfigFlowResult], StatisticsSteps[ConfigFlowResult], OptionsFlowWithReload):
    """Options flow: options of the entry, the sources of the Energy dashboard, battery settings, statistics."""

    @property
    @override
    def config_entry(self) -> ConfigEntry[Any]:  # type: ignore[override]
        """The entry. Raises AbortFlow if it was removed while the dialog was open."""
        if entry := self.hass.config_entries.async_get_entry(self.handler):
            return entry
        raise AbortFlow("removed")

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the menu if the Energy dashboard can be filled, else the options."""
        steps = ["options"]
        if self._is_loaded and ENERGY in self.hass.config.components:
            steps.insert(0, "energy_dashboard")
        if is_enabled(self.config_entry) or self._may_use_cloud:
            steps.append("battery_cloud")
        if self._is_loaded and async_recorder(self.hass):
            steps.append("repair_statistics")
        return (
            self.async_show_menu(step_id="init", menu_options=steps) if steps[1:] else await self.async_step_options()
        )

    @property
    def _may_use_cloud(self) -> bool:
        """Whether the system has IQ batteries, and the password of the account is known."""
        if not (self._is_loaded and has_account(self.config_entry)):
            return False
        snapshot = self.config_entry.runtime_data.data
        return sources.STORAGE_SETTINGS.find(snapshot, STORAGE_SETTINGS) is not None

    async def async_step_battery_cloud(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Let the user choose whether battery settings are changed through the cloud."""
        errors: dict[str, str] = {}
        if user_input is not None:
            if not user_input["enabled"]:
                kept = {**self.config_entry.options}
                kept.pop(OPTION_CLOUD_SITE, None)
                kept.pop(OPTION_CLOUD_CODE, None)
                return self.async_create_entry(data=kept)
            result, errors = await self._async_log_in()
            if result:
                return result
        schema = vol.Schema({vol.Required("enabled", default=is_enabled(self.config_entry)): bool})
        return self.async_show_form(step_id="battery_cloud", data_schema=schema, errors=errors)

    @property
    @override
    def _cloud_entry(self) -> ConfigEntry[Any]:
        return self.config_entry

    @override
    def _use_cloud(self, options: dict[str, Any]) -> ConfigFlowResult:
        return self.async_create_entry(data=options)

    @property
    def _is_loaded(self) -> bool:
        return self.config_entry.state is ConfigEntryState.LOADED

    @property
    def _may_pin(self) -> bool:
        entry = self.config_entry
        return uses_tokens(entry) or bool(entry.options.get(OPTION_PIN_CERTIFICATE))

    async def async_step_options(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the form and save the options."""
        if user_input is not None:
            for option in (OPTION_POLL_INTERVAL, OPTION_LIVE_POWER):
                user_input[option] = int(user_input[option])
            return self.async_create_entry(data={**self.config_entry.options, **user_input})
        low, high = POLL_INTERVALS
        seconds = NumberSelectorConfig(
            min=low, max=high, step=5, unit_of_measurement=UnitOfTime.SECONDS, mode=NumberSelectorMode.SLIDER
        )
        choices = SelectSelectorConfig(
            options=[str(interval) for interval in LIVE_INTERVALS],
            translation_key=OPTION_LIVE_POWER,
            mode=SelectSelectorMode.DROPDOWN,
        )
        schema = vol.Schema(
            {
                vol.Required(OPTION_POLL_INTERVAL, default=DEFAULT_POLL_INTERVAL): NumberSelector(seconds),
                vol.Required(OPTION_LIVE_POWER, default="0"): SelectSelector(choices),
                vol.Required(OPTION_DISABLE_KEEP_ALIVE, default=False): bool,
                # Firmware before 7 has no certificate.
                **({vol.Required(OPTION_PIN_CERTIFICATE, default=False): bool} if self._may_pin else {}),
                vol.Required(OPTION_FIXTURES, default=False): bool,
            }
        )
        current = {
            **self.config_entry.options,
            OPTION_LIVE_POWER: str(self.config_entry.options.get(OPTION_LIVE_POWER, 0)),
        }
        source = await async_source_text(self.config_entry.runtime_data.gateway.live) if self._is_loaded else "-"
        return self.async_show_form(
            step_id="options",
            data_schema=self.add_suggested_values_to_schema(schema, current),  # type: ignore[arg-type]
            description_placeholders={"live_source": source},
        )

    async def async_step_energy_dashboard(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Show the sources that can be added to the Energy dashboard, and add the selected ones."""
        if not self._is_loaded:
            return self.async_abort(reason="not_read")
        proposals = await async_proposals(self.hass, self.config_entry)
        missing = [proposal for proposal in proposals if proposal.source]
        if not missing:
            return self.async_abort(reason="all_there" if proposals else "nothing_to_add")
        errors: dict[str, str] = {}
        if user_input is not None:
            # While the form was shown, a field may have got the suffix of a source that could count twice.
            kinds = {name.removesuffix(DUPLICATE_SUFFIX) for name, is_selected in user_input.items() if is_selected}
            if {"grid", BALANCED} <= kinds:
                errors["base"] = "grid_twice"
            elif selected := [proposal for proposal in missing if proposal.kind in kinds]:
                await async_add(self.hass, selected)
                return self.async_abort(reason="added")
            else:
                errors["base"] = "nothing_chosen"
        schema = vol.Schema({vol.Required(proposal.name, default=proposal.is_selected): bool for proposal in missing})
        texts = [proposal.texts for proposal in missing]
        return self.async_show_form(
            step_id="energy_dashboard",
            data_schema=schema,
            errors=errors,
            description_placeholders=dict(ChainMap(*texts)),
        )
