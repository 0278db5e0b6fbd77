import pytest
from prefect.states import Failed

from flows.retry import may_pass
from pipeline.errors import DatasetError, TrackingError


def _caused_by(cause):
    error = TrackingError("MLflow was asked for something")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (_caused_by(ConnectionRefusedError()), True),
        (TrackingError("files of cells/1 have digest a, registered was b"), False),
        (TrackingError("run key is being worked on by another cellscan process"), False),
        (_caused_by(OSError(28, "No space left on device")), False),
        (DatasetError("too few"), False),
    ],
)
def test_only_a_server_that_did_not_answer_is_asked_again(error, again):
    assert may_pass(None, None, Failed(data=error)) is again
