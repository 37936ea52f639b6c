"""A stand-in for ``multiprocessing.Pool`` that a test can look into."""


class OneProcessPool:
    """Runs tasks in this process: monkeypatched functions are seen, and their failures arrive."""

    def __init__(self, _, initializer, args):
        initializer(*args)

    def __enter__(self):
        return self

    def __exit__(self, *_): ...

    def imap(self, function, tasks):
        return map(function, tasks)

    imap_unordered = imap
