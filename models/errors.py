"""The one exception meant for users: a clear sentence with the way out."""


class UserError(Exception):
    """Something the user can mend: names the file, row or setting, and the way out.

    The command line prints its text alone, without a traceback, and exits with status 2.
    """
