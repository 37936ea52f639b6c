"""Reading weights takes private memory for what is trained; the rest is the page cache's, once for all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='reads /proc'),
]

#: Waits on standard input, so that all processes hold their model while each is measured. Anonymous memory
#: (RssAnon) is private; pages of the mapped file can be dropped at any time.
_PROBE = """
import json, sys, threading, time
from pathlib import Path
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA

def anonymous():
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith('RssAnon'))) * 1024

def share():
    '''The process's part of all its memory, pages of several processes divided by their number.'''
    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith('Pss:'))) * 1024

seen, done = [], threading.Event()
def watch():
    while not done.is_set():
        seen.append(anonymous())
        time.sleep(0.002)

settings = dict(lora=dict(r=4, lora_alpha=8), base_dtype='released')
Sa2VA(base=sys.argv[2], **settings)  # libraries allocate at first use
before, share_before = anonymous(), share()
threading.Thread(target=watch, daemon=True).start()
model = Sa2VA(base=sys.argv[1], **settings)
done.set()
for parameter in model.parameters():  # every page, as a copy to a GPU would
    parameter.detach().view(-1)[::512].float().sum()
print('ready', flush=True)
sys.stdin.readline()
size = sum(p.nbytes for p in model.parameters())
trained = sum(p.nbytes for p in model.parameters() if p.requires_grad)
peak = max([*seen, anonymous()]) - before
print(json.dumps(dict(size=size, trained=trained, peak=peak, share=share() - share_before)), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope='module')
def bases(tmp_path_factory):
    """A base of 100 MB in bfloat16, and a small one."""
    folder = tmp_path_factory.mktemp('bases')
    sizes = {'llm_width': 768, 'llm_layers': 8, 'vit_width': 384}
    write_base(new_sa2va(sizes=sizes), folder / 'wide', torch.bfloat16)
    write_base(new_sa2va(), folder / 'small')
    return folder


def memory(bases: Path, num_processes: int) -> list[dict[str, int]]:
    """Bytes in each of several processes that hold the same base at the same time."""
    command = [sys.executable, '-c', _PROBE, str(bases / 'wide'), str(bases / 'small')]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(num_processes)]
    try:
        for process in processes:
            while process.stdout.readline().strip() != 'ready':
                assert process.poll() is None
        for process in processes:
            process.stdin.write('measure\n')
            process.stdin.flush()
        found = [json.loads(process.stdout.readline()) for process in processes]
        for process in processes:
            process.communicate('end\n')
    finally:
        for process in processes:
            process.kill()
    return found


def test_the_peak_is_what_is_trained(bases):
    (found,) = memory(bases, 1)
    assert found['size'] > 100e6
    assert 10e6 < found['trained'] < 20e6
    assert found['peak'] < found['trained'] + 0.1 * found['size'], found


def test_four_processes_share_one_copy(bases):
    """Four of them used to take four times the base in float32, 800 MB."""
    found = memory(bases, 4)
    frozen = found[0]['size'] - found[0]['trained']
    together = sum(one['share'] for one in found)
    assert together < 1.4 * (frozen + 4 * found[0]['trained']), found
    assert together < 2.5 * frozen
