"""The HTTP service: a page for people, and POST /label for programs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from models.labels import MASK_WORDS, MASKS
from pipeline.report.theme import variables
from pipeline.serving.batcher import Batcher, BusyError, Labels, Reply
from pipeline.serving.gate import Gate
from pipeline.serving.limits import END_SECONDS, REPLY_SECONDS, WAITING, Limits
from pipeline.serving.metrics import Metrics
from pipeline.serving.openapi import description
from pipeline.serving.uploads import RefusedError, Uploads

PAGE = Path(__file__).with_name("page")
FILES = {"/": ("ask.html", "text/html"), "/ask.css": ("ask.css", "text/css"), "/ask.js": ("ask.js", "text/javascript")}
TURN_BACK = {404: "there is nothing at this address", 405: "this address takes no such request"}
Handler = Callable[[Request], Awaitable[Response]]


class Service:
    """Labels for whoever asks. about: what the page and programs are told of the run, as plain values."""

    def __init__(self, labels: Labels, threads: int, limits: Limits, about: dict[str, Any]):
        self.metrics, self.uploads = Metrics(), Uploads(limits)
        self.batcher = Batcher(labels, threads, WAITING, self.metrics.predicted)
        told = {"megabytes": limits.megabytes, "photos": limits.photos, "megapixels": limits.megapixels}
        self.about = about | {"limits": told, "words": dict(zip(MASKS, MASK_WORDS, strict=True))}
        self.description = description(limits)

    def application(self, names: Sequence[str]) -> ASGIApp:
        """The ASGI application. names: of the hosts that it is asked under."""

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            self.batcher.start()
            yield
            await asyncio.to_thread(self.batcher.close, END_SECONDS)

        routes = [Route(path, _sent(*file)) for path, file in FILES.items()]
        routes += [
            Route("/label", self._label, methods=["POST"]),
            Route("/about", self._about),
            Route("/health", self._health),
            Route("/openapi.json", self._description),
            Route("/metrics", self._metrics),
        ]
        refusals = {HTTPException: _refused, Exception: _failed}
        app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=refusals)
        app.router.redirect_slashes = False
        return Gate(app, names, self.metrics.replied)

    async def _about(self, _: Request) -> Response:
        return JSONResponse(self.about)

    async def _description(self, _: Request) -> Response:
        return JSONResponse(self.description)

    async def _health(self, _: Request) -> Response:
        wait = self.batcher.longest_wait
        well = wait < REPLY_SECONDS
        told = {"status": "ok" if well else "stuck", "waiting": self.batcher.waiting, "longest_wait": round(wait, 1)}
        return JSONResponse(told, 200 if well else 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.metrics.text(self.batcher.waiting), media_type=self.metrics.TYPE)

    async def _label(self, request: Request) -> Response:
        """POST /label: photos in, a reply for each. 422 where none of them has a label."""
        began = time.perf_counter()
        try:
            replies = await self._replies(request)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except asyncio.CancelledError:
            return _error(503, "the server is ending; send these photos again when it is back.")
        except RefusedError as refused:
            return _error(refused.status, str(refused))
        for one in replies:
            self.metrics.photo("error" not in one, len(one.get("faces", [])))
        self.metrics.took(time.perf_counter() - began)
        return JSONResponse({"photos": replies}, 200 if any("error" not in one for one in replies) else 422)

    async def _replies(self, request: Request) -> list[Reply]:
        photos, size = await self.uploads.read(request)
        asked: list[asyncio.Future[Reply]] = []
        gone = asyncio.ensure_future(_gone(request))
        try:
            asked = [asyncio.wrap_future(reply) for reply in self.batcher.ask(photos)]
            del photos  # each is forgotten when it is decoded
            all_of_them = asyncio.gather(*asked, return_exceptions=True)
            async with asyncio.timeout(REPLY_SECONDS):
                await asyncio.wait((all_of_them, gone), return_when=asyncio.FIRST_COMPLETED)
            if not all_of_them.done():
                raise ClientDisconnect
            for fault in all_of_them.result():
                if isinstance(fault, BaseException):
                    raise fault
            return all_of_them.result()
        except BusyError:
            raise RefusedError(
                503, "too many photos wait for their labels; send these again in a few seconds."
            ) from None
        except TimeoutError:
            raise RefusedError(503, f"no label came within {REPLY_SECONDS} seconds; send these again later.") from None
        finally:
            for one in (gone, *asked):
                one.cancel()
            self.uploads.let_go(size)


async def _gone(request: Request) -> None:
    """Waits until the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _sent(name: str, media_type: str) -> Handler:
    """A route that sends a file of the page; the colours of the report stand before its style."""
    content = (PAGE / name).read_text(encoding="utf-8")
    if media_type == "text/css":
        content = variables() + content

    async def reply(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return reply


def _error(status: int, sentence: str) -> JSONResponse:
    again = {"Retry-After": "2"} if status == 503 else {}
    return JSONResponse({"error": sentence}, status, headers=again)


async def _refused(request: Request, problem: Exception) -> Response:
    """A request for what there is not."""
    status = problem.status_code
    told = TURN_BACK.get(status, str(problem.detail))
    return JSONResponse({"error": f"{told}; /openapi.json says what there is."}, status, headers=problem.headers)


async def _failed(request: Request, problem: Exception) -> Response:
    """A fault of ours, which is also logged."""
    return _error(500, "something went wrong here, and was written down where the server runs.")
