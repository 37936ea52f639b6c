"""One step of the 4B's settings whose captions are written in the 4B's own tokens."""

import pytest
import torch

from projects.mask_caption_sft.loop.step import Step
from projects.mask_caption_sft.sa2va.questions import Questions
from tests.miniature import miniature_sa2va
from tests.scripted_writing import writes
from tests.test_loop.test_4b_settings import batch_of, miniature_4b

#: Four captions of each of two regions, the greedy one first; their last letters meet the end marker in
#: different ways, and one is cut at the longest length.
CAPTIONS = [
    ['a red shirt.', 'the dog (left)', '7', '穿红衣服的人'],
    ['a cat 🐕', 'it is a "cat"', 'bus number 7', 'no end ' * 40],
]
#: How well the mask is found from each; the third is taught of the first region, the second of the other.
IOUS = [[0.1, 0.2], [0.2, 0.9], [0.9, 0.3], [0.1, 0.1]]
TAUGHT = [(0, 2), (1, 1)]


@pytest.mark.slow
def test_what_is_taught_under_bf16_and_recomputation_is_what_was_sampled(real_tokenizer, monkeypatch):
    sa2va = miniature_sa2va(
        tokenizer=real_tokenizer,
        base_dtype='bfloat16',
        lora=dict(r=4, lora_alpha=8, lora_dropout=0.05),
        activation_checkpointing=True,
    )
    model = miniature_4b(sa2va=sa2va)
    model.objectives['best_of_k'].min_iou = 0.5
    layer = model.student.language_model.layers[0]
    assert layer.gradient_checkpointing
    assert layer.mlp.up_proj.base_layer.weight.dtype == torch.bfloat16

    sampled = [[real_tokenizer(text + '<|end|>').input_ids[:37] for text in texts] for texts in CAPTIONS]
    kept = [[ids[: 32 if len(ids) == 37 else None] for ids in texts] for texts in sampled]
    assert [len(ids) for ids in kept[1]][-1] == 32  # without an end
    asked = []
    score = Questions.score

    def watched(questions, views, captions):
        asked.append((captions, answer := score(questions, views, captions)))
        return answer

    judge = Step.candidate_iou.func
    monkeypatch.setattr(Questions, 'score', watched)
    monkeypatch.setattr(Step, 'candidate_iou', property(lambda s: judge(s) * 0 + torch.tensor(IOUS)))
    rows = [ids for texts in sampled for ids in texts]
    with torch.autocast('cpu', torch.bfloat16), writes(rows, num_regions=2):
        total, logged = model.parse_losses(model.loss(batch_of(0)))
    scored = {tuple(ids.tolist()) for _, answer in asked for ids in answer().targets}
    total.backward()

    scored = {tuple(token for token in ids if token >= 0) for ids in scored}
    greedy = {tuple(texts[0]) for texts in kept}
    best = {tuple(kept[region][number]) for region, number in TAUGHT}
    human = {tuple(real_tokenizer('a red shirt.<|end|>').input_ids)}
    assert scored == greedy | best | human
    assert torch.isfinite(total)
    assert logged['loss_best'] > 0
    without = [n for n, p in model.student.named_parameters() if 'lora_' in n and not p.grad.any()]
    assert without == []
