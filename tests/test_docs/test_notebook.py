"""docs/tiny_loop.ipynb: its cells run in order, with few iterations, in a process of their own."""

import json
import subprocess
import sys

import pytest

from tests.workplace import PATIENCE, ROOT

NOTEBOOK = ROOT / 'docs' / 'tiny_loop.ipynb'
#: Smaller than in the notebook.
SHORT = {'MAX_ITERS = 30': 'MAX_ITERS = 2', 'NUM_TRAIN, NUM_VAL = 100, 10': 'NUM_TRAIN, NUM_VAL = 6, 2'}


def cells(kind: str) -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())['cells'] if cell['cell_type'] == kind]


def test_it_is_kept_without_outputs():
    content = json.loads(NOTEBOOK.read_text())
    assert (content['nbformat'], content['nbformat_minor']) == (4, 5)
    assert all(cell['outputs'] == [] and cell['execution_count'] is None for cell in cells('code'))
    ids = [cell['id'] for cell in content['cells']]
    assert len(set(ids)) == len(ids)
    assert len(cells('markdown')) >= 4


@pytest.mark.slow
def test_its_cells_run(tmp_path):
    code = '\n'.join(''.join(cell['source']) for cell in cells('code'))
    for long, short in SHORT.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    code += '\nassert student.picture.shape == examples[0].image2.shape and student.text'
    code += "\nprint('all cells were run')"
    script = tmp_path / 'cells.py'
    script.write_text(code)
    result = subprocess.run(
        [sys.executable, script], cwd=ROOT / 'docs', capture_output=True, text=True, timeout=PATIENCE
    )
    assert result.returncode == 0, result.stderr[-3000:]
    lines = result.stdout.splitlines()
    assert lines[-1] == 'all cells were run'
    said = [line.split(':')[0].strip() for line in lines if ' IoU ' in line]
    assert said.count('base') == 6
    assert said.count('student') == said.count('teacher') == 3
    assert any('Verdict: ' in line for line in lines)
