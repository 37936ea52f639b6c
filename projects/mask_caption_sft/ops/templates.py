"""Chat templates, written as XTuner's ``PROMPT_TEMPLATE`` writes them.

Here are those whose answers end with a marker: without one, nobody can tell where a caption ends.
"""

_CHATML = dict(
    SYSTEM='<|im_start|>system\n{system}<|im_end|>\n',
    INSTRUCTION='<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n',
    SUFFIX='<|im_end|>',
)

#: Released Sa2VA checkpoints name ``phi3_chat``, ``internlm2_chat`` or ``qwen_chat`` in ``config.json``.
TEMPLATES: dict[str, dict[str, str]] = dict(
    phi3_chat=dict(
        SYSTEM='<|system|>\n{system}<|end|>\n',
        INSTRUCTION='<|user|>\n{input}<|end|>\n<|assistant|>\n',
        SUFFIX='<|end|>',
    ),
    internlm2_chat=_CHATML,
    qwen_chat=_CHATML,
    minicpm3=_CHATML,
    internlm_chat=dict(
        SYSTEM='<|System|>:{system}\n',
        INSTRUCTION='<|User|>:{input}<eoh>\n<|Bot|>:',
        SUFFIX='<eoa>',
    ),
    llama3_chat=dict(
        SYSTEM='<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>',
        INSTRUCTION=(
            '<|start_header_id|>user<|end_header_id|>\n\n{input}<|eot_id|>'
            '<|start_header_id|>assistant<|end_header_id|>\n\n'
        ),
        SUFFIX='<|eot_id|>',
    ),
    gemma=dict(
        SYSTEM='<start_of_turn>system\n{system}<end_of_turn>\n',
        INSTRUCTION='<start_of_turn>user\n{input}<end_of_turn>\n<start_of_turn>model\n',
        SUFFIX='<end_of_turn>',
    ),
    cohere_chat=dict(
        SYSTEM='<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>{system}<|END_OF_TURN_TOKEN|>',
        INSTRUCTION=(
            '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{input}<|END_OF_TURN_TOKEN|>'
            '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'
        ),
        SUFFIX='<|END_OF_TURN_TOKEN|>',
    ),
    deepseek_v2=dict(
        SYSTEM='{system}\n\n',
        INSTRUCTION='User: {input}\n\nAssistant: ',
        SUFFIX='<｜end▁of▁sentence｜>',  # noqa: RUF001
    ),
)
