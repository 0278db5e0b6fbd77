"""A DICOMweb server: QIDO-RS to list, WADO-RS to fetch, STOW-RS to store (DICOM PS3.18 clauses 10.4 to 10.6).

Instances are fetched one by one as they are stored there, and their bytes go to disk unread: what a server sends is
untrusted, and is decoded where any other file is. That is why no client library that parses datasets is used.
"""

import os
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from pipeline.errors import SourceError
from pipeline.sources.network.answers import Answer, stow_answer

_PAGE = 200
_ATTEMPTS = 6
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 30.0
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_LARGEST_INSTANCE = 16 << 30
_STUDY, _SERIES, _INSTANCE, _COUNT = "0020000D", "0020000E", "00080018", "00201208"
# PS3.18 table 10.5.3-1: all, some or none were stored; which, and why not, is in the body.
_STORED = (200, 202, 409)
_PART = "cellscan-part-8e1f2a"
_PLAIN = ("application/dicom", "application/octet-stream")
_T = TypeVar("_T")
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """How to be let in: a user with password, or a bearer token, or nothing; ``ca`` is a file of trusted authorities.

    ``verify`` is false only where a user said so: then anybody on the way can read and change what is fetched.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    verify: bool = True

    @classmethod
    def from_environment(cls) -> "Access":
        """``CELLSCAN_DICOMWEB_USER`` and ``_PASSWORD``, or ``_TOKEN``; ``_CA``; ``_INSECURE=yes`` ends verification."""
        said = {
            name: os.environ.get(f"CELLSCAN_DICOMWEB_{name}") or None for name in ("USER", "PASSWORD", "TOKEN", "CA")
        }
        insecure = os.environ.get("CELLSCAN_DICOMWEB_INSECURE", "").lower() in ("1", "yes", "true")
        return cls(said["USER"], said["PASSWORD"], said["TOKEN"], said["CA"], verify=not insecure)

    def client(self, connections: int) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        basic = httpx.BasicAuth(self.user, self.password or "") if self.user else None
        context: ssl.SSLContext | bool = self.verify
        if self.verify and self.ca:
            context = ssl.create_default_context(cafile=self.ca)
        limits = httpx.Limits(max_connections=connections)
        return httpx.Client(auth=basic, headers=headers, verify=context, limits=limits, timeout=httpx.Timeout(60.0))


@dataclass(frozen=True)
class Study:
    uid: str = field(repr=False)
    instances: int | None = None


@dataclass(frozen=True)
class Instance:
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    uid: str = field(repr=False)


class DicomWeb:
    """One server.

    Args:
        address: the service's base, ``https://host/dicom-web``.
        access: how to be let in.
        connections: at once.
        wait: sleeps between attempts (given by tests).

    Raises:
        SourceError: by every call: the server refuses, cannot be reached, or answers what it should not.
    """

    def __init__(
        self, address: str, access: Access, connections: int = 8, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self._base = checked_address(address)
        self._client = access.client(connections)
        self._wait = wait
        self._closed = threading.Event()

    def close(self) -> None:
        self._closed.set()
        self._client.close()

    def studies(self, where: Mapping[str, str]) -> Iterator[Study]:
        """Studies that match ``where`` (DICOM keyword → value as QIDO-RS takes it), each once."""
        for found in self._listed("studies", {**where, "includefield": _COUNT}, _STUDY):
            count = _value(found, _COUNT)
            yield Study(str(_value(found, _STUDY)), int(count) if isinstance(count, int | float) else None)

    def instances(self, study: Study) -> Iterator[Instance]:
        """Every instance of a study, series by series."""
        for series in self._listed(f"studies/{_uid(study.uid)}/series", {}, _SERIES):
            series_uid = str(_value(series, _SERIES))
            where = f"studies/{_uid(study.uid)}/series/{_uid(series_uid)}/instances"
            for found in self._listed(where, {}, _INSTANCE):
                yield Instance(study.uid, series_uid, str(_value(found, _INSTANCE)))

    def fetch(self, instance: Instance, keep: Callable[[Iterator[bytes]], bool]) -> bool:
        """Fetch one instance as it is stored (no transcoding) and hand its bytes to ``keep``."""
        where = f"studies/{_uid(instance.study_uid)}/series/{_uid(instance.series_uid)}/instances/{_uid(instance.uid)}"
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'

        def once() -> bool:
            with self._client.stream("GET", f"{self._base}/{where}", headers={"Accept": accept}) as response:
                self._check(response)
                return keep(_only_part(response))

        return self._persistently(once)

    def store(self, path: Path) -> Answer:
        """Store one file by STOW-RS (PS3.18 clause 10.5), as it is; what the server says of it."""
        head = f"--{_PART}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{_PART}--\r\n".encode()
        headers = {
            "Accept": "application/dicom+json",
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={_PART}',
            "Content-Length": str(len(head) + path.stat().st_size + len(tail)),
        }

        def body() -> Iterator[bytes]:
            yield head
            with path.open("rb") as stream:
                yield from iter(lambda: stream.read(1 << 20), b"")
            yield tail

        def once() -> Answer:
            response = self._client.post(f"{self._base}/studies", content=body(), headers=headers)
            if response.status_code not in _STORED:
                self._check(response)
            return stow_answer(response.status_code, response.content)

        return self._persistently(once)

    def _listed(self, where: str, query: Mapping[str, str], key: str) -> Iterator[dict[str, Any]]:
        """All pages. A server that ignores ``offset`` sends the same again: each UID counts once."""
        seen: set[str] = set()
        offset = 0
        while True:
            page = self._page(where, {**query, "limit": str(_PAGE), "offset": str(offset)})
            fresh = [found for found in page if str(_value(found, key)) not in seen]
            for found in fresh:
                seen.add(str(_value(found, key)))
                yield found
            offset += len(page)
            if not fresh:
                return

    def _page(self, where: str, query: Mapping[str, str]) -> Sequence[dict[str, Any]]:
        def once() -> Sequence[dict[str, Any]]:
            response = self._client.get(
                f"{self._base}/{where}", params=dict(query), headers={"Accept": "application/dicom+json"}
            )
            if response.status_code == httpx.codes.NO_CONTENT:
                return []
            self._check(response)
            found = response.json()
            if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
                raise SourceError("the DICOMweb server's answer is no list of DICOM JSON: is the address its base?")
            return found

        return self._persistently(once)

    def _persistently(self, once: Callable[[], _T]) -> _T:
        """Do it again, later and later, while the server is busy or out of reach."""
        for attempt in range(_ATTEMPTS):
            try:
                return once()
            except _Busy as busy:
                error, pause = busy.told, busy.seconds
            except (httpx.TransportError, httpx.DecodingError) as broken:
                error, pause = SourceError(f"the DICOMweb server cannot be reached ({type(broken).__name__})"), None
            except ValueError as broken:
                raise SourceError("the DICOMweb server's answer is not JSON: is the address its base?") from broken
            if attempt == _ATTEMPTS - 1 or self._closed.is_set():
                raise error
            self._wait(pause if pause is not None else _back_off(attempt))
        raise AssertionError

    @staticmethod
    def _check(response: httpx.Response) -> None:
        status = response.status_code
        if status in (401, 403):
            raise SourceError(f"the DICOMweb server refuses these credentials (HTTP {status}): set CELLSCAN_DICOMWEB_*")
        if status in _BUSY:
            raise _Busy(SourceError(f"the DICOMweb server is busy or broken (HTTP {status})"), _retry_after(response))
        if status != httpx.codes.OK:
            raise SourceError(f"the DICOMweb server answers HTTP {status}: is the address its base?")


class _Busy(Exception):
    def __init__(self, told: SourceError, seconds: float | None) -> None:
        super().__init__(str(told))
        self.told, self.seconds = told, seconds


def checked_address(address: str) -> str:
    """The base address without a slash at its end.

    Raises:
        SourceError: not HTTP(S), or with a password in it, which would end up in logs.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceError("expected the address of a DICOMweb server: https://host/path")
    if parts.username or parts.password:
        raise SourceError("put no password into the address: set CELLSCAN_DICOMWEB_USER and CELLSCAN_DICOMWEB_PASSWORD")
    if parts.query or parts.fragment:
        raise SourceError("the address of a DICOMweb server has no query: choose studies with --where")
    return address.rstrip("/")


