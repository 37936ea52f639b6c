"""The loop under the 4B run's conditions on Qwen-VL.

A base in bfloat16, autocast, activation checkpointing, accumulation, LoRA dropout, four captions of each
region, the teacher, and the export.
"""

import pytest
import torch
from safetensors.torch import load_file
from torch.optim import AdamW

from projects.mask_caption_sft.checkpoints.adapter import read_adapter
from projects.mask_caption_sft.checkpoints.export import export, export_adapter
from projects.mask_caption_sft.checkpoints.processor_note import processor_note
from projects.mask_caption_sft.checkpoints.released import ReleasedWeights, native_tensors
from projects.mask_caption_sft.checkpoints.trained_tensors import (
    TrainedTensors,
    from_ours,
    from_upstream,
    upstream_to_released,
)
from projects.mask_caption_sft.checkpoints.upstream_file import upstream_state
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.miniature import objectives, with_live_lora
from tests.qwen_bases import QWEN, write_qwen_base
from tests.qwen_batch import qwen_batch

LORA = dict(r=4, lora_alpha=8, lora_dropout=0.05)
LAYERS, MATRICES = 3, 7
MARKS = ['<vp>', '</vp>']
EMBEDDINGS = 'model.model.language_model.embed_tokens.weight'


@pytest.fixture(scope='module', params=QWEN)
def base(request, tmp_path_factory):
    return write_qwen_base(request.param, tmp_path_factory.mktemp('base'), dtype=torch.bfloat16)


def loop_on(base, base_dtype: str = 'released', dropout: float = 0.05) -> MaskCaptionSFT:
    torch.manual_seed(0)
    lora = LORA | dict(lora_dropout=dropout)
    sa2va = Sa2VA(base, lora=lora, base_dtype=base_dtype, activation_checkpointing=True, train_tokens=MARKS)
    # Of random weights no mask is good; with higher thresholds nothing would be taught.
    taught = objectives(best_of_k=BestOfK(weight=5.0, margin_iou=-1.0, min_iou=0.0))
    return MaskCaptionSFT(
        with_live_lora(sa2va, 0), taught, max_caption_len=5, num_captions=4, predict_dtype='bfloat16'
    ).train()


@pytest.fixture(scope='module')
def trained(base):
    """The loop after an update of two accumulated steps, and the gradients that it made."""
    model = loop_on(base)
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(2):
        with torch.autocast('cpu', torch.bfloat16):
            total, _ = model.parse_losses(model.loss(qwen_batch()))
        (total / 2).backward()
    gradients = {n: p.grad for n, p in model.student.named_parameters() if p.requires_grad}
    optimizer.step()
    return model, gradients


def test_every_trained_tensor_gets_a_gradient(trained):
    model, gradients = trained
    unused = [n for n, g in gradients.items() if g is None or not g.isfinite().all() or not g.any()]
    assert [name for name in unused if 'mask_decoder' not in name] == []  # of its four candidates one is used
    assert sum('lora_' in name for name in gradients) == 2 * LAYERS * MATRICES
    mergers = {name for name in gradients if 'merger' in name}
    assert mergers == {n for n, _ in model.student.named_parameters() if 'merger' in n}
    assert not any('visual' in name for name in gradients.keys() - mergers)


def test_the_base_stays_in_bfloat16_and_is_shared_with_the_teacher(trained):
    model, _ = trained
    assert model.student.needs_autocast
    teacher = dict(model.teacher.named_parameters())
    for name, parameter in model.student.named_parameters():
        assert (parameter is teacher[name]) == (not parameter.requires_grad), name
        if parameter.requires_grad or 'pos_embed' in name:
            assert parameter.dtype == torch.float32, name


def gradients_of(base, base_dtype: str, autocast: bool) -> dict[str, torch.Tensor]:
    """Of what does not depend on what is written: scores of given captions, and masks."""
    torch.manual_seed(0)
    model = Sa2VA(
        base, lora=LORA | dict(lora_dropout=0.0), base_dtype=base_dtype, activation_checkpointing=True
    )
    model = with_live_lora(model, 0).train()
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        views1, views2 = model.look(qwen_batch())
        questions = model.ask(views1.features)
        captions = model.text.encode_answers(['the blue star', 'red', 'the circle'])
        scores = questions.score(views1, captions)
        found = questions.segment(views2, model.embed_captions(captions.texts))
        ids = scores().targets
        words = scores().logits.float().flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(words, ids.flatten(), ignore_index=-100)
        loss = (
            loss
            + found().mask_logits.float().sigmoid().mean()
            + found().answer_logits.float().square().mean()
        )
    loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None and 'mask_decoder' not in n}


def test_gradients_in_bfloat16_point_where_those_in_float32_point(base):
    exact, rounded = gradients_of(base, 'float32', False), gradients_of(base, 'released', True)
    assert exact.keys() == rounded.keys()
    for part in ('lora_', 'merger', 'text_hidden_fcs'):
        first, second = (
            torch.cat([g.flatten() for n, g in sorted(of.items()) if part in n]) for of in (exact, rounded)
        )
        assert torch.cosine_similarity(first, second, dim=0) > 0.99, part


def test_a_base_in_bfloat16_computes_what_it_computes_in_float32(base):
    found = []
    for base_dtype in ('released', 'float32'):
        torch.manual_seed(0)
        model = Sa2VA(base, lora=LORA, base_dtype=base_dtype).eval()
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            views = model.look(qwen_batch())[0]
            found.append(model.score(views, model.text.encode_answers(['red', 'star', 'blue'])).logits)
    assert torch.equal(*found)


