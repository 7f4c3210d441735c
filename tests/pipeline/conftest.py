"""Makes the helpers beside it importable for the tests of every room; and a machine to order."""

from pathlib import Path

import joblib
import pytest
import torch


@pytest.fixture
def computer(monkeypatch):
    """Builds a make-believe machine: its cores, files under / and GPU."""

    def build(cores=4, files=None, gpu=False):
        texts = files or {}

        def read_text(self, *_, **__):
            if str(self) not in texts:
                raise FileNotFoundError(str(self))
            return texts[str(self)]

        monkeypatch.setattr(joblib, "cpu_count", lambda: cores)
        monkeypatch.setattr(Path, "read_text", read_text)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)

    return build
