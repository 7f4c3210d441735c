"""Photos that cannot be decoded, as a message lists them."""

from __future__ import annotations


def tell_bad_photos(bad: dict[str, str], most: int = 10) -> str:
    """Photos with what is wrong, a line each; the first `most` and a count."""
    from pipeline.runtime.problems import show

    lines = [f"  {show(photo)}: {why}" for photo, why in list(bad.items())[:most]]
    more = len(bad) - most
    return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)
