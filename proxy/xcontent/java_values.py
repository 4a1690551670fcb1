"""Values as Java's ``toString`` shows them in messages."""

from collections.abc import Mapping
from typing import Any

from proxy.xcontent.java_numbers import print_double


def print_java(value: Any) -> str:
    """A value of a parsed JSON document, for example `{foo=bar, list=[1, true, null]}`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return print_double(value)
        case Mapping():
            return "{" + ", ".join(f"{name}={print_java(item)}" for name, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(print_java, value)) + "]"
        case _:
            return str(value)


def java_type(value: Any) -> str:
    """The simple name of the class that a parsed JSON value has in Java."""
    match value:
        case bool():
            return "Boolean"
        case int():
            return "Integer" if -(2**31) <= value < 2**31 else "Long"
        case float():
            return "Double"
        case str():
            return "String"
        case Mapping():
            return "LinkedHashMap"
        case _:
            return "ArrayList"
