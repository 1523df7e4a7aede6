"""What Ganlet raises at its users: one sentence that says what it got, what it expected and the remedy."""


class GanletError(Exception):
    """A fault that the user can mend. The command line prints its one sentence and exits with code 2."""


class Diverged(GanletError):
    """Training went to numbers that are not finite: the fault of its settings, not of the machine."""


class Busy(GanletError):
    """Another process works in the same folder."""


class Interrupted(GanletError):
    """Work was stopped by Ctrl-C or SIGTERM after a checkpoint. The command line exits with code 130."""
