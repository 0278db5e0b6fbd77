"""Questions to MLflow whose failure the user sees as one message, and which of the failures may pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.error import HTTPError, URLError

from mlflow.exceptions import MlflowException, RestException
from mlflow.store.entities import PagedList
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from pipeline.errors import TrackingError

T = TypeVar("T")
_TOO_MANY_REQUESTS = 429


@contextmanager
def asking(what: str) -> Iterator[None]:
    """MLflow is asked for ``what`` inside the block.

    Raises:
        TrackingError: it did not do it; the message says what was asked and what came.
    """
    try:
        yield
    # OSError: artifacts travel by other ways than the rest, and their failures are no MlflowException.
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise TrackingError(f"MLflow was asked {what}; there came: {first_line(error)}") from error


def everything(search: Callable[[str | None], PagedList[T]]) -> list[T]:
    """All pages of a search that takes the token of a page, or ``None`` for the first."""
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found.extend(page)
    return found


def is_absent(error: MlflowException, alias: str | None = None) -> bool:
    """Whether MLflow knows that there is no such thing, which is not the same as not knowing."""
    # A name that is there without the alias is refused as a wrong parameter.
    absent_alias = alias is not None and error.error_code == "INVALID_PARAMETER_VALUE" and "not found" in error.message
    return error.error_code == "RESOURCE_DOES_NOT_EXIST" or absent_alias


def may_pass(error: TrackingError) -> bool:
    """Whether the same question may be answered later: nobody answered, or the server failed by its own word."""
    cause = error.__cause__
    if isinstance(cause, MlflowException):
        return _is_of_the_server(cause)
    if isinstance(cause, HTTPError):
        return _may_pass_with(cause.code)
    if isinstance(cause, OSError) and hasattr(cause, "response"):  # of requests, by which artifacts travel
        return cause.response is None or _may_pass_with(cause.response.status_code)
    return isinstance(cause, OperationalError | URLError | ConnectionError | TimeoutError)


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its name, if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _is_of_the_server(error: MlflowException) -> bool:
    # INTERNAL_ERROR is what MLflow says where it says nothing better, also for what stays (an old database).
    if error.error_code == "INTERNAL_ERROR":
        return isinstance(error, RestException) or error.message.startswith("API request to ")
    return _may_pass_with(error.get_http_status_code())


def _may_pass_with(status: int) -> bool:
    return status >= 500 or status == _TOO_MANY_REQUESTS
