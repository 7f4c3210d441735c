"""python -m pipeline serve: a page to ask about photos, and the same for programs."""

from __future__ import annotations

import ipaddress
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from models.declared import setting
from models.errors import UserError, listed
from pipeline.run.folder import Run, open_run
from pipeline.run.settings import SystemStage
from pipeline.runtime.problems import show

if TYPE_CHECKING:
    from pipeline.serving.labeller import Labeller

NEEDED = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}
"""What the optional extra page brings: modules, and the packages that they come in."""
LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names of this machine for itself."""
NAME = re.compile(r"[a-z0-9_.-]+|[0-9a-f]*:[0-9a-f:.]+", re.IGNORECASE)
"""A name of a host, or an address; no port."""


@dataclass(frozen=True, kw_only=True)
class Serve(SystemStage):
    """What the stage serve is told."""

    host: str = setting("The address to listen at; 127.0.0.1 is for this machine alone.", "127.0.0.1")
    port: int = setting("The port to listen at; 0 for any that is free.", 8018, least=0, most=65535)
    names: str | None = setting(
        "Names of hosts that the server is asked under, with commas between them; under others it refuses.",
        None,
        usual="localhost and the address always",
    )
    megabytes: float = setting("Of a request, at most.", 20.0, above=0, most=1000)
    photos_each: int = setting("Photos in a request, at most.", 32, least=1, most=256)
    megapixels: float | None = setting(
        "Of a photo, at most.", None, above=0, usual="50.4, and a JPEG of more is reduced, as everywhere"
    )
    seconds: float = setting("That a request may take to arrive.", 30.0, above=0, most=3600)
    threads: int | None = setting("Processor threads.", None, least=1, usual="all cores")


def serve(settings: Serve) -> dict[str, Any]:
    """Answer about photos in a browser and for programs (POST /label), until Ctrl-C; nothing is stored."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise UserError(f"serve needs {listed(missing)}; run make setup, or pip install {' '.join(missing)}.")
    names = _names(settings.names)
    run = open_run(settings, make=False)
    import joblib

    from pipeline.serving.limits import Limits
    from pipeline.serving.listening import Server, bound

    with bound(settings.host, settings.port) as listener:
        address, port = listener.getsockname()[:2]
        if ipaddress.ip_address(address).is_unspecified and not names:
            raise UserError(
                f"--host {settings.host} is every address of this machine; say under which names it is asked, as in "
                f"--names photos.example.org."
            )
        threads = settings.threads or joblib.cpu_count()
        labeller = _labeller(run, run.system(settings), threads)
        from pipeline.serving.service import Service
        from pipeline.serving.strangers import ForStrangers

        limits = Limits(settings.megabytes, settings.photos_each, settings.seconds, settings.megapixels)
        about = {"run": run.folder.name, "bands": labeller.told(), "boxed": labeller.boxed}
        service = Service(ForStrangers(labeller, settings.megapixels), threads, limits, about)
        shown = (*names, address)[0]
        shown = f"[{shown}]" if ":" in shown else shown
        print(f"serve: http://{shown}:{port} answers for {run.folder}; Ctrl-C ends it", flush=True)
        Server.of(service.application([*LOCAL, address, settings.host, *names])).run([listener])
    counted = {name: round(service.metrics.total(name)) for name in ("requests", "photos")}
    print(f"serve: ended after {counted['requests']} requests, {counted['photos']} photos")
    return counted


def _names(told: str | None) -> list[str]:
    """The names of hosts that were given. Raises UserError for what is none."""
    names = [] if told is None else [name.strip() for name in told.split(",")]
    for name in names:
        if not NAME.fullmatch(name):
            raise UserError(
                f"--names {told}: {show(name)} is no name of a host; give names without http:// and port, with one "
                f"comma between two, as in a.org,b.org."
            )
    return names


def _labeller(run: Run, system: str, threads: int) -> Labeller:
    """A run's labeller, with its networks kept converted where that can be."""
    from pipeline.runtime.gpu import has_gpu
    from pipeline.serving.labeller import Labeller, keep_networks

    found = Labeller.of_run(run, system, threads)
    if found.kept or has_gpu():
        return found
    try:
        if not keep_networks(run, system):
            return found
    except Exception as problem:  # torch and OpenVINO raise whatever they raise, and torch answers too
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        print(f"serve: the networks could not be kept converted ({first}); torch answers", file=sys.stderr)
        return found
    return Labeller.of_run(run, system, threads)
