"""MPNet (https://arxiv.org/abs/2004.09297): BERT with T5's relative attention bias, counted as RoBERTa counts."""

from intel_quantized_embeddings.architectures.description import Architecture, Block, Refusal
from intel_quantized_embeddings.architectures.tensor_names import HeadNames, WeightNames

MPNET = Architecture(
    name="mpnet",
    model_types=("mpnet",),
    block=Block(positions_after_padding=True, relative_attention_buckets=32),
    pad_token_id=1,
    refusals=(
        Refusal(
            key="pad_token_id",
            unless=(1, None),
            why="MPNet counts positions from the padding id 1, whatever that file says, and no other is built in.",
        ),
        Refusal(
            key="relative_attention_num_buckets",
            unless=(32,),
            why="transformers makes a table of so many buckets and counts 32 in it, and no other number is built in.",
        ),
    ),
    prefixes=("mpnet.",),
    weights=WeightNames(
        word_embeddings="embeddings.word_embeddings.weight",
        position_embeddings="embeddings.position_embeddings.weight",
        embedding_norm="embeddings.LayerNorm",
        relative_attention_bias="encoder.relative_attention_bias.weight",
        layer="encoder.layer.{}.",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention_output="attention.attn.o",
        attention_norm="attention.LayerNorm",
        intermediate="intermediate.dense",
        output="output.dense",
        output_norm="output.LayerNorm",
    ),
    head=HeadNames(dense="classifier.dense", output="classifier.out_proj"),
)
