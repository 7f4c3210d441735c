"""Who may ask: pages and programs that name this server as it is called, and no other site's pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import listed

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self)",
    "Cache-Control": "no-store",
}
"""Of every reply: a browser asks nobody else, runs nothing but the page's own script, and keeps nothing."""
HOST = re.compile(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
"""A name or an address, and perhaps a port."""


class Gate:
    """Refuses requests under other hosts' names (a site may let its name point here) and from other sites' pages.

    replied: told the status of every reply.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str], replied: Callable[[int], None] = lambda status: None):
        self.app = app
        self.names = {name.lower() for name in names}
        self.replied = replied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
                self.replied(message["status"])
            await send(message)

        refused = self._refused(Headers(scope=scope))
        await (refused or self.app)(scope, receive, send_with_headers)

    def _refused(self, headers: Headers) -> JSONResponse | None:
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        found = HOST.fullmatch(host)
        if found is None or found[1].strip("[]") not in self.names:
            return _said(421, f"this server is asked as {listed(sorted(self.names), 'or')}, and under no other name.")
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host:
            return _said(403, "pages of other sites may not ask this server.")
        return None


def _place(origin: str) -> str:
    """Host and port of an Origin header; nothing where it names none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _said(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)
