"""Patients by a keyed hash: one patient, one key; without the key file nobody can tell whose."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

_KEY_FILE = "patient.key"


class PatientKeys:
    """Keys of patients, by a random secret in ``home`` (made on first use, readable by its owner only)."""

    def __init__(self, home: Path) -> None:
        self._secret = _secret(home / _KEY_FILE)

    def key(self, patient_id: str) -> str:
        """HMAC-SHA256 of the identifier, 16 hex digits. Surrounding blanks and NULs do not count."""
        cleaned = patient_id.strip(" \0\t\r\n")
        return hmac.new(self._secret, cleaned.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:16]


def _secret(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(32))
        try:
            os.link(fresh, path)  # of two processes that start together, the first one's secret stands
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    return path.read_bytes()
