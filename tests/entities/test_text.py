"""Names of loads are shown as text: as the user wrote them, but not as a document may contain them."""

from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, issue_registry as ir
import pytest

from custom_components.enphase_envoy import issues
from custom_components.enphase_envoy.const import DOMAIN
from custom_components.enphase_envoy.energy.settings_monitor import SettingOutcome, SettingResult
from tests.helpers.integration import SetUp
from tests.simulator import Replace

SETTINGS = "/ivp/ss/dry_contact_settings"


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("Wärmepumpe 🏊\u200d♂️ (EG)", "Wärmepumpe 🏊\u200d♂️ (EG)"),
        ("a" * 500, "a" * 63 + "…"),
        ("x\u202egpj.exe", "xgpj.exe"),
        ("  Pool\n", "Pool"),
        ("\u2066", "Relay NC1"),
    ],
)
async def test_the_name_of_a_load(hass: HomeAssistant, set_up: SetUp, reported: str, name: str) -> None:
    house = await set_up("full_battery")
    house.gateway.fault(SETTINGS, Replace("dry_contacts.0.load_name", reported))
    await house.poll_all()
    device = dr.async_get(hass).async_get_device_by_identifier((DOMAIN, "NC1"), house.entry.entry_id)
    assert device
    assert device.name == name
    timed = house.coordinator.data.objects["dry_contact_settings", "NC1"]
    await house.poll_all()
    assert house.coordinator.data.objects["dry_contact_settings", "NC1"].value is timed.value, "the same object"


async def test_a_name_in_an_issue_is_no_markdown(hass: HomeAssistant, set_up: SetUp) -> None:
    house = await set_up("full_battery")
    name = "[Fix it](https://x.example)"
    hass.states.async_set("number.pool", "1", {"friendly_name": name})
    outcome = SettingResult("mode", "number.pool", SettingOutcome.IGNORED, "<b>", "![x](http://x.example)")
    issues.async_report_setting(hass, house.entry, "8.2.4225", outcome)
    (issue,) = ir.async_get(hass).issues.values()
    texts = issue.translation_placeholders or {}
    assert texts["setting_name"] == name, "a title is no Markdown"
    assert texts["setting"] == r"\[Fix it\](https\://x.example)"
    assert texts["wanted"] == r"\<b\>"
    assert texts["actual"] == r"\!\[x\](http\://x.example)"
