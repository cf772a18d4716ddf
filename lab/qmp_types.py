# SPDX-License-Identifier: Apache-2.0
"""Checks what the control socket sends against tests/qmp/types.json, like a client that ends at
anything else. tests/qmp/qmp_types.c does the same for tests in C."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

TYPES = Path(__file__).resolve().parents[1] / "tests" / "qmp" / "types.json"
BUILTIN = {"str": str, "int": int, "bool": bool, "any": object}


class NotQmp(AssertionError):
    """A message that a client made for this protocol does not know."""


class Client:
    """What a client accepts, with or without having subscribed."""

    def __init__(self, subscribed: bool) -> None:
        known = json.loads(TYPES.read_text())
        self.greeting_types = known["types"]
        self.types = copy.deepcopy(known["types"]) | known["own"]["types"]
        self.commands = known["commands"] | known["own"]["commands"]
        self.events = known["events"]
        if subscribed:
            for name, members in known["subscribed"]["types"].items():
                self.types[name] |= members
            self.events = self.events | known["subscribed"]["events"]

    def check(self, message: dict[str, Any], command: str | None = None) -> None:
        """`command` is the command of a reply; without it, any command's type is accepted."""
        if "event" in message:
            self._event(message)
        elif "return" in message:
            self._members(message, {"return", "id"})
            self._return(message["return"], command)
        elif "error" in message:
            self._members(message, {"error", "id"})
            self._value(self.types, "Error", message["error"], "error")
        elif "QMP" in message:
            self._members(message, {"QMP"})
            self._value(self.greeting_types, "Greeting", message["QMP"], "QMP")
        else:
            raise NotQmp(f"neither an event nor the reply to a request: {message}")

    def _return(self, value: Any, command: str | None) -> None:
        if command is not None:
            self._value(self.types, self.commands[command], value, command)
            return
        for name, returned in self.commands.items():
            if returned != "any":
                with contextlib.suppress(NotQmp):
                    self._value(self.types, returned, value, name)
                    return
        # query-metrics: its members are counters.
        if not isinstance(value, dict) or any(type(count) is not int for count in value.values()):
            raise NotQmp(f"no command returns this: {value}")

    def _event(self, message: dict[str, Any]) -> None:
        name = message["event"]
        if name not in self.events:
            raise NotQmp(f"no event is called {name!r}: {message}")
        self._members(message, {"event", "timestamp", "data"})
        self._value(self.types, "Timestamp", message["timestamp"], "timestamp")
        if message.get("data") == {}:
            raise NotQmp(f"{name}: QMP leaves out data that is empty")
        self._value(self.types, self.events[name], message.get("data", {}), name)

    @staticmethod
    def _members(value: dict[str, Any], known: set[str]) -> None:
        if not set(value) <= known:
            raise NotQmp(f"members that are not known, {set(value) - known}: {value}")

    def _value(self, types: dict[str, Any], name: str, value: Any, what: str) -> None:
        if name.startswith("["):
            if not isinstance(value, list):
                raise NotQmp(f"{what} is no array: {value!r}")
            for item in value:
                self._value(types, name[1:-1], item, what)
        elif name in BUILTIN:
            # In Python a bool is an int; in QMP it is not.
            if not isinstance(value, BUILTIN[name]) or (name == "int" and isinstance(value, bool)):
                raise NotQmp(f"{what} is no {name}: {value!r}")
        elif isinstance(types[name], list):
            if value not in types[name]:
                raise NotQmp(f"{what} is {value!r}, which is no {name}")
        else:
            self._object(types, types[name], value, what)

    def _object(self, types: dict[str, Any], members: dict[str, str], value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise NotQmp(f"{what} is no object: {value!r}")
        self._members(value, {name.removeprefix("*") for name in members})
        for name, member_type in members.items():
            plain = name.removeprefix("*")
            if plain in value:
                self._value(types, member_type, value[plain], f"{what}.{plain}")
            elif plain == name:
                raise NotQmp(f"{what} lacks {name!r}: {value}")
