"""The one exception whose text is written for the person at the keyboard."""


class ChainRigError(ValueError):
    """Input that cannot be used. The message is one sentence: what is wrong, where, and what to do.

    The command line prints it on stderr and exits with code 2.
    """
