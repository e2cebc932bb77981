"""Hardware that comes, goes, and is deleted; what the registry of devices knows."""

from homeassistant.components import websocket_api  # noqa: F401  (the way the owner deletes a device)
from homeassistant.const import STATE_UNAVAILABLE
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
import pytest

from custom_components.enphase_envoy import async_remove_config_entry_device
from custom_components.enphase_envoy.const import DOMAIN
from tests.helpers.integration import Installation, SetUp
from tests.simulator import Missing, Replace
from tests.simulator.hardware import Battery


def device(hass: HomeAssistant, installation: Installation, identifier: str) -> dr.DeviceEntry | None:
    """Return a device of ours."""
    return dr.async_get(hass).async_get_device_by_identifier((DOMAIN, identifier), installation.entry.entry_id)


async def deletable(hass: HomeAssistant, installation: Installation, identifier: str) -> bool:
    """Return whether the owner may delete a device."""
    found = device(hass, installation, identifier)
    assert found
    return await async_remove_config_entry_device(hass, installation.entry, found)


async def test_an_inverter_and_a_battery_that_appear_are_there_at_the_next_poll(
    hass: HomeAssistant, set_up: SetUp
) -> None:
    installation = await set_up("full_battery")
    inverter = installation.gateway.house.add_inverter()
    installation.gateway.house.add_battery(Battery("492399999999"))
    await installation.pass_time(60)
    assert device(hass, installation, inverter.serial)
    assert hass.states.get(f"sensor.inverter_{inverter.serial}")
    assert device(hass, installation, "492399999999")
    state = hass.states.get("sensor.encharge_492399999999_battery")
    assert state
    assert state.state not in (STATE_UNAVAILABLE, "unknown")


async def test_what_is_missing_from_one_answer_is_not_gone(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("total_consumption")
    serial = next(iter(installation.coordinator.data.members("inverters")))
    with installation.gateway.fault("/api/v1/production/inverters", Missing("0"), count=1):
        for _ in range(12):
            await installation.pass_time(60)
            assert installation.states()[f"sensor.inverter_{serial}"] != STATE_UNAVAILABLE
        assert not await deletable(hass, installation, serial)


async def test_an_inverter_that_is_gone_can_be_deleted_and_may_come_back(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("total_consumption")
    serial = next(iter(installation.coordinator.data.members("inverters")))
    assert not await deletable(hass, installation, serial)
    with installation.gateway.fault("/api/v1/production/inverters", Missing("0")):
        for _ in range(5):
            await installation.pass_time(240)
        assert installation.states()[f"sensor.inverter_{serial}"] == STATE_UNAVAILABLE
        assert await deletable(hass, installation, serial)
    # It comes back before anybody deleted it: the same entities go on.
    await installation.poll_all()
    assert installation.states()[f"sensor.inverter_{serial}"] != STATE_UNAVAILABLE
    with installation.gateway.fault("/api/v1/production/inverters", Missing("0")):
        for _ in range(5):
            await installation.pass_time(240)
        found = device(hass, installation, serial)
        assert found
        dr.async_get(hass).async_remove_device(found.id)
        await hass.async_block_till_done()
        assert f"sensor.inverter_{serial}" not in installation.states()
    await installation.poll_all()
    assert installation.states()[f"sensor.inverter_{serial}"] != STATE_UNAVAILABLE


@pytest.mark.parametrize(
    ("profile", "identifiers"),
    [
        ("full_battery", ["202328041177", "202226050419", "NC1", "NO2", "492309017302", "202328041177_generator"]),
        ("collar", ["482520034417", "482523047190"]),
        ("ac_batteries", ["122116046628_acb", "121917031187"]),
    ],
)
async def test_what_is_still_reported_can_not_be_deleted(
    hass: HomeAssistant, set_up: SetUp, profile: str, identifiers: list[str]
) -> None:
    installation = await set_up(profile)
    assert [identifier for identifier in identifiers if await deletable(hass, installation, identifier)] == []


async def test_a_relay_is_called_after_its_load(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    names = {}
    for identifier in ("NC1", "NO2"):
        found = device(hass, installation, identifier)
        assert found
        names[identifier] = found.name
    assert names == {"NC1": "Pool pump", "NO2": "Relay NO2"}
    installation.gateway.house.relay("NO2").load_name = "Sauna"
    await installation.poll_all()
    found = device(hass, installation, "NO2")
    assert found
    assert found.name == "Sauna"
    assert er.async_get(hass).async_get_entity_id("switch", DOMAIN, "202226050419_relay_NO2_relay_status")


async def test_firmware_of_a_device_is_kept_up_to_date(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("full_battery")
    with installation.gateway.fault("/ivp/ensemble/inventory", Replace("*.devices.*.img_pnum_running", "9.9.9")):
        await installation.poll_all()
    found = device(hass, installation, "492309017302")
    assert found
    assert found.sw_version == "9.9.9"


async def test_the_mac_address_becomes_a_connection_of_the_gateway(hass: HomeAssistant, set_up: SetUp) -> None:
    installation = await set_up("metered_1phase")
    found = device(hass, installation, installation.gateway.serial)
    assert found
    assert not found.connections
    await installation.pass_time(31)
    found = device(hass, installation, installation.gateway.serial)
    assert found
    assert [kind for kind, _ in found.connections] == ["mac"]
    assert len([request for request in installation.gateway.requests if request.path == "/home"]) == 1
