"""What stands in the place of identifiers: by a keyed hash, the same for the same input in every file and run."""

import hashlib
import hmac
import uuid

from pydicom._uid_dict import UID_dictionary

from pipeline.sources.patients import PatientKeys

_DAYS = 3650
_BLANKS = " \0\t\r\n"


class Pseudonyms:
    """Replacements by HMAC-SHA256 with ``key``. Without the key nobody can tell what they replace."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, keys: PatientKeys) -> "Pseudonyms":
        """With a key that is derived from the home's secret, so that a child process does not see the secret."""
        return cls(bytes.fromhex("".join(keys.key(f"de-identification {number}") for number in range(4))))

    @property
    def key(self) -> bytes:
        return self._key

    @property
    def fingerprint(self) -> str:
        """Tells one key from another; tells nothing else of it."""
        return self._digest("fingerprint", "").hex()[:8]

    def patient(self, patient_id: str) -> str:
        """16 hex digits for a patient's identifier; surrounding blanks and NULs do not count."""
        return self._digest("patient", patient_id.strip(_BLANKS)).hex()[:16]

    def text(self, value: str) -> str:
        """``ANON`` and 10 hex digits: fits every short string (SH, 16 characters)."""
        return f"ANON{self._digest('text', value.strip(_BLANKS)).hex()[:10]}"

    def name(self, name: str) -> str:
        """16 hex digits for a file's or folder's name."""
        return self._digest("name", name).hex()[:16]

    def uid(self, uid: str) -> str:
        """``2.25.`` and a UUID of 122 bits of the hash as a whole number (PS3.5 B.2).

        What the standard registers (PS3.6 annex A), and nothing, stays as it is.
        """
        cleaned = uid.strip(" \0")
        if not cleaned or cleaned in UID_dictionary:
            return cleaned
        return f"2.25.{uuid.UUID(bytes=_as_uuid(self._digest('uid', cleaned)[:16])).int}"

    def days(self, patient: str) -> int:
        """By how many days the dates of a patient (a pseudonym) move into the past: 1 … 3650."""
        return 1 + int.from_bytes(self._digest("days", patient)[:8], "big") % _DAYS

    def _digest(self, of: str, value: str) -> bytes:
        message = f"{of}\0{value}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, message, hashlib.sha256).digest()


def _as_uuid(digest: bytes) -> bytes:
    """Version 8 (made by a rule of its own) and the variant of RFC 9562."""
    value = bytearray(digest)
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return bytes(value)
