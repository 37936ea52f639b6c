"""A tool in a process of its own that need not import torch and transformers anew.

A server process, one per test process, imports the libraries once (none of ours); it is forked for each
call, which costs milliseconds instead of the seconds of CPU time that the imports take.
"""

import atexit
import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

#: What the tools import, none of ours: each process imports `projects` anew, as from a command line.
LIBRARIES = [
    'torch',
    'torch.distributed.optim',
    'torch.utils.tensorboard',
    'transformers.modeling_utils',
    'transformers.models.qwen2.modeling_qwen2',
    'peft',
    'mmengine.runner',
    'mmengine.visualization',
    'matplotlib.pyplot',
    'xtuner.utils',
    'cv2',
    'pycocotools.mask',
]


def forks() -> multiprocessing.context.ForkServerContext:
    """Starts processes that have the libraries; the server starts with the first."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(LIBRARIES)
    return context


def run_tool(
    tool: Path, args: tuple[str, ...], folder: Path, environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess:
    """What ``python TOOL ARGS`` does in a folder, with its output and its exit status.

    Raises:
        subprocess.TimeoutExpired: After so many seconds; the process is killed.
    """
    with tempfile.TemporaryDirectory() as said:
        files = [Path(said) / name for name in ('stdout', 'stderr')]
        process = forks().Process(target=_become, args=(tool, args, folder, environment, *files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([str(tool), *args], timeout)
        # A process that ends before it has said anything has no files.
        output, errors = (path.read_text() if path.exists() else '' for path in files)
    return subprocess.CompletedProcess([str(tool), *args], process.exitcode, output, errors)


def _become(
    tool: Path, args: tuple[str, ...], folder: Path, environment: dict[str, str], stdout: Path, stderr: Path
) -> None:
    for stream, path in ((sys.stdout, stdout), (sys.stderr, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    gc.freeze()  # MMEngine's datasets collect garbage; what the libraries made is none
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    multiprocessing.set_start_method(None, force=True)
    sys.argv = [str(tool), *args]
    sys.path[0] = str(tool.parent)
    try:
        runpy.run_path(str(tool), run_name='__main__')
    finally:
        atexit._run_exitfuncs()  # `multiprocessing` ends a process without them
