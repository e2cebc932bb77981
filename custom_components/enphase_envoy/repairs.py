"""Dialogs that put right what a message is about."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from homeassistant.components.repairs import RepairsFlow, RepairsFlowResult
from homeassistant.const import CONF_HOST, CONF_TOKEN
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.helpers.aiohttp_client import async_get_clientsession
import voluptuous as vol

from . import issues, session
from .client.errors import GatewayError
from .client.gateway import Gateway
from .config_flow import SECRET, validate
from .const import CONF_FINGERPRINT, CONF_USE_MANUAL_TOKEN
from .coordinator import EnvoyConfigEntry
from .statistics import recorder as recorded


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: Mapping[str, str | int | float | None] | None
) -> RepairsFlow:
    """Return the dialog for a message."""
    data = data or {}
    entry = hass.config_entries.async_get_known_entry(str(data["entry_id"]))
    if issue_id.startswith(issues.COUNTER_STEP):
        return CounterStep(entry, recorded.restore_corrections([data])[0])
    return NewToken(entry) if issue_id.startswith(issues.TOKEN_ENDS) else NewCertificate(entry)


class _Repair(RepairsFlow):
    """A dialog about one gateway."""

    def __init__(self, entry: EnvoyConfigEntry) -> None:
        """Remember which."""
        self._entry = entry


class NewToken(_Repair):
    """Take a new token, right there, before the old one ends."""

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Begin."""
        return await self.async_step_token()

    async def async_step_token(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Ask for the token and try it on the gateway."""
        errors: dict[str, str] = {}
        if user_input is not None:
            form = {CONF_HOST: self._entry.data[CONF_HOST], CONF_TOKEN: user_input[CONF_TOKEN]}
            found, errors = await validate(self.hass, form, self._entry)
            if found.serial and found.serial != self._entry.unique_id:
                errors = {"base": "other_gateway"}
            if found.data and not errors:
                await self._use(found.data[CONF_TOKEN])
                return self.async_create_entry(data={})
        return self.async_show_form(
            step_id="token",
            data_schema=vol.Schema({vol.Required(CONF_TOKEN): SECRET}),  # type: ignore[arg-type]
            errors={("base" if field == CONF_HOST else field): error for field, error in errors.items()},
            description_placeholders={"name": self._entry.title, "host": self._entry.data[CONF_HOST]},
        )

    async def _use(self, token: str) -> None:
        """Go on with another token, without a reload where the gateway is being read."""
        data = {**self._entry.data, CONF_TOKEN: token, CONF_USE_MANUAL_TOKEN: True}
        self.hass.config_entries.async_update_entry(self._entry, data=data)
        if not (coordinator := getattr(self._entry, "runtime_data", None)) or not coordinator.last_update_success:
            self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
            return
        await coordinator.async_log_in()


class NewCertificate(_Repair):
    """Show which certificate the gateway has now, and trust it if the owner does."""

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Begin."""
        return await self.async_step_trust()

    async def async_step_trust(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Ask whether to trust what is there now; no secret is sent to find out."""
        host = self._entry.data[CONF_HOST]
        gateway = Gateway(host, async_get_clientsession(self.hass, verify_ssl=False))
        try:
            seen = await session.async_fingerprint(self.hass, host)
            await gateway.identify()
        except GatewayError as err:
            return self.async_abort(reason=err.reason, description_placeholders={"host": host})
        if user_input is not None and user_input["fingerprint"] == seen:
            session.store_fingerprint(self.hass, self._entry, seen)
            self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
            return self.async_create_entry(data={})
        return self.async_show_form(
            step_id="trust",
            # Whoever answers when the form is sent must be whom it showed.
            data_schema=vol.Schema({vol.Required("fingerprint", default=seen): vol.In([seen])}),  # type: ignore[arg-type]
            description_placeholders={
                "name": self._entry.title,
                "host": host,
                "old": self._entry.data.get(CONF_FINGERPRINT, "-"),
                "new": seen,
                "serial": gateway.serial,
                "firmware": str(gateway.firmware),
            },
        )


class CounterStep(_Repair):
    """Show what became of a counter that has another value for good, and undo its correction if the owner wants."""

    def __init__(self, entry: EnvoyConfigEntry, correction: recorded.Correction) -> None:
        """Remember what was corrected."""
        super().__init__(entry)
        self._correction = correction

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Ask whether it was right."""
        issue = ir.async_get(self.hass).async_get_issue(self.handler, self.issue_id)
        return self.async_show_menu(
            menu_options=["keep", "book"],
            description_placeholders=issue.translation_placeholders if issue else None,
        )

    async def async_step_keep(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Leave it corrected."""
        return self.async_create_entry(data={})

    async def async_step_book(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Take the correction back: the jump was energy."""
        if (recorder := recorded.async_recorder(self.hass)) is None:
            return self.async_abort(reason="no_recorder")
        undo = replace(self._correction, watt_hours=-self._correction.watt_hours)
        recorded.async_correct(recorder, undo)
        return self.async_create_entry(data={})
