"""The whole tiny world on disk."""

import shutil
from pathlib import Path

import numpy as np

from .base_model import new_sa2va, write_base
from .stamp import clear_stamp, is_current, write_stamp
from .writers import write_openimages, write_refcoco, write_sa1b, write_sav

#: Weights trained by configs/sa2va_tiny_base.py; README.md beside them says how.
TRAINED_BASE = Path(__file__).parent / 'base'


def write_world(
    out: Path,
    seed: int = 0,
    num_train: int = 400,
    num_val: int = 40,
    limited_expressions: bool = True,
    trained_base: bool = True,
    reuse: bool = False,
) -> bool:
    """Write datasets and base; the same arguments write the same bytes.

    Args:
        out: Target folder.
        seed: Seed of all random numbers.
        num_train, num_val: Pairs or images per set.
        limited_expressions: See :func:`write_refcoco`.
        trained_base: Copy the trained base; otherwise a randomly initialised one is written.
        reuse: Leave a world that this code wrote with the same arguments as it is.

    Returns:
        Whether it was written.
    """
    arguments = dict(
        seed=seed, num_train=num_train, num_val=num_val,
        limited_expressions=limited_expressions, trained_base=trained_base,
    )  # fmt: skip
    if reuse and is_current(out, arguments):
        return False
    clear_stamp(out)
    streams = [np.random.default_rng((seed, number)) for number in range(6)]
    write_sav(out / 'train' / 'sav', num_train, streams[0])
    write_sa1b(out / 'train' / 'sa1b', num_train, streams[1])
    write_openimages(out / 'train' / 'openimages', num_train, streams[2])
    write_sav(out / 'val' / 'sav', num_val, streams[3])
    write_sa1b(out / 'val' / 'sa1b', num_val, streams[4])
    write_refcoco(out / 'refcoco', num_train, num_val, streams[5], limited_expressions)
    if trained_base and TRAINED_BASE.is_dir():
        shutil.copytree(TRAINED_BASE, out / 'sa2va_tiny', dirs_exist_ok=True)
    else:
        write_base(new_sa2va(seed), out / 'sa2va_tiny')
    write_stamp(out, arguments)
    return True
