"""Snapshots: pyenphase's data as objects at addresses."""

from dataclasses import fields

from pyenphase import EnvoyData
from pyenphase.models.inverter import EnvoyInverter
from pyenphase.models.system_production import EnvoySystemProduction

from custom_components.enphase_envoy.model.snapshot import Freshness, Snapshot, TimedValue, flatten

INVERTER = EnvoyInverter(serial_number="1", last_report_date=1, last_report_watts=2, max_report_watts=3)
PRODUCTION = EnvoySystemProduction(watt_hours_lifetime=4, watt_hours_last_7_days=3, watt_hours_today=2, watts_now=1)


def snapshot(data: EnvoyData) -> Snapshot:
    """Return a snapshot of data that was parsed."""
    return Snapshot(
        serial="123",
        firmware="8.2.4345",
        part_number=None,
        model="Envoy",
        objects={
            at: TimedValue(value, Freshness(0.0)) for objects in flatten(data).values() for at, value in objects.items()
        },
    )


def test_flatten_gives_every_object_an_address() -> None:
    """Single objects, members of dictionaries and phases each get an address; None gets none."""
    data = EnvoyData(
        system_production=PRODUCTION,
        system_production_phases={"L1": PRODUCTION, "L2": None},
        inverters={"1": INVERTER},
        raw={"/production": {"a": 1}},
    )
    assert flatten(data) == {
        "system_production": {("system_production",): PRODUCTION},
        "system_production_phases": {("system_production_phases", "L1"): PRODUCTION},
        "inverters": {("inverters", "1"): INVERTER},
    }


def test_snapshot_finds_objects_by_type_and_address() -> None:
    """An address that holds another type, or no object, gives None: never an object of the wrong type."""
    found = snapshot(EnvoyData(system_production=PRODUCTION, inverters={"1": INVERTER}))
    assert found.get(EnvoyInverter, ("inverters", "1")) is INVERTER
    assert found.get(EnvoySystemProduction, ("inverters", "1")) is None
    assert found.get(EnvoyInverter, ("inverters", "2")) is None
    assert list(found.members("inverters")) == ["1"]
    assert list(found.all(EnvoySystemProduction)) == [PRODUCTION]


def test_fields_of_envoy_data_are_those_that_flatten_handles() -> None:
    """A field that a new version of the library adds needs a decision."""
    assert {field.name for field in fields(EnvoyData)} == {
        "acb_inventory",
        "acb_power",
        "battery_aggregate",
        "c6cc",
        "collar",
        "ctmeter_consumption",
        "ctmeter_consumption_phases",
        "ctmeter_production",
        "ctmeter_production_phases",
        "ctmeter_storage",
        "ctmeter_storage_phases",
        "ctmeters",
        "ctmeters_phases",
        "dry_contact_settings",
        "dry_contact_status",
        "encharge_aggregate",
        "encharge_inventory",
        "encharge_power",
        "enpower",
        "generator",
        "generator_config",
        "generator_mode",
        "generator_schedule",
        "inverters",
        "raw",
        "system_consumption",
        "system_consumption_phases",
        "system_net_consumption",
        "system_net_consumption_phases",
        "system_production",
        "system_production_phases",
        "tariff",
    }
