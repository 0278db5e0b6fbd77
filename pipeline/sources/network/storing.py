"""A C-STORE user (DICOM PS3.4 annex B): ``dicom://CALLED@host:port``, ``dicoms://`` over TLS."""

import logging
import random
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import SourceError
from pipeline.sources.dicom.elements import HandOver, scan_header, scan_meta
from pipeline.sources.dicom.header import text
from pipeline.sources.network.answers import Answer, store_answer
from pipeline.sources.network.dicomweb import Access

_ATTEMPTS = 6
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_TITLE = 16


class StoreUser:
    """One application entity to send to; an association is kept open for instances of one class and syntax.

    Args:
        address: ``dicom://AET@host:port``, ``dicoms://…`` over TLS.
        access: its authorities, and whether certificates are verified; DICOM's protocol has no passwords.
        title: of this side.
        wait: sleeps between attempts (given by tests).

    Raises:
        SourceError: the address is none.
    """

    def __init__(
        self, address: str, access: Access, title: str = "CELLSCAN", wait: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("dicom", "dicoms") or not (parts.username and parts.hostname and parts.port):
            raise SourceError("expected dicom://AET@host:port")
        if len(parts.username) > _LONGEST_TITLE or parts.password:
            raise SourceError("an application entity has a title of at most 16 characters, and no password")
        self._where = parts.hostname, parts.port, parts.username
        self._tls = _context(access) if parts.scheme == "dicoms" else None
        self._title, self._wait = title, wait
        self._association: Any = None
        self._context: tuple[str, str] | None = None

    def close(self) -> None:
        if self._association is not None and self._association.is_established:
            self._association.release()
        self._association = None

    def store(self, path: Path) -> Answer:
        """Store one file, again and later while the other side is busy or out of reach.

        Raises:
            SourceError: it cannot be reached.
        """
        context = _kind(path)
        error = SourceError("the application entity cannot be reached, or does not take this side's title")
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._wait(min(_FIRST_WAIT_SECONDS * 2**attempt, 30.0) * random.uniform(0.5, 1.0))
            if not self._associated(context):
                continue
            if not self._association.accepted_contexts:
                return Answer("failed", "the application entity does not take objects of this class")
            try:
                status = self._association.send_c_store(str(path)).get("Status")
            except (RuntimeError, ValueError) as broken:
                self._association.abort()
                error = SourceError(f"the association broke ({type(broken).__name__})")
                continue
            if status is None:  # the other side went away in the middle
                continue
            answer = store_answer(int(status))
            if not answer.busy:
                return answer
            error = SourceError("the application entity is out of resources")
        raise error

    def _associated(self, context: tuple[str, str]) -> bool:
        from pynetdicom import AE

        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what went wrong is told by `store`
        if self._association is not None and self._association.is_established and self._context == context:
            return True
        self.close()
        entity = AE(ae_title=self._title)
        entity.add_requested_context(*context)
        host, port, called = self._where
        tls = None if self._tls is None else (self._tls, host)
        self._association = entity.associate(host, port, ae_title=called, tls_args=tls)
        self._context = context
        # An entity that accepts nobody's contexts aborts: that is an answer, and no failure to reach it.
        return bool(self._association.is_established or self._association.rejected_contexts)


def _kind(path: Path) -> tuple[str, str]:
    """SOP class and transfer syntax of a file.

    Raises:
        SourceError: it is no DICOM file with a meta group.
    """
    try:
        return text(scan_header(path, ("SOPClassUID",)), "SOPClassUID"), scan_meta(path)[1]
    except (HandOver, OSError) as error:
        raise SourceError("only DICOM files with preamble and file meta group can be sent") from error


def _context(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=access.ca)
    if not access.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
