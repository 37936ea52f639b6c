"""The README.md of an exported model."""

from projects.mask_caption_sft.checkpoints import model_card as module


def test_a_package_that_is_not_installed_is_said_to_be(monkeypatch):
    """XTuner may be missing: templates and builder have stand-ins."""
    monkeypatch.setattr(module, '_PACKAGES', ('torch', 'no-such-package'))
    card = module.model_card({}, 'work_dirs/run/iter_1.pth', 'base', 'student', '')
    assert '\nno-such-package not installed\n' in card
    assert '\ntorch 2.' in card
