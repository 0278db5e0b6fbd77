"""Digests in the place of identifiers: what may be kept and shown of a UID."""

import hashlib


def uid_digest(uid: str) -> str | None:
    """16 hex digits in the place of a study's, series' or instance's UID; `None` for an empty one."""
    cleaned = uid.strip(" \0")
    return hashlib.sha256(cleaned.encode("utf-8", "surrogateescape")).hexdigest()[:16] if cleaned else None
