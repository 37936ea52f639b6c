"""Phi3, which InternVL2-4B has."""

from transformers import Phi3Config, PretrainedConfig

from .language_model import LanguageModel

_MATRICES = ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj']


class Phi3(LanguageModel):
    """q, k and v are one matrix, gate and up another, in the release and in transformers alike."""

    name = 'Phi3'
    architecture = 'Phi3ForCausalLM'
    lora_targets = _MATRICES
    released_lora_targets = _MATRICES

    @property
    def max_context(self) -> int:
        """Up to where its positions turn as in training.

        With "longrope" they turn otherwise in a longer sequence, also those at its beginning, so that a
        prompt that was read before could not be continued beyond that length.
        """
        stated = super().max_context
        if not self.config.get('rope_scaling'):
            return stated
        return min(stated, self.config.get('original_max_position_embeddings', stated))

    def native_config(self) -> PretrainedConfig:
        """The released values are Phi3's own; transformers 5 does not know "longrope" by its first name."""
        values = self._released_values()
        if scaling := values.get('rope_scaling'):
            kind = scaling.get('type', scaling.get('rope_type'))
            values['rope_scaling'] = scaling | {'type': 'longrope' if kind == 'su' else kind}
        return Phi3Config(**values)
