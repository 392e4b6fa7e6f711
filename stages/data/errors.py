"""The one exception for mistakes that a person can mend."""


class UserError(Exception):
    """A mistake in parameters, files, downloads or the environment.

    Its text is what the person reads: what is wrong, where, what is allowed and what to do now.
    Commands print it without a traceback and exit with code 2 (see `stages.__main__`).
    """
