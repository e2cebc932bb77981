"""Redacts identifiers, names and secrets in documents that are published; everything else is unchanged.

Serial numbers, addresses and names are first collected from all documents, by their keys and by their format, and then
replaced by placeholders: in all documents the same value by the same placeholder, of the same format and length. Only
whole tokens are replaced, and a number only where it is an identifier: users anonymise serial numbers to `1234`, and
1234 W must stay 1234 W. Secrets are removed.

Not redacted, because they contain nothing personal: `eid` and similar, which all gateways number from the same start
and which link the documents with each other; part numbers, firmware, `euaid` (the same on all gateways); the time zone.
Pure: no import of Home Assistant.
"""

from collections import defaultdict
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address
import json
import re
from typing import Final, NamedTuple, cast

from .model.json_data import is_deep

REDACTED: Final = "**REDACTED**"


def _keys(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Keys, in lower case and without punctuation: gateways write `serial_num`, `serialNumber`, `sn` for the same.
_SECRETS: Final = _keys(
    "user wpakey wifikey authorization certificatefingerprint fingerprint latitude longitude street address zip phone"
    # The account that last changed the generator's configuration.
    " lastupdatedby"
)
_SERIALS: Final = _keys(
    "sn serial serials devicesn devsn parentsn envoysn envoyserial gatewaysn gatewayserial generatorid siteid systemid"
    # The site in the entry's options.
    " batterycloudsite"
    # In `/ivp/ensemble/status`, the same as the serial number; in `/inv`.
    " deviceid s"
)
_MACS: Final = _keys("mac macaddr macaddress hwaddr bssid")
_HOSTS: Final = _keys("host hostname previoushost fqdn")
#: Dictionaries with serial numbers as keys, of letters as well: in documents, then in the snapshot.
_BY_SERIAL: Final = _keys(
    "serialnums submodules inverters enchargeinventory enchargepower acbinventory panels panelhealth problems"
)
#: Keys of texts that are made of identifiers, in which short serial numbers are replaced too.
_NAMING: Final = _keys("uniqueid identifiers name originalname via")
_VERSION: Final = re.compile(r"version|vers$|fw|firmware|software|assembly|build|part")
#: Endpoints with addresses and the names of all networks in range, in formats that differ by firmware.
_NETWORK: Final = re.compile(r"(network|wireless)display")
# Keys may have a prefix: `dry_contact_load_name`.
_SECRET_ENDS: Final = ("password", "passwd", "passphrase", "psk", "token", "username", "email", "sessionid", "cookie")
_SERIAL_ENDS: Final = ("serialnum", "serialnums", "serialnumber", "serialnumbers", "serialno", "serialnb", "serialnbr")
#: Keys of names that users choose, and the labels that replace them.
_NAME_ENDS: Final = {
    "loadname": "Load",
    "ssid": "Network",
    "ssids": "Network",
    "networkname": "Network",
    "wifiname": "Network",
    "sitename": "Site",
    "systemname": "Site",
    "ownername": "Person",
    "installername": "Person",
}


class _Key(NamedTuple):
    """How the value of a key is redacted."""

    #: `secret`, `serial`, `mac`, `host`, `naming`, `version`, `network`, a label of names, or empty.
    kind: str
    #: The value is a dictionary by serial number.
    by_serial: bool
    #: `s` is a serial number in `/inv` and apparent power in `/stream/meter`: only texts are redacted.
    only_text: bool


@lru_cache(maxsize=2048)
def _classified(key: str) -> _Key:
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    kinds = {"mac": _MACS, "secret": _SECRETS, "serial": _SERIALS, "host": _HOSTS, "naming": _NAMING}
    kind = next((kind for kind, keys in kinds.items() if plain in keys), "")
    if not kind and _NETWORK.search(plain):
        kind = "network"
    if not kind and plain.endswith(_SECRET_ENDS):
        kind = "secret"
    if not kind and plain.endswith(_SERIAL_ENDS):
        kind = "serial"
    kind = kind or next((label for end, label in _NAME_ENDS.items() if plain.endswith(end)), "")
    return _Key(kind or ("version" if _VERSION.search(plain) else ""), plain in _BY_SERIAL, plain == "s")


_JWT: Final = re.compile(r"\beyJ[\w-]{5,}+(?:\.[\w-]*+){0,2}")
# Each begins where no longer one can: otherwise a long text takes a time that grows with the square of its length.
_EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_MAC: Final = re.compile(
    r"(?<![0-9A-Fa-f:-])[0-9A-Fa-f]{2}(?P<separator>[:-])[0-9A-Fa-f]{2}(?:(?P=separator)[0-9A-Fa-f]{2}){4}(?![0-9A-Fa-f:-])"
)
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_IPV6: Final = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:]|\.\d)")
_LOCAL: Final = re.compile(r"(?<![\w.-])(?:[\w-]+\.)+local(?![\w-])")
#: What may begin with a host, and the characters that a host has at most (RFC 1035).
_NAMES: Final = re.compile(r"(?<![\w.-])[\w.-]++")
_LONGEST_HOST: Final = 253
_URL_HOST: Final = re.compile(r"(?:(?<=://)|(?<=\bhost ))[^/\s:\"'<>\[\]]+")
#: Letters and digits that are not part of a number with decimals.
_TOKEN: Final = re.compile(r"(?<![0-9A-Za-z])(?<!\d\.)[0-9A-Za-z]++(?!\.\d)")
#: A value with its key in a text that is not (valid) JSON: truncated JSON, XML, HTML.
_PAIR: Final = re.compile(
    r'"(?P<json>[\w-]+)"\s*:\s*(?:"(?P<string>(?:[^"\\]|\\.)*)|(?P<number>\d+))'
    r"|<(?P<tag>[\w-]+)>(?P<content>[^<]*)"
    r'|(?<=\s)(?P<attribute>[\w-]+)="(?P<quoted>[^"]*)'
)
#: Current transformers are named by the serial number of their gateway: `122446001637EIM1`.
_METER: Final = re.compile(r"(\d+)(EIM\d+)")
_BARE_MAC: Final = re.compile(r"[0-9A-Fa-f]{12}")
_NUMBER: Final = re.compile(r"[-+]?\d+(\.\d+)?")
#: Minimum length of a serial number: gateways report 0 or 1 if there is none.
_MIN_SERIAL: Final = 4
_NO_SERIAL: Final = _keys("none null unknown undetermined unavailable true false")

