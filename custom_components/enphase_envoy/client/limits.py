"""How large an answer may be: far above what any gateway sends, and little enough to be read and parsed at once.

The largest known document, `/inventory.json` with 600 inverters, has 0.5 MB, 3,000 objects and 25,000 values.
"""

from typing import Final

import aiohttp

#: Bytes of a document after decompression, of `/info`, and of an answer of the cloud.
DOCUMENT: Final = 2_000_000
INFO: Final = 64_000
CLOUD: Final = 256_000
#: Objects and lists of a document, and values.
_CONTAINERS: Final = 6_000
_VALUES: Final = 60_000


#: Devices of a kind, and of all other kinds, such as meters and relays. Gateways support 600 inverters and 60 batteries
#: at most.
DEVICES: Final = {
    "inverters": 1000,
    "panels": 1000,
    "encharge_inventory": 200,
    "encharge_power": 200,
    "acb_inventory": 200,
}
OTHER_DEVICES: Final = 50
#: New devices of a kind that one answer adds at most, after the first set-up.
ADDED: Final = 20


class AnswerTooLargeError(aiohttp.ClientPayloadError):
    """An answer is larger than that of any gateway; it was not read to its end."""


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body of a response. Raises AnswerTooLargeError as soon as it exceeds `limit` bytes."""
    body = bytearray()
    # The announced length is that of the compressed body.
    excess = (response.content_length or 0) > limit
    while not excess and (chunk := await response.content.readany()):
        body += chunk
        excess = len(body) > limit
    if excess:
        response.close()
        raise AnswerTooLargeError(f"more than {limit} bytes")
    return bytes(body)


def is_too_complex(body: bytes) -> bool:
    """Return whether a document has more objects or values than that of any gateway, without parsing it."""
    return body.count(b"{") + body.count(b"[") > _CONTAINERS or body.count(b",") > _VALUES
