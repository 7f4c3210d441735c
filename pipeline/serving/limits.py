"""What a server takes on."""

from __future__ import annotations

from dataclasses import dataclass

WAITING = 256
"""Photos that may wait for their labels."""
FACES = 50
"""Faces of a photo that are labelled, beside the one that counts as its own."""
CONNECTIONS = 512
"""Connections that may be open."""
QUIET_SECONDS = 20
"""How long a connection may be open without a whole request's head, or without reading what it asked for."""
REPLY_SECONDS = 120
"""How long a request may wait for its labels."""
END_SECONDS = 10
"""How long requests may go on when the server is told to end."""


@dataclass(frozen=True)
class Limits:
    """megabytes: of a request; photos: in a request; seconds: to send a request.

    megapixels: of a photo; None where decoding has its own limit.
    """

    megabytes: float = 20
    photos: int = 32
    seconds: float = 30
    megapixels: float | None = None

    @property
    def bytes(self) -> int:
        return round(self.megabytes * 1e6)

    @property
    def held(self) -> int:
        """Bytes of all requests that are read or wait at a time."""
        return max(256_000_000, 2 * self.bytes)