def _only_part(response: httpx.Response) -> Iterator[bytes]:
    """The bytes of the single part of a multipart/related answer, or of a plain ``application/dicom`` one."""
    kind = response.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/"):
        if kind and not kind.lower().startswith(_PLAIN):  # a page to log in at is no instance, and would stay for one
            raise SourceError(f"the DICOMweb server's answer is no instance: expected one of {', '.join(_PLAIN)}")
        yield from _bounded(response.iter_bytes(1 << 16))
        return
    match = _BOUNDARY.search(kind)
    if match is None:
        raise SourceError("the DICOMweb server's multipart answer states no boundary")
    yield from _bounded(_part(response.iter_bytes(1 << 16), match.group(1).encode()))


def _part(blocks: Iterator[bytes], boundary: bytes) -> Iterator[bytes]:
    """RFC 2046: headers end at an empty line, the body before CRLF--boundary. Held back: what may start one."""
    end = b"\r\n--" + boundary
    held = b""
    for block in blocks:
        held += block
        if (at := held.find(b"\r\n\r\n")) >= 0:
            held = held[at + 4 :]
            break
        if len(held) > 1 << 16:
            raise SourceError("the DICOMweb server's multipart answer has no body")
    while True:
        if (at := held.find(end)) >= 0:
            yield held[:at]
            return
        safe = len(held) - len(end)
        if safe > 0:
            yield held[:safe]
            held = held[safe:]
        more = next(blocks, None)
        if more is None:
            raise httpx.RemoteProtocolError("the answer ends inside its body")
        held += more


def _bounded(blocks: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for block in blocks:
        total += len(block)
        if total > _LARGEST_INSTANCE:
            raise SourceError(f"an instance is larger than {_LARGEST_INSTANCE >> 30} GiB")
        yield block


def _value(found: Mapping[str, Any], tag: str) -> Any:
    """The first value of an attribute in DICOM JSON (PS3.18 annex F).

    Raises:
        SourceError: a UID that is asked for is missing.
    """
    stated = found.get(tag)
    values = stated.get("Value") if isinstance(stated, dict) else None
    first = values[0] if isinstance(values, list) and values else None
    if first is None and tag != _COUNT:
        raise SourceError(f"the DICOMweb server lists something without attribute {tag}")
    return first


def _uid(uid: str) -> str:
    return quote(uid, safe="")


def _retry_after(response: httpx.Response) -> float | None:
    stated = response.headers.get("retry-after", "")
    return min(float(stated), _LONGEST_WAIT_SECONDS) if stated.isdigit() else None


def _back_off(attempt: int) -> float:
    return min(_FIRST_WAIT_SECONDS * 2**attempt, _LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.0)
