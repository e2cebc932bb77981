"""Steps of dialogs that let the user change battery settings through the cloud: login, one-time code, site."""

from collections.abc import Callable
import time
from typing import Any

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import HomeAssistant
from homeassistant.helpers.selector import SelectOptionDict, SelectSelector, SelectSelectorConfig, TextSelector
import voluptuous as vol

from .battery_control import async_client
from .cloud.client import CloudClient
from .cloud.errors import CloudError, CloudReason
from .const import OPTION_CLOUD_CODE, OPTION_CLOUD_SITE

CODE = "code"
SITE = "site"


class BatteryCloudSteps[R]:
    """Logs in, requests a one-time code where the account requires one, and for the site where there are several.

    The account's password is the one of the entry. A flow that uses this implements `_cloud_entry` and `_use_cloud`.
    """

    hass: HomeAssistant
    async_show_form: Callable[..., R]
    _sites: dict[str, str] | None = None

    @property
    def _cloud_entry(self) -> ConfigEntry[Any]:
        """The entry with the account. Raises AbortFlow if it was removed while the dialog was open."""
        raise NotImplementedError

    def _use_cloud(self, options: dict[str, Any]) -> R:
        """Save the options, and end the flow."""
        raise NotImplementedError

    @property
    def _client(self) -> CloudClient:
        return async_client(self.hass, self._cloud_entry, time.monotonic)

    async def _async_log_in(self) -> tuple[R | None, dict[str, str]]:
        """Log in; return the next step, or the errors of the form that is shown."""
        try:
            await self._client.log_in()
            return await self._async_choose_site(), {}
        except CloudError as err:
            if err.reason is CloudReason.CODE_REQUIRED:
                return await self.async_step_cloud_code(), {}
            return None, {"base": err.reason}

    async def async_step_cloud_code(self, user_input: dict[str, Any] | None = None) -> R:
        """Log in with the code that the user received."""
        errors = {}
        if user_input is not None:
            try:
                await self._client.enter_code(user_input[CODE])
                return await self._async_choose_site()
            except CloudError as err:
                errors = {(CODE if err.reason is CloudReason.CODE_INVALID else "base"): str(err.reason)}
                if err.reason is CloudReason.CODE_REQUIRED:
                    # The session ended at once.
                    result, errors = await self._async_log_in()
                    if result:
                        return result
        schema = vol.Schema({vol.Required(CODE): TextSelector()})
        return self.async_show_form(step_id="cloud_code", data_schema=schema, errors=errors)

    async def _async_choose_site(self) -> R:
        self._sites = await self._client.sites()
        if len(self._sites) == 1:
            return self._finish(*self._sites)
        return await self.async_step_cloud_site()

    async def async_step_cloud_site(self, user_input: dict[str, Any] | None = None) -> R:
        """Let the user select the site of the gateway."""
        if user_input is not None:
            return self._finish(user_input[SITE])
        options = [SelectOptionDict(value=site, label=name) for site, name in (self._sites or {}).items()]
        schema = vol.Schema({vol.Required(SITE): SelectSelector(SelectSelectorConfig(options=options))})
        return self.async_show_form(step_id="cloud_site", data_schema=schema)

    def _finish(self, site: str) -> R:
        options = {OPTION_CLOUD_SITE: site, OPTION_CLOUD_CODE: self._client.needs_code}
        return self._use_cloud({**self._cloud_entry.options, **options})
