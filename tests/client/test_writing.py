"""Changes of documents that the library can't parse in full."""

import json
from typing import Any

import pytest

from custom_components.enphase_envoy.client.endpoints import Document, Endpoint
from custom_components.enphase_envoy.client.errors import GatewayError, RelayTypeError
from custom_components.enphase_envoy.client.object_cache import ObjectCache
from custom_components.enphase_envoy.client.writing import Edit


class Sender:
    """Records what is sent."""

    def __init__(self) -> None:
        """Start empty."""
        self.sent: list[Any] = []

    async def send(self, path: str, body: object = None, method: str | None = None) -> object:  # noqa: ARG002
        """Record a body."""
        self.sent.append(body)
        return None


def edit(sender: Sender, document: object) -> Edit:
    """Return an edit of a document as it was received."""
    endpoint = Endpoint()
    if document is not None:
        endpoint.accept(Document("/path", json.dumps(document).encode()))
    return Edit(sender, endpoint, None, ObjectCache())  # type: ignore[arg-type]


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
