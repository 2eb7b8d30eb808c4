"""Spoiling a file that is good: by its structure where it is JSON or has a JSON header, else by its bytes."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

NASTY: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    2**31,
    2**63,
    2**64,
    10**30,
    0.5,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../outside",
    "/etc/passwd",
    "..\\outside",
    "a/../../b",
    "\0",
    "\ud800",
    "x" * 5_000,
    [],
    [[]],
    {},
    {"x": 1},
    [None],
    ["x", 1],
)


def spoil(content: bytes, seed: int) -> bytes:
    """A file with one to three things wrong."""
    chance = random.Random(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = _spoil_once(content, chance)
    return content


def _spoil_once(content: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.8:
        for spoil_structure in (_json, _safetensors):
            try:
                return spoil_structure(content, chance)
            except (ValueError, RecursionError, IndexError):
                continue
    return _bytes(content, chance)


def _json(content: bytes, chance: random.Random) -> bytes:
    return _in_place(json.loads(content), chance)


def _safetensors(content: bytes, chance: random.Random) -> bytes:
    """The 8 bytes of the header's size, the header, or what its size says."""
    if len(content) < 8:
        raise ValueError("no header")
    (size,) = struct.unpack("<Q", content[:8])
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    if chance.random() < 0.2:
        size = chance.choice((0, 1, size - 1, size + 1, 10_000_000_000, 2**63, 2**64 - 1))
        return struct.pack("<Q", size % 2**64) + content[8:]
    if chance.random() < 0.2:
        rest = rest[: chance.randrange(len(rest) + 1)]
    spoilt = _in_place(header, chance)
    return struct.pack("<Q", len(spoilt)) + spoilt + rest


def _in_place(value: Any, chance: random.Random) -> bytes:
    places = list(_places(value))
    if not places:
        raise ValueError("nothing to spoil")
    holder, key = chance.choice(places)
    action = chance.random()
    if action < 0.15:
        del holder[key]
    elif action < 0.25 and isinstance(holder, dict):
        holder[str(chance.choice(NASTY))] = holder[key]
    elif action < 0.4:
        from_holder, from_key = chance.choice(places)
        holder[key] = json.loads(json.dumps(from_holder[from_key]))
    else:
        holder[key] = chance.choice(NASTY)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Where something is held; of a long list or table, some of it."""
    if not isinstance(value, (dict, list)):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    places = []
    for key in keys[:12] + keys[-4:]:
        places.append((value, key))
        places += _places(value[key])
    return places


def _bytes(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    action = chance.randrange(4)
    if action == 0:
        return content[:at]
    if action == 1:
        return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]
    if action == 2:
        return content[:at] + chance.randbytes(chance.randrange(1, 9)) + content[at:]
    return content[:at] + content[at + chance.randrange(1, 40) :]
