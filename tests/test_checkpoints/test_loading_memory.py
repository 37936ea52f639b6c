"""Reading weights takes the memory of one model, not of two."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base

ROOT = Path(__file__).parents[2]

#: Anonymous memory only: pages of the mapped file can be dropped at any time.
_PROBE = """
import json, sys, threading, time
from pathlib import Path
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA

def anonymous():
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith('RssAnon'))) * 1024

seen, done = [], threading.Event()
def watch():
    while not done.is_set():
        seen.append(anonymous())
        time.sleep(0.002)

Sa2VA(base=sys.argv[2])  # libraries allocate at first use
before = anonymous()
threading.Thread(target=watch, daemon=True).start()
model = Sa2VA(base=sys.argv[1])
done.set()
size = sum(p.numel() * p.element_size() for p in model.parameters())
print(json.dumps({'size': size, 'peak': max([*seen, anonymous()]) - before}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='reads /proc')
def test_the_peak_is_near_one_copy(tmp_path):
    sizes = {'llm_width': 768, 'llm_layers': 8, 'vit_width': 384}
    write_base(new_sa2va(sizes=sizes), tmp_path / 'wide')
    write_base(new_sa2va(), tmp_path / 'small')
    command = [sys.executable, '-c', _PROBE, str(tmp_path / 'wide'), str(tmp_path / 'small')]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    memory = json.loads(result.stdout.splitlines()[-1])
    assert memory['size'] > 100e6
    assert memory['peak'] < 1.25 * memory['size'], memory
