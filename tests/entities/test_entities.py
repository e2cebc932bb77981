"""Snapshots of all entities and devices of every profile, one line each: names, device, state and classes."""

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from homeassistant.components.number import NumberMode
from homeassistant.components.number.const import DEVICE_CLASS_UNITS
from homeassistant.const import EntityCategory, Platform
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry as dr, entity_registry as er
from homeassistant.helpers.translation import async_get_translations
import pytest
from syrupy.assertion import SnapshotAssertion

from custom_components.enphase_envoy.binary_sensor import BINARY_SENSORS
from custom_components.enphase_envoy.button import BUTTONS
from custom_components.enphase_envoy.calendar import CALENDARS
from custom_components.enphase_envoy.const import DOMAIN, PLATFORMS
from custom_components.enphase_envoy.descriptions import SENSORS
from custom_components.enphase_envoy.descriptions.base import EnvoyEntityDescription
from custom_components.enphase_envoy.number import NUMBERS
from custom_components.enphase_envoy.select import SELECTS
from custom_components.enphase_envoy.switch import SWITCHES
from custom_components.enphase_envoy.time import TIMES
from tests.helpers.integration import SetUp
from tests.simulator import PROFILES

ENTITY_SETS = {
    Platform.BINARY_SENSOR: BINARY_SENSORS,
    Platform.BUTTON: BUTTONS,
    Platform.CALENDAR: CALENDARS,
    Platform.NUMBER: NUMBERS,
    Platform.SELECT: SELECTS,
    Platform.SENSOR: SENSORS,
    Platform.SWITCH: SWITCHES,
    Platform.TIME: TIMES,
}


def line(hass: HomeAssistant, entity: er.RegistryEntry) -> str:
    """Return the attributes of an entity that users, automations or statistics depend on."""
    device = dr.async_get(hass).async_get(entity.device_id or "")
    state = hass.states.get(entity.entity_id)
    assert device
    assert state
    attributes = [
        f"{entity.entity_id} ({entity.unique_id})",
        f"{device.name}: {entity.original_name}",
        f"{state.state} {entity.unit_of_measurement or ''}".rstrip(),
        *(entity.original_device_class or "", str((entity.capabilities or {}).get("state_class", ""))),
        entity.entity_category or "",
    ]
    return " | ".join(attributes)


def is_listed(entity: er.RegistryEntry, inverters: set[str]) -> bool:
    """Return whether an entity does not belong to one of these inverters: two of them stand for all."""
    return not any(serial in entity.unique_id for serial in inverters)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("profile", PROFILES)
async def test_entities(
    hass: HomeAssistant,
    set_up: SetUp,
    entity_registry_enabled_by_default: None,
    snapshot: SnapshotAssertion,
    profile: str,
    platform: Platform,
) -> None:
    with patch("custom_components.enphase_envoy.PLATFORMS", [platform]):
        installation = await set_up(profile)
        hidden = set(sorted(installation.coordinator.data.members("inverters"))[2:])
        entities = er.async_entries_for_config_entry(er.async_get(hass), installation.entry.entry_id)
        assert {entity.domain for entity in entities} <= {platform}
        assert sorted(line(hass, entity) for entity in entities if is_listed(entity, hidden)) == snapshot
        await hass.config_entries.async_unload(installation.entry.entry_id)


@pytest.mark.parametrize("profile", PROFILES)
async def test_devices(hass: HomeAssistant, set_up: SetUp, snapshot: SnapshotAssertion, profile: str) -> None:
    installation = await set_up(profile)
    registry = dr.async_get(hass)
    devices = dr.async_entries_for_config_entry(registry, installation.entry.entry_id)
    hidden = set(sorted(installation.coordinator.data.members("inverters"))[2:])
    parents = {device.id: device.name for device in devices}
    lines = [
        f"{min(device.identifiers)[1]}: {device.name} | {device.manufacturer} {device.model} | "
        f"{device.sw_version} {device.hw_version} | via {parents.get(device.via_device_id or '')}"
        for device in devices
        if device.serial_number not in hidden
    ]
    assert lines == snapshot


async def test_entities_enabled_by_default(hass: HomeAssistant, set_up: SetUp, snapshot: SnapshotAssertion) -> None:
    installation = await set_up("full_battery")
    hidden = set(sorted(installation.coordinator.data.members("inverters"))[2:])
    entities = er.async_entries_for_config_entry(er.async_get(hass), installation.entry.entry_id)
    enabled = [entity.entity_id for entity in entities if not entity.disabled_by and is_listed(entity, hidden)]
    assert sorted(enabled) == snapshot


