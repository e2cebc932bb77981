"""The inventory of a battery system, `/ivp/ensemble/inventory`, as the library reads it: one group for each type."""

from ..model.json_data import is_deep


def grouped(inventory: object) -> object:
    """Return an inventory with one group for each type, in the order of their first devices.

    The library reads one group of a type, and fails at groups without one: some firmware lists the profile of the grid
    among them. Returns the same object where there is nothing to change.
    """
    if not isinstance(inventory, list) or is_deep(inventory):
        return inventory
    groups: dict[str, dict[str, object]] = {}
    for group in inventory:
        kind = group.get("type") if isinstance(group, dict) else None
        if not isinstance(kind, str):
            continue
        devices = group.get("devices")
        if kind not in groups:
            groups[kind] = {**group, "devices": list(devices) if isinstance(devices, list) else []}
        elif isinstance(devices, list):
            first = groups[kind]["devices"]
            groups[kind]["devices"] = [*first, *devices] if isinstance(first, list) else devices
    result = list(groups.values())
    return inventory if result == inventory else result
