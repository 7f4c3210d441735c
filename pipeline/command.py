"""face18: the command that an installation brings, outside any checkout as within one."""

from __future__ import annotations

import sys

WINDOWS = "face18: locks are flock's, which Windows has not; under WSL it runs as on Linux."


def main() -> None:
    """Run the stage that the command line names, and end the process with its status."""
    if sys.platform == "win32":
        sys.exit(WINDOWS)
    from pipeline.__main__ import run_stages

    run_stages([sys.argv[1:]])
