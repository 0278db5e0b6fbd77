"""How a user names a model version."""

import re

from pipeline.errors import ModelError


def parse_version(text: str) -> tuple[str, str]:
    """``name/3`` → (``name``, ``3``).

    Raises:
        ModelError: it is not a name and a number.
    """
    match = re.fullmatch(r"(?:models:/)?([a-z][a-z0-9_]*)/([0-9]+)", text)
    if match is None:
        raise ModelError(f"expected a model version such as lesions/3 (name, slash, number), got {text!r}")
    return match[1], match[2]
