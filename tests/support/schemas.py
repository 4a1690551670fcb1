"""The JSON schemas that check-jsonschema brings along, without its process for each file."""

from typing import Any

from check_jsonschema.builtin_schemas import get_builtin_schema
from jsonschema.validators import validator_for


def faults(value: Any, schema: str) -> list[str]:
    """Return what a schema has against a value, a line each.

    Args:
        schema: A name such as `compose-spec`, of those that check-jsonschema lists as `vendor.…`.
    """
    loaded = get_builtin_schema(f"vendor.{schema}")
    errors = validator_for(loaded)(loaded).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in errors]
