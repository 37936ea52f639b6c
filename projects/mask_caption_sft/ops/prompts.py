"""Every question, answer and special token the model sees.

Source: upstream Sa2VA's ``hf/models/modeling_sa2va_chat.py`` (inference form of
the template) and its evaluation scripts.
"""

from dataclasses import dataclass

from .xtuner_parts import PROMPT_TEMPLATE

IMG_START, IMG_CONTEXT, IMG_END = '<img>', '<IMG_CONTEXT>', '</img>'
VISION_START, IMAGE_PAD, VISION_END = '<|vision_start|>', '<|image_pad|>', '<|vision_end|>'
VP_START, VP_END = '<vp>', '</vp>'
SEG = '[SEG]'
#: The text between the image and an expression, and what follows the expression.
SEGMENT_PREFIX, SEGMENT_SUFFIX = '\n Please segment', ' in this image.'
SEGMENT_ANSWER = f'Sure, {SEG}.'
DESCRIBE_INTRO = '\nThere are {count} part regions in the picture: '
DESCRIBE_QUESTION = (
    '\nPlease give me a short description of the region in the picture marked by region{index}.'
)


@dataclass(frozen=True)
class PromptTemplate:
    """How one turn of a conversation is wrapped.

    Attributes:
        before_input: Text before the user's words.
        before_answer: Text between the user's words and the assistant's.
        end_of_turn: Text that ends the assistant's answer.
    """

    before_input: str
    before_answer: str
    end_of_turn: str

    @classmethod
    def named(
        cls, name: str, newline_before_answer: bool = True, system: str | None = None
    ) -> 'PromptTemplate':
        """The template of that name in ``PROMPT_TEMPLATE``, XTuner's or our own.

        Args:
            name: ``'phi3_chat'`` for the released Sa2VA-4B.
            newline_before_answer: The inference form, which is what gets
                evaluated. Upstream's training data leave the newline out.
            system: Words of a system turn before the user's; None for no such turn.

        Raises:
            ValueError: There is no such template, or it has no marker for the
                end of an answer, so that no caption could be told from what
                follows it.
        """
        usable = sorted(key for key, value in PROMPT_TEMPLATE.items() if value.get('SUFFIX'))
        if name not in usable:
            problem = 'has no end-of-turn marker' if name in PROMPT_TEMPLATE else 'is unknown'
            raise ValueError(f'prompt_template={name!r} {problem}. Set it to one of {usable}.')
        template = PROMPT_TEMPLATE[name]
        before_input, before_answer = template['INSTRUCTION'].split('{input}')
        if not newline_before_answer:
            before_answer = before_answer.replace('\n', '', 1)
        if system is not None:
            before_input = template['SYSTEM'].format(system=system) + before_input
        return cls(before_input, before_answer, template['SUFFIX'])


def describe_question(index: int = 1) -> str:
    """The words after the visual prompts, when region ``index`` is to be described."""
    return '.\n' + DESCRIBE_QUESTION.format(index=index)


#: Added tokens of released Sa2VA tokenizers; none may stand in an annotation.
SPECIAL_TOKENS = (
    IMG_START, IMG_CONTEXT, IMG_END, VP_START, VP_END, SEG, '<p>', '</p>',
    VISION_START, IMAGE_PAD, VISION_END,
    '<|user|>', '<|assistant|>', '<|system|>', '<|end|>', '<|im_start|>', '<|im_end|>', '<|endoftext|>',
)  # fmt: skip


def check_expression(text: str) -> None:
    """Raise ``ValueError`` for a text that is empty or holds a special token."""
    found = [token for token in SPECIAL_TOKENS if token in text]
    if found or not text.strip():
        problem = f'contains the special token {found[0]!r}' if found else 'is empty'
        raise ValueError(f'the expression {text!r} {problem}; mend the annotation')
