"""Errors that a user can mend. Each message is one sentence: what was wrong, and how to mend it."""


class UserError(Exception):
    """The user's input is wrong. The command line prints the message alone and exits with code 2."""


class ContractError(UserError):
    """An environment broke its contract (a float image, a text longer than its capacity, ...)."""


class PluginError(UserError):
    """A plugin cannot be loaded, or a known id cannot be built on this machine."""


class ModelError(UserError):
    """A backbone, a processor or a checkpoint does not fit what is asked of it."""


class DataError(UserError):
    """A dataset is missing, empty, damaged, or made for something else."""
