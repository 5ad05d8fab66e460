"""A TCP proxy on loopback that can cut what goes through it, as a network does."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from enum import Enum


class Cut(Enum):
    """What becomes of a connection."""

    NOTHING = "it goes through"
    REFUSED = "it is closed at once"
    ANSWERS = "what is asked arrives, and no answer comes back"


class Proxy:
    """Forwards connections to `target`; `cut` may be changed at any time, for connections old and new."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self.cut = Cut.NOTHING
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.swallowed = 0
        self._begin(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.cut is Cut.REFUSED:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._guard:
                self._open |= {client, server}
            self._begin(self._forward, client, server, False)
            self._begin(self._forward, server, client, True)

    def _forward(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.cut is Cut.REFUSED:
                    break
                if is_answer and self.cut is Cut.ANSWERS:
                    self.swallowed += 1
                    break
                target.sendall(data)
        self._shut(source, target)

    def _shut(self, *sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        with self._guard:
            self._open -= set(sockets)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._guard:
            still = tuple(self._open)
        self._shut(*still)
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def before(url: str) -> Iterator[Proxy]:
    """A proxy before the server at `url`."""
    host, _, port = url.removeprefix("http://").partition(":")
    made = Proxy((host, int(port)))
    try:
        yield made
    finally:
        made.close()
