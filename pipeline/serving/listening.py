"""A server at a port: bound before anything is loaded, patient with slow clients for a while, ended by Ctrl-C."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from types import FrameType
from typing import Self

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from models.errors import UserError
from pipeline.serving.limits import CONNECTIONS, END_SECONDS, QUIET_SECONDS


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address; port 0 for any that is free. Raises UserError where it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise UserError(f"--host {host}: there is no such address; 127.0.0.1 is this machine.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(CONNECTIONS)  # a second server of this port is told so, where its start would not tell
    except OSError as problem:
        listener.close()
        if problem.errno == errno.EADDRINUSE:
            raise UserError(f"--port {port} of {host} is taken by another program; name another one.") from None
        if problem.errno == errno.EADDRNOTAVAIL:
            raise UserError(f"--host {host} is no address of this machine; 127.0.0.1 is for itself alone.") from None
        raise UserError(f"--port {port} of {host} cannot be had ({problem.strerror}); name one above 1023.") from None
    return listener


class Server(uvicorn.Server):
    """Answers until Ctrl-C or SIGTERM, then what was asked before it, for END_SECONDS; a second one ends it at once."""

    @classmethod
    def of(cls, application: ASGIApp) -> Self:
        config = uvicorn.Config(
            application,
            http=Patient,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=QUIET_SECONDS,
            timeout_graceful_shutdown=END_SECONDS,
        )
        return cls(config)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server as one expects of it, which is no fault to be raised once more."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread():
            numbers = ()
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)  # photos are decoded in threads, which nothing else ends; there is nothing to lose
        self.should_exit = True


class Patient(H11Protocol):
    """Closes quiet connections, on which no whole head of a request comes, or where a reply is not read.

    Each may be quiet for QUIET_SECONDS, even if something comes byte by byte; of more than CONNECTIONS the oldest ends.
    """

    _deadline: asyncio.TimerHandle | None = None
    _opened = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opened = self.loop.time()
        self._watch()
        if len(self.connections) > CONNECTIONS:
            quiet = [one for one in self.connections if one._deadline is not None]
            min(quiet, key=lambda one: one._opened)._end(503, "too many connections are open; come again later.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def _watch(self) -> None:
        """Sets the deadline where none is set and the connection is quiet; takes it away where it is not."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and not self.flow.write_paused:
            self._unwatch()
        elif self._deadline is None and not self.transport.is_closing():
            told = f"no whole request came within {QUIET_SECONDS:g} seconds; send it again."
            self._deadline = self.loop.call_later(QUIET_SECONDS, self._end, 408, told)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self, status: int, sentence: str) -> None:
        """Closes the connection, with a reply to a head that has begun; whatever is not read then is lost."""
        self._unwatch()
        if self.flow.write_paused:
            self.transport.abort()
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            body = json.dumps({"error": sentence})
            head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: application/json"]
            head += [f"Content-Length: {len(body)}", "Connection: close"]
            self.transport.write("\r\n".join([*head, "", body]).encode())
        self.transport.close()
        self.loop.call_later(QUIET_SECONDS, self.transport.abort)  # of who does not read even that
