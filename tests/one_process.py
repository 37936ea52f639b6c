"""A stand-in for ``multiprocessing.Pool`` that a test can look into."""


class _Later:
    def __init__(self, function, args):
        self.get = lambda: function(*args)


class OneProcessPool:
    """Runs tasks in this process: monkeypatched functions are seen, and their failures arrive."""

    def __init__(self, _, initializer, args):
        initializer(*args)

    def __enter__(self):
        return self

    def __exit__(self, *_): ...

    def apply_async(self, function, args):
        return _Later(function, args)

    def imap(self, function, tasks, chunksize=1):
        return map(function, tasks)

    imap_unordered = imap
