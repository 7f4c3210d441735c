"""The photos of a request, in memory and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from pipeline.dataset.reach import PhotoBytes
from pipeline.serving.limits import Limits

RAW = ("image/", "application/octet-stream")
"""Content types of a body that is one photo."""
WAY = (
    "send photos as multipart/form-data (curl -F photo=@a.jpg), or one photo as the body with its content type, as "
    "image/jpeg"
)


class RefusedError(Exception):
    """A request that gets no labels: its HTTP status, and a sentence that says why and what to do."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status


class Uploads:
    """Reads requests within limits. held: bytes of bodies that are in memory now."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.held = 0

    async def read(self, request: Request) -> tuple[list[PhotoBytes], int]:
        """The photos of a request, and how many bytes to `let_go` of when they have their reply.

        Raises RefusedError for what is no photos, too much, or too slow.
        """
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > self.limits.bytes:
            raise self._too_large()
        body = _Body(self, request)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await self._photos(request, body), body.size
        except BaseException as problem:
            self.let_go(body.size)
            if isinstance(problem, TimeoutError):
                raise RefusedError(
                    408, f"the request took longer than {self.limits.seconds:g} seconds to arrive; send it again."
                ) from None
            raise

    def let_go(self, size: int) -> None:
        self.held -= size

    async def _photos(self, request: Request, body: _Body) -> list[PhotoBytes]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind.startswith(RAW):
            content = b"".join([piece async for piece in body.pieces()])
            if not content:
                raise RefusedError(400, f"there is no photo in the request; {WAY}.")
            return [PhotoBytes(content, request.query_params.get("name", "photo"))]
        if kind != "multipart/form-data":
            raise RefusedError(415, f"a body of the type {kind[:60] or 'none'} is no photo; {WAY}.")
        boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
        if not boundary.isascii() or not boundary:
            raise RefusedError(400, f"the form cannot be read (it has no boundary); {WAY}.")
        told = Headers({"content-type": f'multipart/form-data; boundary="{boundary.decode()}"'})  # and no charset
        async with aclosing(body.pieces()) as pieces:
            parser = _InMemory(told, pieces, max_files=self.limits.photos, max_fields=self.limits.photos)
            try:
                form = await parser.parse()
            except MultiPartException as problem:
                if "Too many files" in problem.message:
                    raise RefusedError(
                        413, f"a request takes at most {self.limits.photos} photos; send the others in further ones."
                    ) from None
                raise RefusedError(400, f"the form cannot be read ({problem.message.rstrip('.')}); {WAY}.") from None
        files = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
        if not files:
            raise RefusedError(400, f"there is no photo in the form; {WAY}.")
        photos = [PhotoBytes(await one.read(), one.filename or "photo") for one in files]
        await form.close()
        return photos

    def _too_large(self) -> RefusedError:
        return RefusedError(
            413,
            f"the request has more than the {self.limits.megabytes:g} megabytes that this server takes; send fewer "
            f"photos at a time, or smaller ones.",
        )


class _Body:
    """A request's body in pieces, counted while they come."""

    def __init__(self, uploads: Uploads, request: Request):
        self._uploads, self._request = uploads, request
        self.size = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        async for piece in self._request.stream():
            self.size += len(piece)
            self._uploads.held += len(piece)
            if self.size > self._uploads.limits.bytes:
                raise self._uploads._too_large()
            if self._uploads.held > self._uploads.limits.held:
                raise RefusedError(503, "too many photos are being sent at once; send these again in a few seconds.")
            yield piece


class _InMemory(MultiPartParser):
    """Starlette's, which else writes whatever is larger than a megabyte to a disk."""

    spool_max_size = 1 << 40
