"""A full disk under the log costs the log, not the run."""

import numpy as np
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend

from projects.mask_caption_sft.visualization import forgiving_visualizer
from projects.mask_caption_sft.visualization.forgiving_visualizer import ForgivingVisualizer


def test_a_backend_that_cannot_write_is_named_once_and_the_others_go_on(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(forgiving_visualizer, 'print_log', lambda message, *_: said.append(message))
    visualizer = ForgivingVisualizer(
        'full', vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)],
        save_dir=str(tmp_path),
    )  # fmt: skip
    local = visualizer.get_backend('LocalVisBackend')
    _ = local.experiment  # makes its folders
    local._scalar_save_file = '/dev/full'  # every write to it fails with "No space left on device"
    for step in range(3):
        visualizer.add_scalars({'loss': 1.0}, step)
        visualizer.add_scalar('lr', 1.0, step)
    assert len(said) == 1
    assert said[0].startswith('LocalVisBackend cannot write ([Errno 28] No space left')
    visualizer.add_image('picture', np.zeros((4, 4, 3), np.uint8))
    visualizer.close()
    (events,) = tmp_path.rglob('events.out.tfevents.*')
    assert b'loss' in events.read_bytes()
