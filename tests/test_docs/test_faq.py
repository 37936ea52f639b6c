"""What docs/faq.md shows in Python, and the W&B override."""

import shutil
import sys
import types

import pytest
from mmengine.config import Config

from projects.mask_caption_sft.engine.cfg_options import apply_cfg_options
from projects.mask_caption_sft.visualization.forgiving_visualizer import ForgivingVisualizer
from tests.doc_blocks import blocks, commands
from tests.miniature import miniature_batch, miniature_model, objectives
from tests.workplace import CONFIG, ROOT


def python_block(holds: str) -> str:
    (found,) = [block.text for block in blocks('python') if holds in block.text]
    return found


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package: what it was started with and what it was given."""
    module = types.ModuleType('wandb')
    module.started, module.logged = [], []
    module.init = lambda **settings: module.started.append(settings)
    module.log = lambda values, **_: module.logged.append(values)
    module.config = types.SimpleNamespace(update=lambda *_, **__: None)
    module.run = types.SimpleNamespace(log_code=lambda **_: None)
    module.join = lambda: None
    monkeypatch.setitem(sys.modules, 'wandb', module)
    return module


def visualizer(config: Config, folder) -> ForgivingVisualizer:
    """As the Runner builds it."""
    from mmengine.registry import VISUALIZERS, DefaultScope

    DefaultScope.get_instance(f'faq_{folder.name}', scope_name='mmengine')
    settings = dict(config.visualizer, name=f'faq_{folder.name}', save_dir=str(folder))
    return VISUALIZERS.build(settings)


def test_every_python_block_says_which_test_runs_it():
    for block in blocks('python'):
        said = block.mark or 'run by tests/test_datasets/test_own_dataset.py'
        test = ROOT / said.removeprefix('run by ')
        assert block.path in test.read_text(), f'{block}: {test} does not name it'


def test_an_objective_of_your_own_is_taught():
    # a dataclass looks its module up by name
    module = types.ModuleType('of_the_faq')
    sys.modules['of_the_faq'] = module
    exec(python_block('class SureWords'), module.__dict__)
    sure = module.SureWords(weight=2.0)
    model = miniature_model(objectives=objectives(sure_words=sure)).train()
    table = model.loss(miniature_batch())
    assert 0 < table['loss_entropy'] < 2.0 * 12  # a vocabulary has fewer than e ** 12 tokens
    table['loss_entropy'].backward()
    trained = [
        p.grad.abs().max()
        for n, p in model.student.named_parameters()
        if 'lora_B' in n and p.grad is not None
    ]
    assert max(trained) > 0
    table.pop('loss_entropy')
    assert 'loss_entropy' not in miniature_model(objectives=objectives()).train().loss(miniature_batch())


def test_the_override_puts_wandb_in_tensorboards_place(tmp_path, wandb):
    (text,) = [block.text for block in blocks('bash') if 'WandbVisBackend' in block.text]
    (command,) = commands(text)
    key, value = command.words[-1].split('=')
    config = Config.fromfile(CONFIG, format_python_code=False)
    apply_cfg_options(config, {key: value})
    built = visualizer(config, tmp_path)
    built.add_scalars({'train/loss': 0.5}, step=3)
    assert wandb.started == [{'dir': str(tmp_path / 'vis_data')}]
    assert wandb.logged == [{'train/loss': 0.5}]
    assert 'train/loss' in (tmp_path / 'vis_data' / 'scalars.json').read_text()
    assert not list(tmp_path.rglob('events.out*'))


def test_a_config_of_your_own_keeps_tensorboard_beside_it(tmp_path, wandb):
    configs = shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    (configs / 'mine.py').write_text(python_block('WandbVisBackend'))
    config = Config.fromfile(configs / 'mine.py', format_python_code=False)
    built = visualizer(config, tmp_path)
    built.add_scalars({'train/loss': 0.5}, step=3)
    (settings,) = wandb.started
    assert (settings['project'], settings['mode']) == ('mask_caption_sft', 'offline')
    assert wandb.logged == [{'train/loss': 0.5}]
    assert list(tmp_path.rglob('events.out*'))
