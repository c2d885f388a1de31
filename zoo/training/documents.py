"""Json and yaml of users: nothing that stands in such a file is more than an error that names it."""

from __future__ import annotations

import json
from typing import Any

import yaml

from zoo.training.data import DataError


def parse_json(text: str, where: str) -> Any:
    """The value of a json text.

    Args:
        text: Its content.
        where: What the message calls it, e.g. the file.

    Raises:
        json.JSONDecodeError: It is no json; the reader says what it expected.
        DataError: It is nested deeper, or holds a longer number, than can be read.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read as json: {_reason(error)}") from None


def parse_yaml(text: str, where: str) -> Any:
    """The value of a yaml text, of plain kinds alone.

    Raises:
        yaml.YAMLError: It is no yaml; the reader says what it expected.
        DataError: It is nested deeper, or holds a longer number or another date, than can be read.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read as yaml: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    deep = "it is nested too deep"
    return deep if isinstance(error, RecursionError) else " ".join(str(error).split())[:160] or type(error).__name__
