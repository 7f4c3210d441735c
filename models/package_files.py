"""Files that come inside an installed Python package: found without running any of it, and checked."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from models.errors import UserError


@dataclass(frozen=True)
class PackageFile:
    """A file of a package: the package's name for pip, where the file lies in it, and its SHA-256.

    what: what it holds, with its verb ("the weights of x come"); otherwise: how to do without ("train from scratch").
    """

    name: str
    file: str
    digest: str
    what: str
    otherwise: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def is_installed(self) -> bool:
        """Whether its package is."""
        found = importlib.util.find_spec(self.module)
        return found is not None and bool(found.submodule_search_locations)

    def path(self) -> Path:
        """Where it lies. Raises UserError where the package is not installed, or has no such file."""
        if not self.is_installed:
            raise UserError(
                f"{self.what} in the package {self.name}, which is not installed; run make setup, or pip install "
                f"{self.name}, or {self.otherwise}."
            )
        path = Path(importlib.util.find_spec(self.module).submodule_search_locations[0]) / self.file
        if not path.is_file():
            raise self._damaged(f"has no file {path}")
        return path

    def content(self) -> bytes:
        """What it holds. Raises UserError as `path`, and where it is not the file that the package brought."""
        path = self.path()
        try:
            content = path.read_bytes()
        except OSError as problem:
            raise self._damaged(f"has a file that cannot be read ({problem.strerror}), {path}") from None
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise self._damaged(f"brought another {path} than lies there now, which was damaged or exchanged")
        return content

    def _damaged(self, fault: str) -> UserError:
        return UserError(
            f"the package {self.name} {fault}; install it again (pip install --force-reinstall --no-deps "
            f"{self.name}), or {self.otherwise}."
        )