def test_the_export_changes_what_was_trained_and_nothing_else(trained, base, tmp_path):
    student = trained[0].student
    tensors = from_ours(trained[0].state_dict(), 'student', student.lora_scaling, student.key_map)
    changes = export(base, tensors, tmp_path / 'out', str)
    groups = {'language model', 'embeddings and head', 'projector', 'mask decoder', 'text_hidden_fcs'}
    assert set(changes) == groups
    before, after = (load_file(folder / 'model.safetensors') for folder in (base, tmp_path / 'out'))
    assert {n: t.shape for n, t in before.items()} == {n: t.shape for n, t in after.items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert sum(name.startswith('model.model.language_model.layers') for name in changed) == LAYERS * MATRICES
    assert all('merger' in name for name in changed if 'visual' in name)
    assert any('merger' in name for name in changed)
    assert {path.name for path in base.iterdir()} <= {path.name for path in (tmp_path / 'out').iterdir()}
    rows = (before[EMBEDDINGS] != after[EMBEDDINGS]).any(1).nonzero()[:, 0].tolist()
    assert rows == sorted(student.text.single(mark) for mark in MARKS)
    assert 'model.lm_head.weight' not in changed
    found = Sa2VA(tmp_path / 'out')
    mark = torch.tensor(student.text.single('<vp>'))
    assert torch.allclose(found.embed_ids(mark), student.embed_ids(mark), atol=1e-2)  # bfloat16


def test_the_model_before_training_has_the_first_marks(trained, base):
    student, first = trained[0].student, Sa2VA(base)
    marks = torch.tensor([student.text.single(mark) for mark in MARKS])
    words = torch.arange(10)
    assert torch.equal(student.embed_ids(words), first.embed_ids(words))
    assert not torch.equal(student.embed_ids(marks), first.embed_ids(marks))
    assert not torch.equal(student.embed_ids(marks), trained[0].teacher.embed_ids(marks))
    with student.reference():
        assert torch.equal(student.embed_ids(marks), first.embed_ids(marks))


def test_weights_of_a_trained_checkpoint_bring_their_marks(trained, base, tmp_path):
    student = trained[0].student
    tensors = from_ours(trained[0].state_dict(), 'student', student.lora_scaling, student.key_map)
    export(base, tensors, tmp_path / 'out', str)
    model = Sa2VA(base, train_tokens=MARKS)
    weights = ReleasedWeights(tmp_path / 'out')
    tensors = native_tensors(weights.keys(), weights.__getitem__, model.key_map, 'out')
    model.replace_weights(tensors, 'out')
    marks = torch.tensor([student.text.single(mark) for mark in MARKS])
    assert torch.equal(model.embed_ids(marks), Sa2VA(tmp_path / 'out').embed_ids(marks))
    assert set(model.token_rows) == {str(mark) for mark in marks.tolist()}


def test_marks_are_not_trained_twice(base):
    with pytest.raises(
        ValueError, match=r"train_tokens=\['<vp>'\], but the whole embedding matrix is trained"
    ):
        Sa2VA(base, train_tokens=['<vp>'], train_embeddings=True)


def test_rows_of_another_base_are_refused():
    trained = TrainedTensors(rows={'e': {9: torch.ones(4)}})
    with pytest.raises(ValueError, match=r'trained the rows \[9\] of e, which is \(5, 4\) in the base'):
        trained.apply('e', torch.zeros(5, 4))


def test_an_adapter_is_the_same_and_peft_finds_its_modules(trained, base, tmp_path):
    student = trained[0].student
    tensors = from_ours(trained[0].state_dict(), 'student', student.lora_scaling, student.key_map)
    export_adapter(ReleasedWeights(base), tensors, tmp_path / 'adapter', str, 'base')
    found = read_adapter(tmp_path / 'adapter').trained
    assert found.lora.keys() == tensors.lora.keys()
    assert found.replaced.keys() == tensors.replaced.keys() | {EMBEDDINGS}
    stored = ReleasedWeights(base)[EMBEDDINGS]
    assert torch.equal(found.apply(EMBEDDINGS, stored), tensors.apply(EMBEDDINGS, stored))
    names = load_file(tmp_path / 'adapter' / 'adapter_model.safetensors')
    assert 'base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight' in names


def test_upstreams_names_are_found_and_given(base):
    state = upstream_state(base, 'v2')
    assert all(name.startswith(('mllm.model.', 'grounding_encoder.', 'text_hidden_fcs.')) for name in state)
    assert {upstream_to_released(name) for name in state} == set(ReleasedWeights(base))
    with pytest.raises(ValueError, match=r"which upstream's trainer v1 does not have\. Pass --trainer v2"):
        upstream_state(base, 'v1')
    layer = 'mllm.model.base_model.model.model.language_model.layers.1.self_attn.q_proj'
    head = 'mllm.model.base_model.model.lm_head.modules_to_save.default.weight'
    found = from_upstream(
        {
            f'{layer}.lora_A.default.weight': torch.ones(2, 4),
            f'{layer}.lora_B.default.weight': torch.ones(4, 2),
        }
        | {head: torch.ones(3, 4)},
        2.0,
    )
    assert set(found.lora) == {'model.model.language_model.layers.1.self_attn.q_proj.weight'}
    assert set(found.replaced) == {'model.lm_head.weight'}


def test_an_export_that_v2_would_read_without_its_processor_is_named(base, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp('export')
    for name, expected in (('mine', 'Rename it, '), ('Qwen_mine', None)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'config.json').write_text((base / 'config.json').read_text())
        note = processor_note(folder)
        assert (note is None) if expected is None else (expected in note)
