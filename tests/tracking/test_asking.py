from types import SimpleNamespace
from urllib.error import HTTPError, URLError

import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
)
from sqlalchemy.exc import DatabaseError, OperationalError

from pipeline.errors import TrackingError
from pipeline.tracking.asking import asking, may_pass


def _of_requests(status):
    error = OSError("upload failed")
    error.response = None if status is None else SimpleNamespace(status_code=status)
    return error


def _told(cause):
    with pytest.raises(TrackingError) as told, asking("for something"):
        raise cause
    return told.value


@pytest.mark.parametrize(
    "cause",
    [
        MlflowException("API request to http://mlflow failed with exception: refused"),
        MlflowException("database is locked", TEMPORARILY_UNAVAILABLE),
        RestException({"error_code": "INTERNAL_ERROR", "message": "broken"}),
        URLError("refused"),
        HTTPError("http://mlflow", 503, "busy", {}, None),
        ConnectionResetError("reset"),
        TimeoutError("slow"),
        OperationalError("select", {}, Exception("database is locked")),
        _of_requests(None),
        _of_requests(502),
        _of_requests(429),
    ],
)
def test_a_server_that_does_not_answer_may_answer_later(cause):
    assert may_pass(_told(cause))


@pytest.mark.parametrize(
    "cause",
    [
        MlflowException("Detected out-of-date database schema"),
        MlflowException("no such thing", RESOURCE_DOES_NOT_EXIST),
        MlflowException("wrong", INVALID_PARAMETER_VALUE),
        MlflowException("malformed", BAD_REQUEST),
        HTTPError("http://mlflow", 403, "forbidden", {}, None),
        DatabaseError("select", {}, Exception("file is not a database")),
        OSError(28, "No space left on device"),
        FileNotFoundError("No such artifact"),
        _of_requests(404),
    ],
)
def test_what_was_refused_is_refused_again(cause):
    assert not may_pass(_told(cause))


def test_what_cellscan_itself_found_wrong_stays_wrong():
    assert not may_pass(TrackingError("another cellscan process is at the same work"))


def test_only_the_first_line_of_what_came_is_told():
    assert str(_told(MlflowException("first\nsecond"))) == "MLflow was asked for something; there came: first"
