import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.network.answers import Answer, store_answer, stow_answer
from pipeline.sources.network.dicomweb import Access, DicomWeb
from pipeline.sources.network.listener import Listener, ListenerOptions
from pipeline.sources.network.sending import send
from pipeline.sources.network.storing import StoreUser
from tests.sources.written import oblique_slice, write

ADDRESS = "https://pacs.example/dicom-web"


@pytest.fixture
def files(tmp_path) -> list[Path]:
    return [write(oblique_slice(k, np.zeros((8, 12), np.int16)), tmp_path / f"{k}.dcm") for k in range(3)]


class Server:
    """Gives ``answers`` one after the other, the last one for ever; an error is raised."""

    def __init__(self, *answers: Answer | SourceError) -> None:
        self.answers, self.stored = list(answers), []

    def store(self, path: Path) -> Answer:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, SourceError):
            raise answer
        self.stored.append(path.name)
        return answer

    def close(self) -> None: ...


def test_what_was_stored_is_not_sent_again_and_what_failed_is(files, tmp_path):
    server = Server(Answer("stored"), SourceError("out of reach"), Answer("duplicate"))
    first = send(files, ADDRESS, server, tmp_path)
    assert [(one.outcome, one.reason) for one in first] == [
        ("stored", ""),
        ("failed", "out of reach"),
        ("duplicate", ""),
    ]
    again = Server(Answer("stored"))
    second = send(files, f"{ADDRESS}/", again, tmp_path)
    assert again.stored == ["1.dcm"]
    assert [one.before for one in second] == [True, False, True]


def test_another_server_gets_everything(files, tmp_path):
    send(files, ADDRESS, Server(Answer("stored")), tmp_path)
    other = Server(Answer("stored"))
    send(files, "dicom://PACS@host:104", other, tmp_path)
    assert len(other.stored) == 3


def test_a_ledger_cut_short_by_a_kill_costs_one_file_only(files, tmp_path):
    send(files[:2], ADDRESS, Server(Answer("stored")), tmp_path)
    (ledger,) = (tmp_path / "sent").glob("*.jsonl")
    ledger.write_bytes(ledger.read_bytes()[:-20])
    server = Server(Answer("stored"))
    send(files[:2], ADDRESS, server, tmp_path)
    assert server.stored == ["1.dcm"]
    assert len(send(files[:2], ADDRESS, Server(SourceError("")), tmp_path)) == 2
    assert all(one.before for one in send(files[:2], ADDRESS, Server(SourceError("")), tmp_path))


def test_answers_by_status():
    assert store_answer(0) == Answer("stored")
    assert store_answer(0xB007).outcome == "stored"
    assert store_answer(0x0111) == Answer("duplicate")
    assert store_answer(0xA700).busy
    assert store_answer(0xC000).outcome == "failed"
    assert stow_answer(200, b"{}") == Answer("stored")
    assert stow_answer(409, b"<xml/>").reason == "refused (HTTP 409)"
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [273]}}]}}
    assert stow_answer(202, json.dumps(failed).encode()) == Answer("duplicate")


def test_stow_sends_the_file_as_it_is_and_waits_for_a_busy_server(files, monkeypatch):
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.read())
        return httpx.Response(503 if len(asked) == 1 else 200, json={})

    monkeypatch.setattr(Access, "client", lambda self, connections: httpx.Client(transport=httpx.MockTransport(answer)))
    waited: list[float] = []
    server = DicomWeb(ADDRESS, Access(), wait=waited.append)
    assert server.store(files[0]) == Answer("stored")
    assert len(waited) == 1
    assert asked[0] == asked[1]
    assert files[0].read_bytes() in asked[0]
    server.close()


def test_c_store_brings_files_to_a_listener(files, tmp_path):
    with Listener(tmp_path / "received", ListenerOptions(port=0)) as listener:
        user = StoreUser(f"dicom://CELLSCAN@127.0.0.1:{listener.port}", Access())
        assert [user.store(path) for path in files] == [Answer("stored")] * 3
        user.close()
        assert listener.stored == 3


# pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_entity_out_of_reach_is_an_error_after_some_attempts(files):
    waited: list[float] = []
    user = StoreUser("dicom://PACS@127.0.0.1:9", Access(), wait=waited.append)
    with pytest.raises(SourceError, match="cannot be reached"):
        user.store(files[0])
    assert len(waited) == 5


@pytest.mark.parametrize("address", ["dicom://host:104", "dicom://PACS@host", "dicom://SEVENTEEN-LETTERS@host:104"])
def test_an_address_without_title_or_port_is_refused(address):
    with pytest.raises(SourceError):
        StoreUser(address, Access())
