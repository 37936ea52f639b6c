"""What a dry run says of the datasets of a config."""

from projects.mask_caption_sft.datasets import SAVPairs
from projects.mask_caption_sft.preflight.parts import look_at_datasets


def test_every_dataset_is_looked_at_and_every_problem_listed(tmp_path):
    problems = []
    declared = {
        'gone': dict(type=SAVPairs, data_root=str(tmp_path / 'nowhere'), weight=1.0),
        'typo': dict(type=SAVPairs, data_root=str(tmp_path), chanel_order='bgr'),
        'dropped': None,
        'empty': dict(type=SAVPairs, data_root=str(tmp_path), repeats=2),
    }
    look_at_datasets(declared, 'train', problems)
    assert len(problems) == 3
    assert problems[0].startswith(f"train.gone.data_root='{tmp_path}/nowhere': {tmp_path}/nowhere is missing")
    assert "unexpected keyword argument 'chanel_order'. Correct the config." in problems[1]
    assert 'holds no record for dataset' in problems[2]
