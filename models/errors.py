"""The one exception meant for users: a clear sentence with the way out."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """Something the user can mend: names the file, row or setting, and the way out.

    The command line prints its text alone, without a traceback, and exits with status 2.
    """


def nearest(word: str, known: Sequence[str]) -> str:
    """Which of the known words are near one, for a message: "near is x", "near are x, y", or nothing."""
    near = difflib.get_close_matches(word, known, 3)
    return f"near {'is' if len(near) == 1 else 'are'} {', '.join(near)}" if near else ""


def unknown(setting: str, word: str, known: Sequence[str]) -> UserError:
    """The error for a word that a setting does not know: it names the nearest ones, all where none is near."""
    told = nearest(word, known) or f"known are {', '.join(known)}"
    return UserError(f"--{setting} {word}: there is no such {setting}; {told}.")
