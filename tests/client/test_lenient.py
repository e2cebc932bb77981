"""Keys that a device no longer has, words that are new, and groups of the inventory."""

import json

from pyenphase.models.dry_contacts import DryContactType
from pyenphase.models.encharge import EnvoyEncharge
from pyenphase.models.tariff import EnvoyStorageMode
import pytest

from custom_components.enphase_envoy.client.gateway import Gateway
from custom_components.enphase_envoy.client.inventory import grouped
from custom_components.enphase_envoy.client.lenient import with_optional_keys
from tests.helpers.integration import SetUp
from tests.simulator import Body

INVENTORY = "/ivp/ensemble/inventory"


def test_an_unknown_word_is_kept() -> None:
    assert EnvoyStorageMode("ai-optimization") == "ai-optimization"
    assert EnvoyStorageMode("backup") is EnvoyStorageMode.BACKUP
    assert DryContactType("3RD-PV-X").value == "3RD-PV-X"
    with pytest.raises(ValueError, match="None"):
        EnvoyStorageMode(None)  # type: ignore[arg-type]


def test_only_records_of_devices_may_lack_keys() -> None:
    document = with_optional_keys({"devices": [{"serial_num": "1"}], "error": "busy"})
    assert isinstance(document, dict)
    assert document["devices"][0]["led_status"] is None
    with pytest.raises(KeyError):
        document["storage_settings"]


@pytest.mark.parametrize(
    ("inventory", "types"),
    [
        ([{"type": "ENCHARGE", "devices": [1]}, {"type": "ENCHARGE", "devices": [2]}], {"ENCHARGE": [1, 2]}),
        ([{"grid_profile_name": "x", "item_count": 1}, {"type": "ENPOWER", "devices": [3]}], {"ENPOWER": [3]}),
        ([{"type": "ENCHARGE"}, {"type": "ENCHARGE", "devices": [1]}], {"ENCHARGE": [1]}),
        ([None, {"type": None}], {}),
    ],
)
def test_groups_of_the_inventory(inventory: object, types: dict[str, list[int]]) -> None:
    result = grouped(inventory)
    assert isinstance(result, list)
    assert {group["type"]: group["devices"] for group in result} == types


def test_an_inventory_with_one_group_for_each_type_is_the_same_object() -> None:
    inventory = [{"type": "ENCHARGE", "devices": [1]}, {"type": "ENPOWER", "devices": []}]
    assert grouped(inventory) is inventory


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
