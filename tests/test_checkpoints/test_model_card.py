"""The README.md of an exported model."""

import pytest
from huggingface_hub import ModelCard

from projects.mask_caption_sft.checkpoints import model_card as module
from projects.mask_caption_sft.checkpoints.hub_id import hub_id
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint


@pytest.fixture(scope='module')
def content(trained_miniature):
    return read_checkpoint(trained_miniature.checkpoint)


def card_of(content, trained_miniature, **changes):
    base = changes.pop('base', str(trained_miniature.base))
    return module.model_card(content, 'work_dirs/run/iter_10.pth', base, 'student', 'changes', **changes)


def test_the_front_matter_is_read_back_by_the_hubs_own_library(content, trained_miniature):
    card = ModelCard(card_of(content, trained_miniature, base_model='ByteDance/Sa2VA-4B'))
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        'mit',
        'transformers',
        'image-text-to-text',
    )
    assert (data.base_model, data.base_model_relation) == ('ByteDance/Sa2VA-4B', 'finetune')
    assert data.datasets == ['sav']
    (result,) = data.eval_results  # no count, and no score that is not a number
    assert (result.metric_type, result.metric_value) == ('ref_seg/cIoU', 0.5)
    assert (result.task_type, data.model_name) == ('image-segmentation', 'run')
    assert 'sa2va' in data.tags


def test_a_local_path_is_never_called_a_base_model(content, trained_miniature):
    card = card_of(content, trained_miniature)
    front = card.split('---')[1]
    assert 'base_model' not in front
    assert str(trained_miniature.base) not in card
    assert f'Base: {trained_miniature.base.name} (fingerprint' in card


def test_an_adapters_card_shows_how_peft_loads_it(content, trained_miniature):
    card = card_of(content, trained_miniature, is_adapter=True, base_model='ORG/BASE', repo='ME/MINE')
    data = ModelCard(card).data
    assert (data.library_name, data.base_model_relation) == ('peft', 'adapter')
    assert "PeftModel.from_pretrained(model.language_model, 'ME/MINE')" in card
    assert "AutoModel.from_pretrained('ORG/BASE'" in card


def test_a_licence_that_the_base_does_not_state_is_not_made_up(content, trained_miniature, tmp_path):
    (tmp_path / 'modeling_sa2va_chat.py').touch()
    card = card_of(content, trained_miniature, base=str(tmp_path), repo='ME/MINE')
    data = ModelCard(card).data
    assert (data.license, data.license_name) == ('other', 'not-stated-by-the-base')
    assert "AutoModel.from_pretrained('ME/MINE'" in card  # the base brings the code for that


def test_a_package_that_is_not_installed_is_said_to_be(monkeypatch):
    """XTuner may be missing: templates and builder have stand-ins."""
    monkeypatch.setattr(module, '_PACKAGES', ('torch', 'no-such-package'))
    card = module.model_card({}, 'work_dirs/run/iter_1.pth', 'base', 'student', '')
    assert '\nno-such-package not installed\n' in card
    assert '\ntorch 2.' in card


def test_the_hub_id_of_a_base_is_known_only_where_the_folder_tells(tmp_path):
    cached = tmp_path / 'models--ByteDance--Sa2VA-4B' / 'snapshots' / '0123'
    local, other = tmp_path / 'Sa2VA-4B', tmp_path / 'mine'
    for folder in (cached, local, other):
        folder.mkdir(parents=True)
        (folder / 'README.md').write_text(
            'see https://x.org/a and path = "ByteDance/Sa2VA-4B"\nOpenGVLab/InternVL\n'
        )
    assert hub_id(cached) == hub_id(local) == 'ByteDance/Sa2VA-4B'
    assert hub_id(other) is None
    (local / 'README.md').unlink()
    assert hub_id(local) is None