async def test_an_entity_that_repeats_another_is_disabled_only_if_it_is_new(hass: HomeAssistant, set_up: SetUp) -> None:
    """So are the units of the energy in batteries, and the times of reports."""
    registry = er.async_get(hass)
    serial = "202328041177"
    kept = registry.async_get_or_create(
        "sensor", DOMAIN, f"{serial}_production_ct_power", suggested_object_id="roof_power"
    )
    stored = registry.async_get_or_create(
        "sensor", DOMAIN, f"{serial}_available_energy", unit_of_measurement="Wh", suggested_object_id="stored"
    )
    installation = await set_up("full_battery")
    assert installation.gateway.serial == serial
    assert (entity := registry.async_get(kept.entity_id))
    assert not entity.disabled_by
    assert hass.states.get(kept.entity_id)
    assert (state := hass.states.get(stored.entity_id))
    assert state.attributes["unit_of_measurement"] == "Wh"
    new = {entity.unique_id: entity for entity in registry.entities.values()}
    assert new[f"{serial}_production_ct_energy_delivered"].disabled_by is er.RegistryEntryDisabler.INTEGRATION
    assert new[f"{serial}_reserve_energy"].unit_of_measurement == "kWh"
    reports = [entity for unique_id, entity in new.items() if unique_id.endswith("_last_reported")]
    assert reports
    assert {entity.entity_category for entity in reports} == {EntityCategory.DIAGNOSTIC}
    assert all(entity.disabled_by for entity in reports)


def described(platform: Platform) -> Iterator[tuple[str, EnvoyEntityDescription[Any]]]:
    """Yield all descriptions of a platform with their keys in the files of translations and icons."""
    for entity_set in ENTITY_SETS[platform]:
        suffix = "_phase" if entity_set.source.address[0].endswith("_phases") else ""
        for description in entity_set.descriptions:
            yield (description.translation_key or description.key) + suffix, description


@pytest.mark.parametrize("platform", ENTITY_SETS)
async def test_every_description_has_translations(hass: HomeAssistant, platform: Platform) -> None:
    """Fails for a new sensor without a name or an option without a translation."""
    texts = await async_get_translations(hass, "en", "entity", {DOMAIN})
    prefix = f"component.{DOMAIN}.entity.{platform}"
    for key, description in described(platform):
        if description.name is not None:
            assert f"{prefix}.{key}.name" in texts
        choices = getattr(description, "choices", None) or (getattr(description, "options", None) or [])
        for choice in choices:
            assert f"{prefix}.{key}.state.{choice}" in texts


def test_numbers_have_a_unit_of_their_device_class() -> None:
    """Home Assistant warns about others from 2026.11 on, and stops supporting them in 2027.5."""
    descriptions = [description for entity_set in NUMBERS for description in entity_set.descriptions]
    for description in descriptions:
        if device_class := description.device_class:
            assert description.native_unit_of_measurement in DEVICE_CLASS_UNITS[device_class], description.key


def test_numbers_are_boxes_with_units() -> None:
    """A slider leaves no room for the name and the value."""
    descriptions = [description for entity_set in NUMBERS for description in entity_set.descriptions]
    assert {description.mode for description in descriptions} == {NumberMode.BOX}
    assert all(description.native_unit_of_measurement for description in descriptions)


def icons() -> dict[str, dict[str, Any]]:
    """Return the icons of entities by platform and key."""
    file = Path(__file__).parents[2] / "custom_components" / DOMAIN / "icons.json"
    found: dict[str, dict[str, Any]] = json.loads(file.read_text())["entity"]
    return found


@pytest.mark.parametrize("platform", ENTITY_SETS)
def test_every_description_without_a_device_class_has_an_icon(platform: Platform) -> None:
    """Device classes have icons; without either, all entities of a platform have the same one."""
    required = {key for key, description in described(platform) if description.device_class is None}
    assert required <= set(icons().get(platform, {}))


def test_icons_belong_to_existing_descriptions() -> None:
    for platform, keys in icons().items():
        assert set(keys) <= {key for key, _ in described(Platform(platform))}


async def test_no_two_entities_share_a_unique_id(
    hass: HomeAssistant, set_up: SetUp, entity_registry_enabled_by_default: None, caplog: pytest.LogCaptureFixture
) -> None:
    for profile in ("full_battery", "ac_batteries", "collar"):
        await set_up(profile)
    assert "does not generate unique IDs" not in caplog.text
