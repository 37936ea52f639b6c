"""One region through one model, with nothing kept from one pass to the next.

Every pass encodes its image again, with the ViT and with SAM 2, and runs the whole prompt. A pass is over
one region, so that no token is padding; and only the states that are needed meet the output matrix. Both
favour the plain step.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from ..grounding import best_candidate
from ..ops import prompts
from ..ops.mask import resize_masks
from ..ops.precision import without_gradient
from ..sa2va.generation import Sampling
from ..sa2va.sa2va import Sa2VA
from ..sa2va.text_codec import TextCodec
from ..structures import Captions, ImageFeatures, RegionBatch, RegionViews, Segmentation, TextEmbeds


@without_gradient()
def look(model: Sa2VA, region: RegionBatch, view: int) -> RegionViews:
    """View 1 or 2 of a batch of one region, from the frozen encoders."""
    index, masks = (region.image_index1, region.masks1) if view == 1 else (region.image_index2, region.masks2)
    image = int(index[0])
    tiles = region.pixel_values.split(region.num_tiles)[image]
    grounding = model.encode_grounding(region.g_pixel_values[image : image + 1])
    return RegionViews(
        ImageFeatures(model.encode_tiles(tiles), [len(tiles)], grounding),
        torch.zeros(1, dtype=torch.long, device=index.device),
        region.visual_prompts,
        resize_masks(masks, (model.sizes.mask_size,) * 2),
    )


@without_gradient()
def write(student: Sa2VA, region: RegionBatch, max_caption_len: int, sampling: Sampling | None) -> Captions:
    """One caption of the region, greedy without ``sampling``."""
    was_training, checkpointing = student.training, student.activation_checkpointing
    student.activation_checkpointing = False  # recomputed layers would drop the KV cache
    student.eval()
    prompt = student.describe_prompts(look(student, region, 1))[0].embeds
    chosen = dict(do_sample=False) if sampling is None else dict(do_sample=True, **vars(sampling))
    ids: Any = student.mllm.generate(
        inputs_embeds=prompt[None],
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=prompt.device),
        max_new_tokens=max_caption_len + len(student.text.end_ids),
        suppress_tokens=student.text.banned_token_ids,
        eos_token_id=None,
        pad_token_id=student.text.tokenizer.pad_token_id,
        stopping_criteria=StoppingCriteriaList([_EndOfTurn(student.text)]),
        **chosen,
    )
    student.activation_checkpointing = checkpointing
    student.train(was_training)
    return student.text.captions(ids.tolist(), max_caption_len).to(prompt.device)


class _EndOfTurn(StoppingCriteria):
    def __init__(self, text: TextCodec) -> None:
        self.text = text

    def __call__(self, input_ids: Tensor, scores, **kwargs) -> Tensor:
        ended = [self.text.find_end(row).has_ended for row in input_ids.tolist()]
        return torch.tensor(ended, device=input_ids.device)


def answer_ids(caption: Captions) -> Tensor:
    """The tokens ``[L]`` of one caption and its end of turn."""
    return caption.ids[0][caption.mask[0]]


def score(student: Sa2VA, region: RegionBatch, caption: Captions) -> Tensor:
    """Logits ``[1, L, V]`` that predict the tokens of one caption, with gradient."""
    prompt = student.describe_prompts(look(student, region, 1))[0].embeds
    hidden = _run(student, torch.cat([prompt, student.embed_ids(answer_ids(caption))]))
    return student.mllm.lm_head(hidden[:, len(prompt) - 1 : -1])


@without_gradient()
def score_at_start(student: Sa2VA, region: RegionBatch, caption: Captions) -> Tensor:
    """The same by the model before training, without gradient and without dropout."""
    was_training = student.training
    student.eval()
    with student.reference():
        logits = score(student, region, caption)
    student.train(was_training)
    return logits


def segment(model: Sa2VA, region: RegionBatch, texts: TextEmbeds) -> tuple[Segmentation, RegionViews]:
    """The mask of one text in view 2, and that view."""
    views = look(model, region, 2)
    prompt = model.segment_prompts(views, texts)[0].embeds
    answer = model.text.encode(prompts.SEGMENT_ANSWER + model.text.template.end_of_turn)
    answer_tensor = torch.tensor(answer, dtype=torch.long, device=prompt.device)
    hidden = _run(model, torch.cat([prompt, model.embed_ids(answer_tensor)]))
    seg_embeds = model.text_hidden_fcs(hidden[:, len(prompt) + answer.index(model.text.seg_token_id)])
    candidates = model.grounding_kind.decode(
        model.grounding_encoder, views.features.grounding, views.image_index, seg_embeds
    )
    answer_logits = model.mllm.lm_head(hidden[:, len(prompt) - 1 : -1])
    return Segmentation(*best_candidate(*candidates), answer_logits, answer_tensor), views


def _run(model: Sa2VA, embeds: Tensor) -> Tensor:
    """Hidden states ``[1, L, D]`` of embeddings ``[L, D]``."""
    return model.language_model(inputs_embeds=embeds[None], use_cache=False).last_hidden_state
