"""Repair flows: the dialogs that fix the cause of an issue."""

from collections.abc import Mapping
from typing import Any, override

from homeassistant.components.repairs import RepairsFlow, RepairsFlowResult
from homeassistant.config_entries import ConfigEntryState
from homeassistant.const import CONF_HOST, CONF_TOKEN
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import AbortFlow
from homeassistant.helpers import issue_registry as ir
import voluptuous as vol

from . import address, issues, session
from .authentication import uses_tokens
from .battery_control import has_account
from .battery_flow import BatteryCloudSteps
from .client.errors import GatewayError, Reason
from .config_flow import (
    ENTREZ,
    SECRET,
    async_certificate,
    credentials_of,
    secret_key,
    validate,
)
from .const import CONF_FINGERPRINT, CONF_USE_MANUAL_TOKEN
from .coordinator import EnvoyConfigEntry
from .statistics.recorder import Correction, async_recorder, restore_corrections


async def async_create_fix_flow(
    hass: HomeAssistant, issue_id: str, data: Mapping[str, str | int | float | None] | None
) -> RepairsFlow:
    """Return the flow for an issue."""
    data = data or {}
    entry = hass.config_entries.async_get_known_entry(str(data["entry_id"]))
    if issue_id.startswith(issues.COUNTER_STEP):
        return CounterStep(entry, restore_corrections([data])[0])
    if issue_id.startswith((issues.CLOUD_OFFER, issues.CLOUD_CODE)):
        return UseCloud(entry)
    if issue_id.startswith(issues.ADDRESS_CHANGED):
        return NewAddress(entry, str(data["host"]))
    return NewToken(entry) if issue_id.startswith(issues.TOKEN_ENDS) else NewCertificate(entry)


class _EntryRepairFlow(RepairsFlow):
    """A flow about one config entry."""

    def __init__(self, entry: EnvoyConfigEntry) -> None:
        """Store the entry."""
        self._entry = entry

    @property
    def _is_removed(self) -> bool:
        """Whether the entry was removed while the dialog was open."""
        return self.hass.config_entries.async_get_entry(self._entry.entry_id) is None


class NewToken(_EntryRepairFlow):
    """Replace a pasted token before it expires."""

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Start with the form."""
        return await self.async_step_token()

    async def async_step_token(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Show the form and validate the token on the gateway."""
        errors: dict[str, str] = {}
        if self._is_removed:
            return self.async_abort(reason="removed")
        if user_input is not None:
            credentials = credentials_of({CONF_TOKEN: user_input[CONF_TOKEN]})
            found, reason = await validate(self.hass, self._entry.data[CONF_HOST], credentials, self._entry)
            if found.serial and found.serial != self._entry.unique_id:
                reason = Reason.OTHER_GATEWAY
            if reason:
                errors = {CONF_TOKEN if reason.startswith(CONF_TOKEN) else "base": reason}
            if self._is_removed:
                return self.async_abort(reason="removed")
            if found.data and not errors:
                await self._use(found.data[CONF_TOKEN])
                return self.async_create_entry(data={})
        return self.async_show_form(
            step_id="token",
            data_schema=vol.Schema({vol.Required(secret_key(CONF_TOKEN)): SECRET}),  # type: ignore[arg-type]
            errors=errors,
            description_placeholders={
                "name": self._entry.title,
                "host": self._entry.data[CONF_HOST],
                "serial": self._entry.unique_id or "-",
                "entrez": ENTREZ,
            },
        )

    async def _use(self, token: str) -> None:
        """Store the token; log in with it, or reload the entry if the gateway is not being polled."""
        data = {**self._entry.data, CONF_TOKEN: token, CONF_USE_MANUAL_TOKEN: True}
        self.hass.config_entries.async_update_entry(self._entry, data=data)
        if not (coordinator := getattr(self._entry, "runtime_data", None)) or not coordinator.last_update_success:
            self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
            return
        try:
            await coordinator.authentication.async_log_in()
        except GatewayError:
            # The entry may have been unloaded or removed meanwhile.
            if not self._is_removed:
                self.hass.config_entries.async_schedule_reload(self._entry.entry_id)


