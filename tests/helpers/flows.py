"""Filling in the config flow: address, choice of the login, credentials."""

from typing import Any

from homeassistant.config_entries import ConfigFlowResult
from homeassistant.core import HomeAssistant
from homeassistant.data_entry_flow import FlowResultType


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
