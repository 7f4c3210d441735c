"""Muon (Jordan et al. 2024) as timm has it, its matrix products in a precision that the processor is fast in.

timm takes them in bfloat16. A processor without such instructions does a hundredth as many of those in a second as in
float32, and all but a few per cent of a small network's step would go into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from timm.optim import muon


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Within the block, timm's Muon orthogonalizes its steps in a precision, float32 or bfloat16."""
    usual = muon.zeropower_via_newtonschulz  # Muon has no setting for it
    muon.zeropower_via_newtonschulz = partial(usual, dtype=getattr(torch, precision))
    try:
        yield
    finally:
        muon.zeropower_via_newtonschulz = usual