#: Digits of Enphase's serial numbers: such a token is one under any key.
_ENPHASE_DIGITS: Final = 12
#: Minimum digits of a collected serial number to be replaced in numbers, in texts, in texts made of identifiers.
_IN_NUMBERS, _IN_TEXTS, _IN_NAMES = 10, 6, 1
#: MAC addresses for documentation, RFC 7042.
_MAC_RANGE: Final = 0x00005E005300
#: Ranges for documentation, RFC 5737 and 3849; global addresses are replaced from the last of the former.
_PRIVATE, _SPARE, _PUBLIC = (int(IPv4Address(net)) for net in ("192.0.2.0", "198.51.100.0", "203.0.113.0"))
_IPV6_RANGE: Final = int(IPv6Address("2001:db8::"))


class Redactor:
    """Replaces the identifiers of some documents by placeholders."""

    def __init__(self, *documents: object) -> None:
        """Collect the identifiers of all documents that will be published together.

        Placeholders are assigned in sorted order: files about the same devices contain the same ones.
        """
        #: Placeholders by kind and identifier.
        self._known: defaultdict[str, dict[str, str]] = defaultdict(dict)
        #: All identifiers, and all placeholders, which are not identifiers themselves.
        self._identifiers: set[str] = set()
        self._placeholders: set[str] = set()
        self._collected: set[tuple[str, str]] = set()
        self._is_collecting = True
        for document in documents:
            self._redacted(document, "")
        self._is_collecting = False
        self._identifiers = {value for _, value in self._collected}
        for kind, value in sorted(self._collected):
            self._placeholder(kind, value)

    def redact[T](self, document: T) -> T:
        """Return a document with placeholders; tuples become lists."""
        return cast(T, self._redacted(document, ""))

    def _placeholder(self, kind: str, value: str) -> str:
        """Return the placeholder of an identifier; a new one if it has none."""
        if self._is_collecting:
            self._collected.add((kind, value))
            return value
        if value in self._placeholders:
            return value
        known = self._known[kind]
        if value not in known:
            make, number = _FACTORIES.get(kind, partial(_label, kind)), len(known) + 1
            while (new := make(value, number)) in self._placeholders or new in self._identifiers:
                number += 1
            known[value] = new
            self._placeholders.add(new)
        return known[value]

    # Documents

    def _redacted(self, node: object, key: str) -> object:
        if _classified(key).kind == "network":
            return _blank(node)
        if isinstance(node, dict):
            by_serial = _classified(key).by_serial
            return {self._key(str(name), by_serial): self._redacted(value, str(name)) for name, value in node.items()}
        if isinstance(node, (list, tuple)):
            return [self._redacted(item, key) for item in node]
        return self._value(node, key) if isinstance(node, str) else self._number(node, _classified(key))

    def _key(self, key: str, by_serial: bool) -> str:
        # A key is no quantity: a short one is an identifier too.
        is_known = key in self._known["serial"] and not key.isalpha()
        return self._serial(key) if _is_serial(key) and (by_serial or is_known) else self._text(key, _IN_TEXTS)

    def _number(self, value: object, key: _Key) -> object:
        """Return a number, or another value that is no text, redacted according to its key."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        if key.kind == "secret":
            return REDACTED
        text = str(value) if isinstance(value, int) and value >= 0 else ""
        by_key = key.kind == "serial" and not key.only_text and _is_serial(text)
        is_serial = by_key or (len(text) > _IN_NUMBERS and text in self._known["serial"])
        return int(self._serial(text)) if is_serial else value

    def _value(self, value: str, key: str) -> str:
        """Return a text redacted according to its key."""
        kind = _classified(key).kind
        if not value or value == REDACTED:
            return value
        if (replaced := self._by_kind(value, kind)) is not None:
            return replaced
        if value.lstrip().startswith(("{", "[")):
            return self._json(value)
        if kind == "naming":
            return self._text(value, _IN_NAMES)
        if "<" in value:
            return self._pairs(value)
        return self._text(value, _IN_TEXTS, addresses=kind != "version")

    def _by_kind(self, value: str, kind: str) -> str | None:
        """Return the replacement of a value that is an identifier by its key, None for others."""
        if kind == "secret":
            return REDACTED
        if kind in _NAME_ENDS.values():
            return self._placeholder(kind, value)
        if kind == "host":
            return self._host(value)
        if kind == "mac" and _BARE_MAC.fullmatch(value):
            return self._mac(value)
        if kind == "serial" and _is_serial(value):
            return self._serial(value) if value.isalnum() else self._placeholder("ID", value)
        return None

    def _json(self, text: str) -> str:
        """Redact a text that is JSON, possibly truncated."""
        try:
            document = json.loads(text)
        except ValueError, RecursionError:
            return self._pairs(text)
        if is_deep(document):
            return self._pairs(text)
        redacted = self._redacted(document, "")
        return text if redacted == document else json.dumps(redacted, ensure_ascii=False)

    def _pairs(self, text: str) -> str:
        """Redact a text that contains keys and values but cannot be parsed."""

        def pair(match: re.Match[str]) -> str:
            key = match["json"] or match["tag"] or match["attribute"]
            value = next(value for value in match.group("string", "number", "content", "quoted") if value is not None)
            replaced = self._by_kind(value, _classified(key).kind) if value.strip() else None
            return match[0] if replaced is None else match[0].removesuffix(value) + replaced

        return self._text(_PAIR.sub(pair, text), _IN_NUMBERS)

    def _text(self, text: str, min_digits: int, *, addresses: bool = True) -> str:
        """Replace all text in the format of an identifier, and collected serial numbers with enough digits."""
        text = _EMAIL.sub(REDACTED, _JWT.sub(REDACTED, text))
        text = _MAC.sub(lambda match: self._mac(match[0]), text)
        if addresses:
            text = _IPV4.sub(lambda match: self._address(match[0]), text)
            text = _IPV6.sub(lambda match: self._address(match[0]), text)
        hosts = self._known["host"]
        text = _LOCAL.sub(lambda match: self._placeholder("host", match[0]), text)
        text = _URL_HOST.sub(lambda match: hosts.get(match[0], match[0]), text)
        text = _NAMES.sub(lambda match: self._names(match[0]), text)
        if min_digits == _IN_TEXTS and _NUMBER.fullmatch(text):
            min_digits = _IN_NUMBERS
        return _TOKEN.sub(lambda match: self._token(match[0], min_digits), text)

    def _names(self, text: str) -> str:
        """Replace the host at the beginning of a text; single words may mean something else."""
        hosts = self._known["host"]
        for end in (*(dot.start() for dot in re.finditer(r"\.", text[:_LONGEST_HOST])), len(text)):
            if end <= _LONGEST_HOST and (host := text[:end]) in hosts and not host.isalpha():
                return hosts[host] + text[end:]
        return text

    def _token(self, token: str, min_digits: int) -> str:
        """Return the replacement of a token, the token itself if it is no identifier."""
        if token.lower() in self._known["mac"]:
            return self._mac(token)
        meter = _METER.fullmatch(token)
        serial = meter[1] if meter else token
        is_candidate = min_digits == _IN_NAMES or (len(serial) >= min_digits and not serial.isalpha())
        if (is_candidate and serial in self._known["serial"]) or (serial.isdigit() and len(serial) == _ENPHASE_DIGITS):
            return self._serial(token)
        return token

    # Identifiers

    def _serial(self, serial: str) -> str:
        meter = _METER.fullmatch(serial)
        return self._placeholder("serial", meter[1]) + meter[2] if meter else self._placeholder("serial", serial)

    def _mac(self, mac: str) -> str:
        digits = re.sub(r"[:-]", "", mac).lower()
        new = self._placeholder("mac", digits)
        if new == digits:
            return mac
        separator = mac[2] if mac[2] in ":-" else ""
        new = separator.join(new[index : index + 2] for index in range(0, len(new), 2))
        return new.upper() if mac.upper() == mac else new

    def _address(self, text: str) -> str:
        try:
            address = ip_address(text)
        except ValueError:
            return text
        # Netmasks and the unspecified address identify no network.
        if address.is_unspecified or str(address).startswith("255."):
            return text
        new = self._placeholder("address", str(address))
        return text if new == str(address) else new

    def _host(self, value: str) -> str:
        """Return the replacement of a host, an address or a name, with its port."""
        name = re.sub(r":\d+$", "", value)
        if _IPV4.fullmatch(name) or ":" in name:
            return self._text(value, _IN_TEXTS)
        return self._placeholder("host", name) + value[len(name) :]


def _blank(node: object) -> object:
    """Return the structure of a document; of its texts only the keys."""
    if isinstance(node, dict):
        return {name if re.fullmatch(r"[a-z_\d]+", name) else REDACTED: _blank(value) for name, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_blank(item) for item in node]
    if not isinstance(node, str) or not node:
        return node
    try:
        document = json.loads(node)
    except ValueError, RecursionError:
        return REDACTED
    if is_deep(document):
        return REDACTED
    return json.dumps(_blank(document)) if isinstance(document, (dict, list)) else REDACTED


def _is_serial(value: str) -> bool:
    return len(value) >= _MIN_SERIAL and value.lower() not in _NO_SERIAL


def _label(label: str, _value: str, number: int) -> str:
    return f"{label} {number}"


def _serial_placeholder(serial: str, number: int) -> str:
    """Return a serial number of the same format: 9000…0001, or the number in letters and digits."""
    if serial.isdigit():
        return str(9 * 10 ** (len(serial) - 1) + number)
    characters = []
    for character in reversed(serial):
        first, base = ("0", 10) if character.isdigit() else ("A", 26) if character.isupper() else ("a", 26)
        number, digit = divmod(number, base)
        characters.append(chr(ord(first) + digit))
    return (str(number) if number else "") + "".join(reversed(characters))


def _mac_placeholder(_mac: str, number: int) -> str:
    return f"{_MAC_RANGE + number:012x}"


def _address_placeholder(text: str, number: int) -> str:
    """Return an address from the ranges for documentation."""
    address = ip_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(_IPV6_RANGE + number))
    net, last = divmod(number, 255)
    first = _SPARE if net else _PUBLIC if address.is_global else _PRIVATE
    return str(IPv4Address(first + last))


def _host_placeholder(_host: str, number: int) -> str:
    return f"host-{number}.example"


#: Functions that return the n-th placeholder of a kind; other kinds are names, which get a label with a number.
_FACTORIES: Final = {
    "serial": _serial_placeholder,
    "mac": _mac_placeholder,
    "address": _address_placeholder,
    "host": _host_placeholder,
}
