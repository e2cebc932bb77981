"""Filling in the config flow: address, choice of the login, credentials. Opening the dialog of a repair issue."""

from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.setup import async_setup_component

from custom_components.enphase_envoy.const import DOMAIN


async def fill_in(hass: HomeAssistant, shown: ConfigFlowResult, **form: Any) -> ConfigFlowResult:
    """Fill in the steps of a flow as far as the values go, and return the result.

    Each field is filled in once; where the login is to be chosen, it is the one that there are values for.
    """
    is_first = True
    while True:
        if shown["type"] is FlowResultType.MENU:
            options = shown["menu_options"]
            wanted = "token" if "token" in form else "account" if "username" in form else "keep"
            if wanted not in options:
                return shown
            values: dict[str, Any] = {"next_step_id": wanted}
        elif shown["type"] is FlowResultType.FORM and (is_first or not shown["errors"]):
            fields = {str(field) for field in shown["data_schema"].schema} if shown["data_schema"] else set()
            values = {key: form.pop(key) for key in fields & form.keys()}
            if not values:
                return shown
        else:
            return shown
        is_first = False
        shown = await hass.config_entries.flow.async_configure(shown["flow_id"], values)


async def repair_dialog(hass: HomeAssistant, hass_client: Any, issue_id: str) -> tuple[Any, dict[str, Any]]:
    """Open the dialog of a repair issue as the frontend does; return the client, and the first step."""
    assert await async_setup_component(hass, "repairs", {})
    client = await hass_client()
    opened = await client.post("/api/repairs/issues/fix", json={"handler": DOMAIN, "issue_id": issue_id})
    return client, await opened.json()
