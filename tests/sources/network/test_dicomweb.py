"""Against a server written for the test, which misbehaves on demand."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.errors import SourceError
from pipeline.sources.network.dicomweb import Access, DicomWeb, Instance, Study, _part, checked_address
from pipeline.sources.network.mirror import mirror

BODY = b"DICM" * 5000 + b"\r\n--other\r\n\r\n--"


class _Server(ThreadingHTTPServer):
    def __init__(self, count, **faults):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.instances = [f"1.2.3.{n}" for n in range(count)]
        self.faults = faults
        self.asked = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}/dicom-web"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        self.server.asked.append((parts.path, self.headers.get("Authorization")))
        if self.server.faults.get("busy", 0) > 0:
            self.server.faults["busy"] -= 1
            return self._answer(503, b"", "text/plain", {"Retry-After": "7"})
        if self.server.faults.get("status"):
            return self._answer(self.server.faults["status"], b"", "text/plain")
        way = parts.path.removeprefix("/dicom-web/").split("/")
        if len(way) == 6:
            return self._instance(way[-1])
        tags = {1: "0020000D", 3: "0020000E", 5: "00080018"}
        uids = self.server.instances if len(way) == 5 else ["1.2"]
        query = parse_qs(parts.query)
        start = 0 if self.server.faults.get("ignores_offset") else int(query["offset"][0])
        page = uids[start : start + min(int(query["limit"][0]), self.server.faults.get("page", 10**9))]
        listed = [{tags[len(way)]: {"vr": "UI", "Value": [uid]}} for uid in page]
        return self._answer(200, json.dumps(listed).encode(), "application/dicom+json")

    def _instance(self, uid):
        if uid in self.server.faults.get("gone", ()):
            return self._answer(404, b"", "text/plain")
        part = b"--limit\r\nContent-Type: application/dicom\r\n\r\n" + BODY + uid.encode() + b"\r\n--limit--"
        return self._answer(200, part, 'multipart/related; type="application/dicom"; boundary=limit')

    def _answer(self, status, body, kind, more=()):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **dict(more)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def serve():
    running = []

    def start(count, **faults):
        running.append(_Server(count, **faults))
        return running[-1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def _files(result):
    return sorted(path.read_bytes().removeprefix(BODY).decode() for path in result.root.rglob("*.dcm"))


def test_every_instance_comes_once_over_many_pages(serve, tmp_path):
    server = serve(450, page=100)
    result = mirror(server.address, tmp_path, Access())
    assert (result.studies, result.fetched, result.failed) == (1, 450, {})
    assert _files(result) == sorted(server.instances)


def test_a_server_that_ignores_the_offset_ends(serve):
    server = serve(50, ignores_offset=True)
    client = DicomWeb(server.address, Access())
    assert [one.uid for one in client.instances(Study("1.2"))] == server.instances
    client.close()


def test_what_is_here_is_not_fetched_again(serve, tmp_path):
    server = serve(5)
    mirror(server.address, tmp_path, Access())
    server.instances.append("1.2.3.99")
    assert mirror(server.address, tmp_path, Access()).fetched == 1


def test_a_busy_server_is_asked_again_when_it_says(serve):
    server = serve(3, busy=2)
    waited = []
    client = DicomWeb(server.address, Access(), wait=waited.append)
    assert len(list(client.studies({}))) == 1
    assert waited == [7.0, 7.0]
    client.close()


def test_a_server_that_stays_busy_is_given_up_after_growing_pauses(serve):
    server = serve(3, status=500)
    waited = []
    client = DicomWeb(server.address, Access(), wait=waited.append)
    with pytest.raises(SourceError, match="busy or broken"):
        list(client.studies({}))
    assert len(waited) == 5
    assert all(later > sooner for sooner, later in zip(waited, waited[2:], strict=False))
    client.close()


def test_an_instance_that_is_gone_costs_only_itself(serve, tmp_path):
    server = serve(10, gone=("1.2.3.4",))
    result = mirror(server.address, tmp_path, Access())
    assert result.fetched == 9
    assert list(result.failed.values()) == [1]
    assert "404" in next(iter(result.failed))


@pytest.mark.parametrize(
    ("access", "header"),
    [(Access(user="u", password="p"), "Basic dTpw"), (Access(token="abc"), "Bearer abc"), (Access(), None)],
)
def test_credentials_are_sent_as_they_should(serve, access, header):
    server = serve(1)
    client = DicomWeb(server.address, access)
    list(client.studies({}))
    assert {asked for _, asked in server.asked} == {header}
    client.close()
    assert "abc" not in repr(access)
    assert "'p'" not in repr(access)


def test_refused_credentials_are_not_tried_again(serve):
    server = serve(1, status=401)
    client = DicomWeb(server.address, Access())
    with pytest.raises(SourceError, match="refuses these credentials"):
        list(client.studies({}))
    assert len(server.asked) == 1
    client.close()


def test_certificates_are_verified_unless_told_otherwise():
    assert Access().verify
    assert Access.from_environment().verify


@pytest.mark.parametrize("address", ["ftp://host/x", "https://user:pw@host/x", "https:///x", "https://host/x?a=b"])
def test_addresses_that_are_none(address):
    with pytest.raises(SourceError, match=r"DICOMweb|password"):
        checked_address(address)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10**6])
def test_a_part_is_cut_out_whatever_the_blocks(size):
    whole = b"--b\r\nContent-Type: x\r\n\r\n" + BODY + b"\r\n--b--\r\n"
    blocks = (whole[start : start + size] for start in range(0, len(whole), size))
    assert b"".join(_part(blocks, b"b")) == BODY


def test_an_answer_that_ends_early_is_an_error(serve, tmp_path):
    with pytest.raises(Exception, match="ends inside"):
        list(_part(iter([b"--b\r\n\r\n\r\nhalf"]), b"b"))
    instance = Instance("1.2", "1.2.1", "1.2.3")
    assert "1.2.3" not in repr(instance)
