"""How many scans, and how many bytes of them, may be on their way at once."""

import threading
from collections.abc import Callable

_PAUSE_SECONDS = 1.0


class RoomClosed(Exception):
    """The run is ending: nothing more is to come in."""


class Room:
    """A scan enters before it is read and leaves when its result is written. Any thread may call.

    One that is larger than the room enters when it is empty. One that enters ``alone`` shares it with no other: should
    it take the process down, none is blamed with it.
    """

    def __init__(self, scans: int, size: int) -> None:
        self._most, self._size = scans, size
        self._inside = self._taken = 0
        self._alone = self._closed = False
        self._changed = threading.Condition()

    def await_opening(self) -> None:
        """Wait until there is a place for another scan, of whatever size.

        Raises:
            RoomClosed: it is not to come in at all.
        """
        with self._changed:
            self._wait(lambda: self._inside < self._most and not self._alone)

    def enter(self, size: int, alone: bool = False) -> None:
        """Wait until ``size`` bytes fit in, and take them.

        Raises:
            RoomClosed: it is not to come in at all.
        """
        with self._changed:
            self._wait(lambda: self._inside == 0 or (not alone and self._fits(size)))
            self._inside, self._taken, self._alone = self._inside + 1, self._taken + size, alone

    def leave(self, size: int) -> None:
        with self._changed:
            self._inside, self._taken, self._alone = self._inside - 1, self._taken - size, False
            self._changed.notify_all()

    def pause(self) -> None:
        """Wait a while: for whoever has no scan to give now and may have one later.

        Raises:
            RoomClosed: it is not to come in at all.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed, _PAUSE_SECONDS)
            self._wait(lambda: True)

    def close(self) -> None:
        """Whoever waits, or comes later, gets `RoomClosed`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        return not self._alone and self._inside < self._most and self._taken + size <= self._size

    def _wait(self, free: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._closed or free())
        if self._closed:
            raise RoomClosed
