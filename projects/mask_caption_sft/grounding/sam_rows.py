"""Names of what SAM 2 and SAM 3 share, in the released layout and natively: all that is prompted.

Source: Sa2VA's released layout (``grounding_encoder.sam2_model``, for SAM 3 too) and the parameter names of
transformers' ``Sam2Model`` and ``Sam3TrackerModel``.
"""

NATIVE = 'grounding_encoder.'
RELEASED = 'grounding_encoder.sam2_model.'


def rows(released: str, native: str, names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of names, each behind its prefix."""
    return [(released + there, native + here) for there, here in names]


#: (released, native), with the wildcards of checkpoints/key_map.py.
PROMPTED = [
    (RELEASED + 'no_mem_embed', NATIVE + 'no_memory_embedding'),
    (
        RELEASED + 'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix',
        NATIVE + 'shared_image_embedding.positional_embedding',
    ),
    *rows(
        RELEASED + 'sam_prompt_encoder.',
        NATIVE + 'prompt_encoder.',
        [
            ('mask_downscaling.0.{s}', 'mask_embed.conv1.{s}'),
            ('mask_downscaling.1.{s}', 'mask_embed.layer_norm1.{s}'),
            ('mask_downscaling.3.{s}', 'mask_embed.conv2.{s}'),
            ('mask_downscaling.4.{s}', 'mask_embed.layer_norm2.{s}'),
            ('mask_downscaling.6.{s}', 'mask_embed.conv3.{s}'),
            ('no_mask_embed.weight', 'no_mask_embed.weight'),
            ('not_a_point_embed.weight', 'not_a_point_embed.weight'),
        ],
    ),
    *rows(
        RELEASED + 'sam_mask_decoder.',
        NATIVE + 'mask_decoder.',
        [
            ('transformer.layers.{n}.{w}.out_proj.{s}', 'transformer.layers.{n}.{w}.o_proj.{s}'),
            ('transformer.layers.{n}.{w}.{qkv}_proj.{s}', 'transformer.layers.{n}.{w}.{qkv}_proj.{s}'),
            ('transformer.layers.{n}.norm{n}.{s}', 'transformer.layers.{n}.layer_norm{n}.{s}'),
            (
                'transformer.final_attn_token_to_image.{qkv}_proj.{s}',
                'transformer.final_attn_token_to_image.{qkv}_proj.{s}',
            ),
            (
                'transformer.final_attn_token_to_image.out_proj.{s}',
                'transformer.final_attn_token_to_image.o_proj.{s}',
            ),
            ('transformer.norm_final_attn.{s}', 'transformer.layer_norm_final_attn.{s}'),
            ('iou_token.weight', 'iou_token.weight'),
            ('mask_tokens.weight', 'mask_tokens.weight'),
            ('obj_score_token.weight', 'obj_score_token.weight'),
            ('output_upscaling.0.{s}', 'upscale_conv1.{s}'),
            ('output_upscaling.1.{s}', 'upscale_layer_norm.{s}'),
            ('output_upscaling.3.{s}', 'upscale_conv2.{s}'),
            ('conv_s{n}.{s}', 'conv_s{n}.{s}'),
            *(
                (f'{head}.layers.{there}.{{s}}', f'{head}.{here}.{{s}}')
                for head in ('output_hypernetworks_mlps.{n}', 'iou_prediction_head', 'pred_obj_score_head')
                for there, here in ((0, 'proj_in'), (1, 'layers.0'), (2, 'proj_out'))
            ),
        ],
    ),
]


def mlp_of_decoder(first: str, second: str) -> list[tuple[str, str]]:
    """The two layers of a block of the mask decoder, which the releases name differently."""
    block = 'transformer.layers.{n}.mlp.'
    return rows(
        RELEASED + 'sam_mask_decoder.' + block,
        NATIVE + 'mask_decoder.' + block,
        [(first + '.{s}', 'proj_in.{s}'), (second + '.{s}', 'proj_out.{s}')],
    )


#: Released tensors of one row each, stacked to one native tensor.
STACKED = [
    (
        tuple(f'{RELEASED}sam_prompt_encoder.point_embeddings.{i}.weight' for i in range(4)),
        NATIVE + 'prompt_encoder.point_embed.weight',
    ),
]

#: Beginnings of released tensors that no image needs: what both have for the frames of a video.
MEMORY = [
    RELEASED + name
    for name in (
        'maskmem_tpos_enc', 'no_mem_pos_enc', 'no_obj_ptr', 'no_obj_embed_spatial', 'mask_downsample.',
        'obj_ptr_proj.', 'obj_ptr_tpos_proj.',
    )
]  # fmt: skip
