"""The one exception meant for users: a clear sentence with the way out."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """Something the user can mend: names the file, row or setting, and the way out.

    The command line prints its text alone, without a traceback, and exits with status 2.
    """


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a sentence lists them: "a", "a and b", "a, b and c"."""
    *others, end = words
    return f"{', '.join(others)} {last} {end}" if others else end


def nearest(word: str, known: Sequence[str], before: str = "") -> str:
    """Which of the known words are near one, for a message: "perhaps you mean x or y", or nothing.

    `before` is written before each, like the dashes of an option.
    """
    near = [before + one for one in difflib.get_close_matches(word, known, 3)]
    return f"perhaps you mean {listed(near, 'or')}" if near else ""


def unknown(setting: str, word: str, known: Sequence[str]) -> UserError:
    """The error for a word that a setting does not know: it names the nearest ones, all where none is near."""
    told = nearest(word, known) or f"known are {', '.join(known)}"
    return UserError(f"--{setting} {word}: there is no such {setting}; {told}.")
