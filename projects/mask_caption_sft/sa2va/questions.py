"""Everything that is asked about some images, in one pass of the language model."""

from collections.abc import Callable
from functools import cache, cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from ..grounding import best_candidate
from ..ops.xtuner_parts import IGNORE_INDEX
from ..structures import CaptionLogits, Captions, ImageFeatures, Piece, RegionViews, Segmentation, TextEmbeds
from .prefix import Prefix
from .prompt_forest import PromptForest
from .prompt_pieces import describe_piece, image_piece, imageless_piece, segment_pieces

if TYPE_CHECKING:
    from .sa2va import Sa2VA


class Questions:
    """Questions to a model about I images, answered together: each image's part of the prompts runs once.

    Each question gives a function that answers it. The first answer runs the language model for all
    questions asked until then, with gradient to the trained weights; later ones cost next to nothing.

    Args:
        model: Who is asked.
        features: Of the I images.
        prefix: What the model has read of the images. Then only what follows the images runs, and
            gradients flow to that alone. Not for a model that recomputes its activations.
        show_images: False leaves the images out of segment questions; for the first phase of training
            a base from scratch.
    """

    def __init__(
        self,
        model: 'Sa2VA',
        features: ImageFeatures,
        prefix: Prefix | None = None,
        show_images: bool = True,
    ) -> None:
        self.model, self.features, self.prefix, self.show_images = model, features, prefix, show_images
        self._forest = PromptForest()
        self._has_run = False
        # Dicts and not cached methods, which would hold the step's graph in a circle.
        self._tokens: dict[int, Piece] = {}
        self._images: dict[int, int] = {}
        self._regions: dict[tuple[int, ...], int] = {}
        self._answers: dict[tuple[int, ...], int] = {}

    # ------------------------------------------------------------------ what can be asked

    def score(self, views: RegionViews, captions: Captions) -> Callable[[], CaptionLogits]:
        """How likely exactly the tokens of R captions are, teacher-forced.

        Args:
            views: The regions with their visual prompts; one may occur more than once.
            captions: One for each.
        """
        questions = self._add_describes(views)
        answers = [
            self._answer(question, ids[keep])
            for question, ids, keep in zip(questions, captions.ids, captions.mask)
        ]

        def scores() -> CaptionLogits:
            # The state before a token predicts it.
            before = [
                torch.cat([self._states[q][-1:], self._states[a][:-1]]) for q, a in zip(questions, answers)
            ]
            states = pad_sequence(before, batch_first=True)
            states = pad(states, (0, 0, 0, captions.ids.shape[1] - states.shape[1]))
            targets = captions.ids.masked_fill(~captions.mask, IGNORE_INDEX)
            return CaptionLogits(self.model.mllm.lm_head(states), targets)

        return cache(scores)

    def segment(self, views: RegionViews, texts: TextEmbeds) -> Callable[[], Segmentation]:
        """The masks of R texts, after the given answer "Sure, [SEG].".

        Args:
            views: The images to find them in.
            texts: R texts.
        """
        answer = self.model.segment_answer()
        answer_embeds = self.model.embed_ids(answer)
        if self.prefix is not None:
            self.prefix.read(views.image_index.tolist())  # together, and not one by one
        asked = [
            self._add(torch.cat([piece, answer_embeds]), after=self._image(image))
            for image, piece in zip(
                views.image_index.tolist(), segment_pieces(self.model, texts, self.show_images), strict=True
            )
        ]

        def masks() -> Segmentation:
            # The state before a token predicts it; the state at [SEG] prompts the grounding encoder.
            tails = torch.stack([self._states[number][-len(answer) - 1 :] for number in asked])
            seg_states = tails[:, 1 + self.model.text.position_of_seg(answer.tolist())]
            candidates = self.model.grounding_kind.decode(
                self.model.grounding_encoder,
                views.features.grounding,
                views.features.grounding_rows(views.image_index),
                self.model.text_hidden_fcs(seg_states),
                self.model.recompute_masks,
            )
            return Segmentation(*best_candidate(*candidates), self.model.mllm.lm_head(tails[:, :-1]), answer)

        return cache(masks)

    # ------------------------------------------------------------------ how it is answered

    def answer(self) -> None:
        """Run the language model now, for all questions; whoever reads an answer would do it."""
        _ = self._states

    @cached_property
    def _states(self) -> list[Tensor]:
        self._has_run = True
        return self.model.run(self._forest)

    def _add(self, piece: Piece | Tensor, after: int) -> int:
        if self._has_run:
            raise RuntimeError('These questions have been answered. Ask before the first answer is read.')
        return self._forest.add(piece, after)

    def _add_describes(self, views: RegionViews) -> list[int]:
        """The question of each region; regions that mark the same cells of an image share theirs."""
        assert views.visual_prompts is not None
        return [
            self._describe(image, cells)
            for image, cells in zip(views.image_index.tolist(), views.visual_prompts)
        ]

    def _describe(self, image: int, cells: Tensor) -> int:
        key = (image, *cells.flatten().nonzero()[:, 0].tolist())
        if key not in self._regions:
            piece = describe_piece(self.model, self._image_tokens(image), cells[None])
            self._regions[key] = self._add(piece, after=self._image(image))
        return self._regions[key]

    def _answer(self, question: int, ids: Tensor) -> int:
        """An answer to a question; the same one asked about twice runs once."""
        key = (question, *ids.tolist())
        if key not in self._answers:
            self._answers[key] = self._add(self.model.embed_ids(ids), after=question)
        return self._answers[key]

    def _image(self, image: int) -> int:
        """The root of everything about an image."""
        if image not in self._images:
            if not self.show_images:
                root = self._forest.root(imageless_piece(self.model))
            elif self.prefix is not None:
                root = self._forest.known_root(self.prefix[image])
            else:
                root = self._forest.root(image_piece(self.model, self._image_tokens(image)), is_read=False)
            self._images[image] = root
        return self._images[image]

    def _image_tokens(self, image: int) -> Piece:
        if self.prefix is not None:
            return self.prefix.tokens(image)
        if image not in self._tokens:
            self._tokens[image] = self.model.image_tokens(self.features, image)
        return self._tokens[image]
