"""Who is told that logs grew: told by whichever thread stored records, heard by the node's tasks in trio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tslg.protocol.codec import Link


class Watch:
    """What grew since it was last asked. Made by `Growth.watching`."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._grown: set[Link] = set()

    def add(self, owners: Iterable[Link]) -> None:
        """Note that these logs grew. Called from any thread."""
        with self._lock:
            self._grown.update(owners)
        self._wake()

    def take(self) -> list[Link]:
        """Return the logs that grew since the last call, sorted; a log is named once however often it grew."""
        with self._lock:
            grown, self._grown = sorted(self._grown), set()
        return grown


class Growth:
    """Tells of logs that grew in this process, after what they grew by is durable.

    What another process writes into a store that both use is not told; who must know of that looks now and then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: list[Watch] = []

    def tell(self, owners: Iterable[Link]) -> None:
        """Tell everybody who watches that these logs grew. Called from any thread; never waits."""
        if not self._watches:
            return
        grown = list(owners)
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.add(grown)

    @contextmanager
    def watching(self, wake: Callable[[], None]) -> Iterator[Watch]:
        """Watch for the length of a block; `wake` is called, in the thread that stored, whenever something grew."""
        watch = Watch(wake)
        with self._lock:
            self._watches.append(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.remove(watch)
