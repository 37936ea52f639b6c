"""A Qwen-VL checkpoint in the released layout, run plainly by transformers' own class and image processor.

Whole prompts, one at a time, nothing shared or packed, and nothing of the project: tensors are taken by their
released names, positions and features of a region are written out.
"""

import inspect
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

CLIP = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
_KINDS: dict[str, Any] = {
    'qwen2_5_vl_text': (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, CLIP),
    'qwen3_vl_text': (Qwen3VLConfig, Qwen3VLForConditionalGeneration, ([0.5] * 3, [0.5] * 3)),
}


class PlainQwen:
    """Image tokens, hidden states and logits of a checkpoint for one image.

    Args:
        folder: In the released layout, one file.
        config: Its ``config.json``.
        image: The image.
        limits: Its least and most pixels.
        tokenizer: The checkpoint's.
    """

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        image: Image.Image,
        limits: tuple[int, int],
        tokenizer: Any,
    ) -> None:
        kind, model, (mean, std) = _KINDS[config['text_config']['model_type']]
        self.tokenizer, vision = tokenizer, config['vision_config']
        self.pad = tokenizer.convert_tokens_to_ids('<|image_pad|>')
        text, start = deepcopy(config['text_config']), tokenizer.convert_tokens_to_ids('<|vision_start|>')
        self.native: Any = model(
            kind(
                text_config=text, vision_config=vision, image_token_id=self.pad, vision_start_token_id=start,
                video_token_id=len(tokenizer) + 7, tie_word_embeddings=False,
            )
        ).eval()  # fmt: skip
        state = load_file(folder / 'model.safetensors')
        own = {k.removeprefix('model.'): v for k, v in state.items() if k.startswith('model.')}
        assert {name.split('.')[0] for name in own} == {'model', 'lm_head'}
        self.native.load_state_dict(own)
        seen = Qwen2VLImageProcessor(
            patch_size=vision['patch_size'], min_pixels=limits[0], max_pixels=limits[1], image_mean=mean,
            image_std=std, do_convert_rgb=True,
        )(images=[image], return_tensors='pt')  # fmt: skip
        self.pixels, self.thw = seen['pixel_values'], seen['image_grid_thw']
        _, rows, columns = self.thw[0].tolist()
        self.grid = rows // 2, columns // 2

    @torch.no_grad()
    def image(self) -> tuple[Tensor, list[Tensor]]:
        """Tokens ``[L, D]`` and what is added to them behind the first layers."""
        found = self.native.model.visual(self.pixels, grid_thw=self.thw)
        if isinstance(found, Tensor):
            return found, []
        if isinstance(found, tuple):
            return found[0], list(found[1])
        return found.pooler_output, list(getattr(found, 'deepstack_features', None) or [])

    def ids(self, text: str) -> Tensor:
        """A whole prompt, tokenised as one string; ``{image}`` is one pad token per cell."""
        rows, columns = self.grid
        pads = '<|image_pad|>' * (rows * columns)
        return torch.tensor(self.tokenizer(text.replace('{image}', pads)).input_ids)

    @torch.no_grad()
    def states(self, ids: Tensor) -> Tensor:
        """The last hidden states ``[L, D]`` of a prompt with the image, by the class's own ``forward``."""
        given: dict[str, Any] = dict(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None])
        given |= dict(pixel_values=self.pixels, image_grid_thw=self.thw)
        if 'mm_token_type_ids' in inspect.signature(self.native.model.forward).parameters:
            given['mm_token_type_ids'] = (ids == self.pad).int()[None]
        self.native.model.rope_deltas = None
        return self.native.model(**given).last_hidden_state[0]

    @torch.no_grad()
    def states_with_region(self, ids: Tensor, marks: Tensor) -> Tensor:
        """The same of a prompt that also holds the tokens of a region.

        Args:
            ids: ``[L]``, with a pad token for each of the image's tokens, and then of the region's.
            marks: ``[rows, columns]`` bool, the region.
        """
        tokens, deep = self.image()
        rows, columns = self.grid
        cells = [(row, column) for row in range(rows) for column in range(columns)]
        chosen = [number for number, cell in enumerate(cells) if marks[cell]]
        positions, here, seen = [], 0, 0
        for number, token in enumerate(ids.tolist()):
            if token != self.pad:
                if number and ids[number - 1] == self.pad:
                    here += max(rows, columns)  # behind the image, and behind the image again
                positions.append((here, here, here))
                here += 1
                continue
            row, column = cells[seen] if seen < len(cells) else cells[chosen[seen - len(cells)]]
            positions.append((here, here + row, here + column))
            seen += 1
        places = ids == self.pad
        rows_of = torch.cat([torch.arange(len(cells)), torch.tensor(chosen)])
        embeds = self.native.get_input_embeddings()(ids).clone()
        embeds[places] = tokens[rows_of]
        order = torch.arange(len(ids))
        extra = {}
        if deep:
            extra = dict(visual_pos_masks=places[None], deepstack_visual_embeds=[d[rows_of] for d in deep])
        return self.native.model.language_model(
            inputs_embeds=embeds[None],
            position_ids=torch.cat([order[None, None], torch.tensor(positions).T[:, None]]),
            attention_mask=torch.ones_like(ids)[None],
            **extra,
        ).last_hidden_state[0]

    @torch.no_grad()
    def logits(self, states: Tensor) -> Tensor:
        """``[..., V]``."""
        return self.native.lm_head(states)

    def positions(self, ids: Tensor) -> Tensor:
        """``[3, L]``, as the class itself finds them."""
        given: dict[str, Any] = dict(input_ids=ids[None], image_grid_thw=self.thw)
        if 'mm_token_type_ids' in inspect.signature(self.native.model.get_rope_index).parameters:
            given['mm_token_type_ids'] = (ids == self.pad).int()[None]
        return self.native.model.get_rope_index(**given)[0][:, 0]
