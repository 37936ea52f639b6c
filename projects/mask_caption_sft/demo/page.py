"""The page itself: components of Gradio around :class:`Comparison`; nothing is computed here."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np

from .comparison import Comparison, Shown
from .examples import Example

_HELP = (
    'Draw on image 1, or load an image of a mask (what is not black is the region). Every model below '
    'answers by itself; yellow is what was marked, cyan what was found.'
)

#: For ``launch``: fonts that every machine has, so that nothing is fetched and no letter looks strange.
THEME = gr.themes.Default(font=('system-ui', 'sans-serif'), font_mono=('ui-monospace', 'monospace'))
#: Answers in a row, at least: one alone would fill the page.
_COLUMNS = 3


def build_page(comparison: Comparison, examples: Sequence[Example], title: str) -> gr.Blocks:
    """A page with three questions: what is this, where is that, and the round trip.

    Args:
        comparison: The models.
        examples: To begin with.
        title: Of the page.
    """
    with gr.Blocks(title=title, analytics_enabled=False) as page:
        gr.Markdown(f'# {title}\n{_HELP}')
        names = [f'{number}: {example.text}' for number, example in enumerate(examples)]
        chosen = gr.Dropdown(names, label='Example', type='index', value=None)
        with gr.Row():
            editor = gr.ImageEditor(label='Image 1: draw a mask', type='numpy', layers=False, format='png')
            mask_image = gr.Image(label='or a mask', type='numpy', image_mode='L', format='png')
            second = gr.Image(label='Image 2, for the round trip', type='numpy', format='png')
        with gr.Row():
            text = gr.Textbox(label='Text to look for in image 1')
            captions = gr.Slider(1, 16, value=1, step=1, label='Captions per mask: the best is kept')
        with gr.Row():
            ask_caption = gr.Button('Mask -> caption')
            ask_mask = gr.Button('Text -> mask')
            ask_trip = gr.Button("Mask -> caption -> mask' in image 2")
        shown = gr.Gallery(label='Answers', columns=max(_COLUMNS, len(comparison.models)), format='png')
        said = gr.Dataframe(headers=['model', 'text', 'of the image'], label='In words', interactive=False)

        def fill(index: int | None) -> list[Any]:
            if index is None:
                return [None, None, None, '']
            example = examples[index]
            image = dict(background=example.image1, layers=[], composite=example.image1)
            return [image, example.mask1.astype(np.uint8) * 255, example.image2, example.text]

        def describe(edited: Any, given: Any, count: float) -> Any:
            image = background(edited)
            return tables(answered(comparison.describe, image, marked(edited, given, image), int(count)))

        def segment(edited: Any, words: str) -> Any:
            return tables(answered(comparison.segment, background(edited), words))

        def round_trip(edited: Any, given: Any, other: Any, count: float) -> Any:
            image = background(edited)
            if other is None:
                raise gr.Error('There is no image 2. Load one, or choose an example.')
            mask = marked(edited, given, image)
            return tables(answered(comparison.round_trip, image, mask, other[..., :3], int(count)))

        chosen.change(fill, chosen, [editor, mask_image, second, text], api_name='example')
        answers = [shown, said]
        ask_caption.click(describe, [editor, mask_image, captions], answers, api_name='describe')
        ask_mask.click(segment, [editor, text], answers, api_name='segment')
        ask_trip.click(round_trip, [editor, mask_image, second, captions], answers, api_name='round_trip')
    return page


def background(edited: dict[str, Any] | None) -> np.ndarray:
    """The image below what was drawn, ``[H, W, 3]`` uint8."""
    if not edited or edited.get('background') is None:
        raise gr.Error('There is no image 1. Load one, or choose an example.')
    return np.ascontiguousarray(edited['background'][..., :3])


def marked(edited: dict[str, Any], given: np.ndarray | None, image: np.ndarray) -> np.ndarray:
    """What was drawn, ``[H, W]`` bool; where nothing was, the mask that was loaded."""
    drawn = [layer[..., 3] > 0 for layer in edited.get('layers') or [] if layer is not None]
    mask = np.any(drawn, axis=0) if drawn else np.zeros(image.shape[:2], bool)
    return mask if mask.any() or given is None else given > 0


def answered(question: Any, *args: Any) -> list[Shown]:
    """What the models answer; a mistake becomes a message on the page."""
    try:
        return question(*args)
    except ValueError as error:
        raise gr.Error(str(error)) from error


def tables(answers: list[Shown]) -> tuple[list[tuple[np.ndarray, str]], list[list[str]]]:
    """Pictures with captions, and the same in words."""
    pictures = [(answer.picture, f'{answer.name}: {answer.text}') for answer in answers]
    areas = ['-' if answer.mask is None else f'{answer.mask.mean():.2%}' for answer in answers]
    return pictures, [[answer.name, answer.text, area] for answer, area in zip(answers, areas)]