class _TrustFlow(_EntryRepairFlow):
    """A flow that shows the certificate of a host, and trusts it if the user confirms."""

    _step: str
    #: Whether a host without a certificate, with firmware before 7, is refused also where the entry has no token.
    _certificate_only = False
    #: The certificate that is shown.
    _shown: str | None = None

    @property
    def _host(self) -> str:
        """The host to trust."""
        raise NotImplementedError

    def _trust(self, fingerprint: str) -> None:
        """Store what the user confirmed."""
        raise NotImplementedError

    async def _async_show(self, user_input: dict[str, Any] | None) -> RepairsFlowResult:
        """Show host and certificate for confirmation. No credentials are sent to read them."""
        host, tokens_only = self._host, self._certificate_only or uses_tokens(self._entry)
        try:
            current, gateway = await async_certificate(self.hass, host, self._entry.unique_id, tokens_only=tokens_only)
        except GatewayError as err:
            return self.async_abort(reason=err.reason, description_placeholders={"host": host})
        if self._is_removed:
            return self.async_abort(reason="removed")
        # The certificate may have changed again since the form was shown: only the confirmed one is stored.
        if user_input is not None and self._shown == current:
            self._trust(current)
            self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
            return self.async_create_entry(data={})
        self._shown = current
        return self.async_show_form(
            step_id=self._step,
            description_placeholders={
                "name": self._entry.title,
                "host": host,
                "old_host": self._entry.data[CONF_HOST],
                "old": self._entry.data.get(CONF_FINGERPRINT, "-"),
                "new": current,
                "serial": gateway.serial,
                "firmware": gateway.firmware or "-",
            },
        )


class NewCertificate(_TrustFlow):
    """Trust another certificate of the gateway at its address."""

    _step = "trust"
    _certificate_only = True

    @property
    @override
    def _host(self) -> str:
        host: str = self._entry.data[CONF_HOST]
        return host

    @override
    def _trust(self, fingerprint: str) -> None:
        session.store_fingerprint(self.hass, self._entry, fingerprint)

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Start with the form."""
        return await self.async_step_trust()

    async def async_step_trust(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Show the form."""
        return await self._async_show(user_input)


class NewAddress(_TrustFlow):
    """Use a host that announces the serial number of the gateway, and trust its certificate."""

    _step = "move"

    def __init__(self, entry: EnvoyConfigEntry, host: str) -> None:
        """Store the entry and the host."""
        super().__init__(entry)
        self._announced = host

    @property
    @override
    def _host(self) -> str:
        return self._announced

    @override
    def _trust(self, fingerprint: str) -> None:
        trusted = {CONF_FINGERPRINT: fingerprint} if fingerprint != "-" else {}
        address.async_use(self.hass, self._entry, self._announced, **trusted)

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Start with the form."""
        return await self.async_step_move()

    async def async_step_move(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Show the form."""
        return await self._async_show(user_input)


class UseCloud(BatteryCloudSteps[RepairsFlowResult], _EntryRepairFlow):
    """Log in to the cloud, to change battery settings there."""

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Start with the form."""
        return await self.async_step_battery_cloud()

    async def async_step_battery_cloud(self, user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Show what the user confirms, and log in."""
        entry, errors = self._cloud_entry, dict[str, str]()
        if user_input is not None:
            result, errors = await self._async_log_in()
            if result:
                return result
        return self.async_show_form(
            step_id="battery_cloud",
            data_schema=vol.Schema({}),
            errors=errors,
            description_placeholders={"name": entry.title},
        )

    @property
    @override
    def _cloud_entry(self) -> EnvoyConfigEntry:
        if self._is_removed or not has_account(self._entry):
            raise AbortFlow("removed")
        return self._entry

    @override
    def _use_cloud(self, options: dict[str, Any]) -> RepairsFlowResult:
        self.hass.config_entries.async_update_entry(self._entry, options=options)
        self.hass.config_entries.async_schedule_reload(self._entry.entry_id)
        return self.async_create_entry(data={})


class CounterStep(_EntryRepairFlow):
    """Show a permanent step of a counter, and revert its correction if the user wants."""

    def __init__(self, entry: EnvoyConfigEntry, correction: Correction) -> None:
        """Store the entry and the correction."""
        super().__init__(entry)
        self._correction = correction

    async def async_step_init(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Show the choice."""
        issue = ir.async_get(self.hass).async_get_issue(self.handler, self.issue_id)
        return self.async_show_menu(
            menu_options=["keep", "book"],
            description_placeholders=issue.translation_placeholders if issue else None,
        )

    async def async_step_keep(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Keep the correction."""
        return self.async_create_entry(data={})

    async def async_step_book(self, _user_input: dict[str, Any] | None = None) -> RepairsFlowResult:
        """Revert the correction, so that the step counts as energy."""
        if async_recorder(self.hass) is None:
            return self.async_abort(reason="no_recorder")
        if self._is_removed or not ir.async_get(self.hass).async_get_issue(self.handler, self.issue_id):
            # Another dialog may have reverted it already.
            return self.async_abort(reason="removed")
        if self._entry.state is not ConfigEntryState.LOADED:
            return self.async_abort(reason="not_loaded", description_placeholders={"name": self._entry.title})
        self._entry.runtime_data.energy_manager.async_revert(self.issue_id, self._correction)
        return self.async_create_entry(data={})
