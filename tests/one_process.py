"""A stand-in for ``ProcessPoolExecutor`` that a test can look into."""

from concurrent.futures import Executor, Future


class _Later(Future):
    def __init__(self, function, args):
        super().__init__()
        self.call = lambda: function(*args)

    def result(self, timeout=None):
        return self.call()


class OneProcessPool(Executor):
    """Runs each task in this process when its result is taken: monkeypatched functions are seen, and their
    failures arrive.
    """

    def __init__(self, _, initializer, initargs):
        initializer(*initargs)

    def submit(self, function, *args):
        return _Later(function, args)
