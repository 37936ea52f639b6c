"""Sa2VA behind two verbs: *describe* (image, mask -> caption), *segment* (image, text -> mask)."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..ops import prompts
from ..ops.mask import resize_masks
from ..ops.pixels import normalize_tiles
from ..ops.precision import without_gradient
from ..structures import (
    CaptionLogits,
    Captions,
    ImageFeatures,
    Piece,
    RegionBatch,
    RegionViews,
    Segmentation,
    TextEmbeds,
    join,
)
from .generation import Sampling
from .merged_lora import merged_lora
from .modules import Sa2VAModules
from .prefix import Prefix
from .prompt_forest import PromptForest
from .prompt_pieces import describe_piece, image_piece, segment_pieces
from .questions import Questions
from .rollout import write_captions


class Sa2VA(Sa2VAModules):
    """A language-vision model and SAM 2 or 3, joined by ``text_hidden_fcs``; a released checkpoint's weights.

    What it is built from and what of it is trained: :class:`Sa2VAModules`, which has the arguments.
    """

    # ------------------------------------------------------------------ text

    def embed_ids(self, ids: Tensor) -> Tensor:
        """Token embeddings ``[..., D]`` of ids ``[...]``."""
        return self.token_rows.put_in(self.mllm.get_input_embeddings()(ids), ids)

    def embed_text(self, text: str) -> Tensor:
        """Token embeddings ``[L, D]`` of a text of ours after a special token, special tokens included."""
        return self._embed_list(self.text.encode(text))

    def embed_inside(self, text: str) -> Tensor:
        """The same where other text ends, see :meth:`TextCodec.encode_inside`."""
        return self._embed_list(self.text.encode_inside(text))

    def embed_beginning(self, text: str) -> Tensor:
        """The same for what begins a prompt, see :meth:`TextCodec.encode_beginning`."""
        return self._embed_list(self.text.encode_beginning(text))

    def _embed_list(self, ids: list[int]) -> Tensor:
        return self.embed_ids(torch.tensor(ids, dtype=torch.long, device=self.device))

    def segment_answer(self) -> Tensor:
        """``[A]`` long, the tokens of "Sure, [SEG]." and end of turn."""
        ids = self.text.encode(prompts.SEGMENT_ANSWER + self.text.template.end_of_turn)
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    def embed_captions(self, texts: Sequence[str]) -> TextEmbeds:
        """Written texts as the segment prompt holds them, tokenised anew from the text.

        After a space a tokenizer may split a text otherwise than at the beginning of an answer, and
        the last token may hold part of the end of turn. The text is what an exported model gets.
        """
        return self._embed_rows(self.text.encode_captions(texts))

    def embed_expressions(self, texts: Sequence[str]) -> TextEmbeds:
        """People's texts in the same place, tokenised as upstream's prompt is.

        Raises:
            ValueError: A text contains a special token.
        """
        return self._embed_rows(self.text.encode_expressions(texts))

    def _embed_rows(self, rows: Sequence[Sequence[int]]) -> TextEmbeds:
        ids = [torch.tensor(row, dtype=torch.long, device=self.device) for row in rows]
        width = max(map(len, ids), default=0)
        masks = torch.arange(width, device=self.device) < torch.tensor(
            [len(row) for row in ids], dtype=torch.long, device=self.device
        ).view(-1, 1)
        padded = pad_sequence(ids, batch_first=True) if ids else masks.long()
        return TextEmbeds(self.embed_ids(padded), masks)

    # ------------------------------------------------------------------ images

    def look(self, batch: RegionBatch, segment_first: bool = True) -> tuple[RegionViews, RegionViews]:
        """Both views of every region, from the frozen encoders, each distinct image once.

        Args:
            batch: R regions.
            segment_first: Whether anything is segmented in first views; else no one encodes them for it.
        """
        segmented = [batch.image_index1, batch.image_index2] if segment_first else [batch.image_index2]
        features = self.encode_images(
            batch.pixel_values,
            batch.num_tiles,
            batch.g_pixel_values,
            torch.cat(segmented).unique(),
            batch.grids,
        )
        size = (self.sizes.mask_size,) * 2
        return (
            RegionViews(features, batch.image_index1, batch.visual_prompts, resize_masks(batch.masks1, size)),
            RegionViews(features, batch.image_index2, masks=resize_masks(batch.masks2, size)),
        )

    @without_gradient()
    def encode_images(
        self,
        pixel_values: Tensor,
        num_tiles: list[int],
        g_pixel_values: Tensor,
        segmented: Tensor | None = None,
        grids: Sequence[tuple[int, int]] | None = None,
    ) -> ImageFeatures:
        """Features of I distinct images from the frozen encoders, without gradient.

        Args:
            pixel_values: ``[sum(num_tiles), 3, S, S]`` uint8 RGB, or normalised float.
            num_tiles: I counts.
            g_pixel_values: ``[I, 3, G, G]`` in 0..255.
            segmented: Numbers of the images that the grounding encoder sees; by default all.
            grids: Rows and columns of each image's prompt cells; for a backbone that takes images whole.
        """
        seen = g_pixel_values if segmented is None else g_pixel_values[segmented]
        vit = self.encode_tiles(pixel_values, grids)
        grounding = self.encode_grounding(seen)
        return ImageFeatures(vit, list(num_tiles), grounding, segmented, list(grids) if grids else None)

    def encode_tiles(self, pixel_values: Tensor, grids: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Features ``[tiles, tokens, C]`` of the vision encoder, before the projector."""
        tiles = normalize_tiles(pixel_values, *self.backbone.pixel_stats)
        return self.backbone.encode(self.mllm, tiles, grids)

    def encode_grounding(self, g_pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The grounding encoder's FPN levels, see :class:`ImageFeatures`."""
        dtype = self.grounding_encoder.dtype
        pixels = self.grounding_kind.normalize(g_pixel_values, self.round_grounding_stats, dtype)
        return self.grounding_kind.encode(self.grounding_encoder, pixels)

    def image_tokens(self, features: ImageFeatures, image: int) -> Piece:
        """Projected tokens of one image."""
        grid = None if features.grids is None else features.grids[image]
        return self.backbone.image_tokens(self.mllm, features.vit.split(features.num_tiles)[image], grid)

    def read(self, features: ImageFeatures) -> Prefix:
        """The image's part of every prompt, for :meth:`describe` and :meth:`segment`; see :class:`Prefix`."""
        return Prefix(self, features)

    # ------------------------------------------------------------------ describe

    @without_gradient()
    def describe(
        self,
        views: RegionViews,
        max_caption_len: int,
        num_captions: int = 1,
        sampling: Sampling | None = None,
        prefix: Prefix | None = None,
    ) -> Captions:
        """Captions of R regions, written with a KV cache, without gradient and without dropout.

        Args:
            views: The regions with their visual prompts.
            max_caption_len: The most tokens of a caption; the end of turn comes on top.
            num_captions: K, captions of each region: one is greedy, the others are sampled.
            sampling: How; by default from the whole distribution.
            prefix: What the model, with its present weights, has read of the images.

        Returns:
            K * R captions: the greedy ones of all regions, then the second ones, and so on.

        Raises:
            ValueError: Prompt and caption together exceed the model's context.
        """
        if len(views) == 0:
            return self.text.captions([]).to(self.device)
        prefix = prefix or self.read(views.features)
        merged = merged_lora(self.language_model) if self.merge_to_write else nullcontext()
        with self.without_recomputation(), merged:
            return write_captions(self, views, prefix, max_caption_len, num_captions, sampling or Sampling())

    def check_context(self, prompt_len: int, answer_len: int) -> None:
        """Raise ``ValueError`` if prompt and answer together are longer than the model's context."""
        if prompt_len + answer_len > self.max_context:
            raise ValueError(
                f'A prompt of {prompt_len} tokens and an answer of up to {answer_len} exceed the '
                f"model's context of {self.max_context}. Lower max_caption_len or "
                f'{self.backbone.size_setting}.'
            )

    def score(self, views: RegionViews, captions: Captions) -> CaptionLogits:
        """Scores of exactly the tokens of R captions, one of each region; see :meth:`Questions.score`."""
        return self.ask(views.features).score(views, captions)()

    @without_gradient()
    def score_at_start(self, views: RegionViews, captions: Captions) -> CaptionLogits:
        """Scores by the model before training, without gradient and without dropout."""
        with self.evaluating(), self.reference():
            return self.score(views, captions)

    # ------------------------------------------------------------------ segment

    def segment(self, views: RegionViews, texts: TextEmbeds, prefix: Prefix | None = None) -> Segmentation:
        """Masks of R texts; see :meth:`Questions.segment`.

        Args:
            views: The images to find them in.
            texts: R texts, from :meth:`embed_captions`, :meth:`embed_expressions` or a bridge.
            prefix: What the model has read of the images; then gradients flow to the texts, and
                to the weights from the texts on.
        """
        return self.ask(views.features, prefix).segment(views, texts)()

    def ask(
        self, features: ImageFeatures, prefix: Prefix | None = None, show_images: bool = True
    ) -> Questions:
        """Questions about some images, answered in one pass; see :class:`Questions`."""
        return Questions(self, features, prefix, show_images)

    # ------------------------------------------------------------------ whole prompts

    def describe_prompts(self, views: RegionViews) -> list[Piece]:
        """R embedded prompts that ask for descriptions of R regions, each alone in its image."""
        assert views.visual_prompts is not None
        rows = zip(self._tokens_of(views), views.visual_prompts)
        return [join([image_piece(self, t), describe_piece(self, t, cells[None])]) for t, cells in rows]

    def segment_prompts(self, views: RegionViews, texts: TextEmbeds) -> list[Piece]:
        """R embedded prompts that ask for the masks of R texts, up to the answer."""
        rows = zip(self._tokens_of(views), segment_pieces(self, texts))
        return [join([image_piece(self, t), piece]) for t, piece in rows]

    def _tokens_of(self, views: RegionViews) -> list[Piece]:
        """The image tokens of each region; an image is projected once."""
        images = views.image_index.tolist()
        tokens = {image: self.image_tokens(views.features, image) for image in set(images)}
        return [tokens[image] for image in images]

    def states(self, sequences: Sequence[Piece | Tensor]) -> list[Tensor]:
        """The last hidden states ``[L, D]`` (after the final norm) of prompts, or of embedded texts."""
        forest = PromptForest()
        for sequence in sequences:
            forest.root(sequence)
        return self.run(forest)

    def run(self, forest: PromptForest) -> list[Tensor]:
        """The last hidden states ``[L, D]`` of each piece of some prompts, see :meth:`PromptForest.run`.

        Raises:
            ValueError: A prompt is longer than the model's context.
        """
        self.check_context(forest.longest_prompt(), 0)
        return forest.run(self.language_model)
