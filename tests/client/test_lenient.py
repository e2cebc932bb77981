"""Documents as the library reads them: missing keys, new words, invalid values, groups of the inventory."""

import json
from typing import Any

from pyenphase.models.acb import EnvoyBatteryAggregate
from pyenphase.models.dry_contacts import DryContactType
from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.tariff import EnvoyStorageMode
import pytest

from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.client.lenient import read
from custom_components.enphase_envoy.model.validation import validated
from tests.helpers.integration import SetUp
from tests.simulator import Body

INVENTORY = "/ivp/ensemble/inventory"


def test_an_unknown_word_is_kept() -> None:
    assert EnvoyStorageMode("ai-optimization") == "ai-optimization"
    assert EnvoyStorageMode("backup") is EnvoyStorageMode.BACKUP
    assert DryContactType("3RD-PV-X").value == "3RD-PV-X"
    assert EnvoyStorageMode(None) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inventory", "types"),
    [
        ([{"type": "ENCHARGE", "devices": [{"sn": 1}]}, {"type": "ENCHARGE", "devices": [{"sn": 2}]}], {"ENCHARGE": 2}),
        ([{"grid_profile_name": "x", "item_count": 1}, {"type": "ENPOWER", "devices": [{"sn": 3}]}], {"ENPOWER": 1}),
        ([{"type": "ENCHARGE"}, {"type": "ENCHARGE", "devices": [{"sn": 1}]}], {"ENCHARGE": 1}),
        ([{"type": None}, None], {}),
    ],
)
def test_groups_of_the_inventory(inventory: object, types: dict[str, int]) -> None:
    result = read(INVENTORY, inventory)
    assert isinstance(result, list)
    assert {group["type"]: len(group["devices"]) for group in result} == types


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (INVENTORY, {"error": "busy"}),
        (INVENTORY, [1, 2]),
        (INVENTORY, "starting"),
        ("/ivp/ensemble/secctrl", {"error": "busy"}),
        ("/ivp/ensemble/secctrl", [{"ENC_agg_soc": 1}]),
    ],
)
def test_a_document_of_another_kind_is_no_document_of_the_endpoint(path: str, document: object) -> None:
    with pytest.raises(TypeError):
        read(path, document)


def test_places_of_channels_are_those_of_their_phases() -> None:
    """The last digit of a channel's `eid` is the number of its phase, on all known gateways."""
    lines = [{"eid": 0x6A000111 + phase, "activePower": 10 * phase} for phase in range(3)]
    meter: Any
    (meter,) = read("/ivp/meters/readings", [{"eid": 0x2A000100, "channels": [lines[2], lines[0]]}])
    assert [channel.get("activePower") for channel in meter["channels"]] == [0, None, 20]
    (meter,) = read("/ivp/meters/readings", [{"eid": 1, "channels": [{"eid": 0}, {"eid": 0}, None]}])
    assert [channel.get("eid") for channel in meter["channels"]] == [0, 0, None]


def test_an_invalid_number_is_none_after_calculations() -> None:
    values = {"ENC_agg_avail_energy": "n/a", "ACB_agg_energy": 5, "agg_soc": 3}
    aggregate = EnvoyBatteryAggregate.from_api(read("/ivp/ensemble/secctrl", values))
    valid: Any
    valid, _, invalid, _ = validated(aggregate, None)
    assert invalid == {"available_energy"}
    assert (valid.available_energy, valid.state_of_charge) == (None, 3)


@pytest.mark.parametrize("levels", [90, 400])
def test_a_deep_document_is_read(levels: int) -> None:
    innermost: object = 1
    for _ in range(levels):
        innermost = [innermost]
    assert read(INVENTORY, [{"type": "ENCHARGE", "devices": innermost}])


@pytest.mark.parametrize("path", ["/admin/lib/tariff", "/ivp/pdm/device_data", INVENTORY])
@pytest.mark.parametrize("key", ["devices", "tariff", "watts"])
def test_containers_within_containers_without_end_are_no_document(key: str, path: str) -> None:
    innermost: dict[str, object] = {}
    for _ in range(1000):
        innermost = {key: [innermost] if key == "devices" else innermost}
    devices = {INVENTORY: [{"type": "ENPOWER", **innermost}], "/ivp/pdm/device_data": {"1": innermost}}
    with pytest.raises(TypeError):
        read(path, devices.get(path, innermost))


async def test_batteries_without_a_key_keep_everything_else(set_up: SetUp) -> None:
    """On a fresh start, beside a group without a type."""
    installation = await set_up("full_battery")
    gateway: Gateway = installation.coordinator.gateway
    before = installation.coordinator.data
    inventory = json.loads((await gateway.envoy.get(INVENTORY)).text)
    for group in inventory:
        for device in group["devices"]:
            device.pop("led_status", None)
    inventory.append({"grid_profile_name": "x", "item_count": 2997})
    with installation.gateway.fault(INVENTORY, Body(json.dumps(inventory))):
        gateway.discard()
        gateway.request_probe()
        await installation.poll_all()
        after = installation.coordinator.data
    assert after.objects.keys() == before.objects.keys()
    batteries = list(after.all(EnvoyEncharge))
    assert batteries
    assert all(battery.percent_full is not None for battery in batteries)
