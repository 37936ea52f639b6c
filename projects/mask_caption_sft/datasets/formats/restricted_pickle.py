"""Reads pickles of plain containers only; a pickle that calls anything is refused."""

import pickle
from pathlib import Path
from typing import Any


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f'it refers to {module}.{name}')


def load_plain_pickle(path: str | Path) -> Any:
    """Lists, dicts, tuples, strings and numbers from a pickle file.

    Raises:
        ValueError: The file is not a pickle, is truncated, or holds anything that
            would run code.
    """
    with Path(path).open('rb') as file:
        try:
            return _PlainUnpickler(file, encoding='latin1').load()
        except (
            pickle.UnpicklingError,
            EOFError,
            IndexError,
            UnicodeDecodeError,
            AttributeError,
        ) as error:
            raise ValueError(
                f'{path} is not a pickle of plain containers: {error}. Use the refs file as released.'
            ) from error
