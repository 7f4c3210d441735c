"""What a training tells after each epoch."""

from __future__ import annotations

from typing import Any

from pipeline.scoring.caveats import caveat_suffix


def whole(epochs: float) -> str:
    """3, or 6.5 where they are not whole."""
    return f"{round(epochs, 2):g}"


def epoch_line(row: dict[str, Any], epochs: float) -> str:
    """An epoch's row of a training's log, to be read."""
    shown = [
        f"epoch {whole(row['epoch'])}/{whole(epochs)}",
        f"loss {row['train_loss']:.3f}/{row['validation_loss']:.3f}",
    ]
    if "mean_absolute_error" in row:
        shown.append(f"error {row['mean_absolute_error']:.2f} years")
    shown += [
        f"accuracy {row['accuracy']:.3f}",
        f"macro-F1 {row['macro_f1']:.3f}{caveat_suffix(row)}",
        f"gap {row['gap']:+.3f}",
    ]
    return "  ".join([*shown, f"{row['seconds']:.0f} s"])


def silent(*_: object, **__: object) -> None:
    """What the processes beside the first one say."""
