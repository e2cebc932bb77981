"""Changes of documents that the library can't parse in full."""

import json
from typing import Any

import pytest

from custom_components.enphase_envoy.client.endpoints import Document, Endpoint
from custom_components.enphase_envoy.client.errors import GatewayError, RelayTypeError
from custom_components.enphase_envoy.client.object_cache import ObjectCache
from custom_components.enphase_envoy.client.writing import Edit, WrittenValues


class Sender:
    """Records what is sent."""

    def __init__(self) -> None:
        """Start empty."""
        self.sent: list[Any] = []

    async def send(self, path: str, body: object = None, method: str | None = None) -> object:  # noqa: ARG002
        """Record a body."""
        self.sent.append(body)
        return None


def edit(sender: Sender, document: object, written: WrittenValues | None = None) -> Edit:
    """Return an edit of a document as it was received."""
    written = written or WrittenValues(lambda: 0.0)
    endpoint = Endpoint()
    if document is not None:
        endpoint.accept(Document(TARIFF_PATH, json.dumps(document).encode()))
        written.confirm(TARIFF_PATH, endpoint.latest)
    return Edit(sender, endpoint, None, ObjectCache(), written)  # type: ignore[arg-type]


TARIFF_PATH = "/admin/lib/tariff"
TARIFF = {"tariff": {"storage_settings": {"mode": "ai-optimization", "reserved_soc": 20}}, "schedule": {}}
CONTACT = {"id": "NC1", "type": "3RD-PV-X", "mode": "new-mode", "soc_low": 30.0, "grid_action": "new-action"}


async def test_unknown_words_are_sent_as_reported() -> None:
    sender = Sender()
    await edit(sender, TARIFF).storage_settings(reserved_soc=45)
    await edit(sender, {"dry_contacts": [{"id": "NC2"}, CONTACT]}).relay("NC1", soc_low=25)
    assert sender.sent == [
        {"tariff": {"storage_settings": {"mode": "ai-optimization", "reserved_soc": 45}}},
        {"dry_contacts": CONTACT | {"soc_low": 25.0}},
    ]
    assert [type(value) for value in (sender.sent[0]["tariff"]["storage_settings"]["reserved_soc"],)] == [int]


@pytest.mark.parametrize("document", [None, [], {"tariff": None}, {"tariff": {}}, {"dry_contacts": [{"id": "NC2"}]}])
async def test_nothing_is_sent_without_the_object_to_change(document: object) -> None:
    sender = Sender()
    with pytest.raises(GatewayError):
        await edit(sender, document).storage_settings(reserved_soc=45)
    with pytest.raises(GatewayError):
        await edit(sender, document).relay("NC1", soc_low=25)
    assert not sender.sent


@pytest.mark.parametrize("relay_type", ["NONE", "PV", "3RD-PV", "3RD-PV-X", None])
async def test_action_of_a_relay_without_a_load_is_refused(relay_type: str | None) -> None:
    sender = Sender()
    contacts = {"dry_contacts": [CONTACT | {"type": relay_type}, CONTACT | {"id": "NC2", "type": "LOAD"}]}
    with pytest.raises(RelayTypeError):
        await edit(sender, contacts).relay_action("NC1", grid_action="shed")
    assert not sender.sent
    await edit(sender, contacts).relay_action("NC2", grid_action="shed")
    await edit(sender, contacts).relay("NC1", soc_low=25)
    assert len(sender.sent) == 2


def tariff(**values: object) -> dict[str, Any]:
    """Return a document with settings of the batteries."""
    return {"tariff": {"storage_settings": {"mode": "backup", "reserved_soc": 20, "charge_from_grid": False} | values}}


@pytest.mark.parametrize(
    ("seconds", "reported", "sent"),
    [
        (5, tariff(), 45),
        (5, tariff(reserved_soc=45), 45),
        (5, tariff(reserved_soc=30), 30),
        (61, tariff(), 20),
    ],
    ids=["not reported yet", "reported", "changed in the app", "ignored"],
)
async def test_written_value_is_sent_again_until_it_is_reported(
    seconds: float, reported: dict[str, Any], sent: int
) -> None:
    sender, now = Sender(), [0.0]
    written = WrittenValues(lambda: now[0])
    await edit(sender, tariff(), written).storage_settings(reserved_soc=45)
    now[0] += seconds
    await edit(sender, reported, written).storage_settings(charge_from_grid=True)
    assert sender.sent[-1] == tariff(reserved_soc=sent, charge_from_grid=True)


async def test_reported_value_is_not_sent_again() -> None:
    """The gateway reported it, and then another value again, as after a change in the app."""
    sender, written = Sender(), WrittenValues(lambda: 0.0)
    await edit(sender, tariff(), written).storage_settings(reserved_soc=45)
    edit(sender, tariff(reserved_soc=45), written)
    await edit(sender, tariff(), written).storage_settings(charge_from_grid=True)
    assert sender.sent[-1] == tariff(charge_from_grid=True)


async def test_value_that_was_written_twice_is_sent_as_written_last() -> None:
    """The gateway reports the first of the two."""
    sender, written = Sender(), WrittenValues(lambda: 0.0)
    for reserve in (45, 50):
        await edit(sender, tariff(), written).storage_settings(reserved_soc=reserve)
    await edit(sender, tariff(reserved_soc=45), written).storage_settings(charge_from_grid=True)
    assert sender.sent[-1] == tariff(reserved_soc=50, charge_from_grid=True)
