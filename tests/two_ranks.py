"""Two processes of one gloo group, for what ranks have to agree on."""

import logging
import os
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.tool_process import forks


def run_two_ranks(work: Callable[[int, str], None], folder) -> None:
    """Call ``work(rank, folder)`` in two processes of one gloo group; an error in either is raised here."""
    forks()  # the server that both are forked from
    mp.start_processes(_join_and_work, args=(work, str(folder)), nprocs=2, start_method='forkserver')


def _join_and_work(rank: int, work: Callable[[int, str], None], folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    work(rank, folder)
    dist.barrier()
    logging.shutdown()
    # The process ends without gloo's own clean-up, which has been seen to wait for ever and to abort.
    os._exit(0)
