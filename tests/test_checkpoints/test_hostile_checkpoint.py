"""Export, prediction and test take tensors and plain values from a checkpoint, and run nothing in it."""

import re
import shutil
import sys

import convert_to_hf
import predict
import pytest
import test as test_tool
from PIL import Image

from projects.mask_caption_sft.chaos.hostile_files import config_that_runs, pickle_that_runs
from projects.mask_caption_sft.engine.training_runner import SafeRunner
from tests.workplace import CONFIG


@pytest.fixture
def call(tmp_path, trained_miniature, monkeypatch):
    """Gives a tool a checkpoint into which ``change`` has put a trap; returns how it ended."""
    Image.new('RGB', (56, 56)).save(tmp_path / 'image.png')
    checkpoint, trap = tmp_path / 'iter_10.pth', tmp_path / 'trap'
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    # Of a test, what reads the checkpoint.
    monkeypatch.setattr(SafeRunner, 'test', SafeRunner.load_or_resume)
    base = str(trained_miniature.base)
    arguments = {
        convert_to_hf: ['--model_path', str(checkpoint), '--output_dir', 'out', '--base', base],
        predict: ['--checkpoint', str(checkpoint), '--base', base, '--image', 'image.png', '--text', 'it'],
        test_tool: [str(CONFIG), str(checkpoint), '--cfg-options', f'model.sa2va.base={base}'],
    }

    def run(tool, change):
        shutil.copy(trained_miniature.checkpoint, checkpoint)
        change(checkpoint, trap)
        monkeypatch.setattr(sys, 'argv', [tool.__name__, *arguments[tool]])
        said = ''
        try:
            tool.main()
        except (SystemExit, ValueError) as error:
            said = str(error)
        assert not trap.exists()
        return said

    return run


TOOLS = [convert_to_hf, predict, test_tool]


@pytest.mark.parametrize('tool', TOOLS)
def test_a_pickle_that_would_run_code_is_refused(call, tool):
    assert 'iter_10.pth cannot be read as a checkpoint' in call(tool, pickle_that_runs)


#: How a tool ends that has read the file: a miniature writes no masks, and the tiny config has another LoRA.
READ = r'|error: the answer has no \[SEG\].*|The checkpoint does not fit this model: .* of another shape.*'


@pytest.mark.parametrize('tool', TOOLS)
def test_the_text_of_a_config_is_not_executed(call, tool):
    assert re.fullmatch(READ, call(tool, config_that_runs), re.S)
