"""Compare attention in an IPEX int8 model: python tests/numerics/compare_attention.py MODEL [--alphas 0.85 off].

For attention in float32, in bfloat16 and in int8, and for each SmoothQuant strength: mean / 1st percentile /
worst cosine to fp32 on 150 abstracts and 150 queries of scifact, and time by that of torch fp32, the systems
taking turns. MODEL is a folder or a hub id; ../shared must lie beside the checkout. The table of
docs/quantization.md that names this command comes from it.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import time
from pathlib import Path

import numpy as np

from intel_quantized_embeddings.encoding.pipeline import encode_token_ids
from intel_quantized_embeddings.int8_folder.config import ActivationRanges
from intel_quantized_embeddings.int8_folder.fidelity import summarize_cosines
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.options import Precision, RuntimeName
from intel_quantized_embeddings.quantization.calibration import built_in_texts, split
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.runtimes.building import build_embedder
from intel_quantized_embeddings.runtimes.table import runtime_module

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"
SHAPES = ((8, 256), (32, 64), (1, 16))
TURNS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare attention in an IPEX int8 model.")
    parser.add_argument("model")
    parser.add_argument("--alphas", nargs="+", default=["0.85", "off"])
    options = parser.parse_args()

    runtime = runtime_module(RuntimeName.IPEX)
    import torch
    from torch.nn import functional

    from intel_quantized_embeddings.quantization.ipex import quantize_module
    from intel_quantized_embeddings.runtimes.ipex import flash_attention

    source = find_model(options.model)
    settings = read_settings(source.path, name=source.name)
    embedder = build_embedder(source, settings, runtime=RuntimeName.IPEX)
    tokenizer = Tokenizer(source.path / TOKENIZER_FILE, max_length=settings.max_length, lowercase=settings.lowercase)
    root = embedder.graph.layers[0]._head_size ** 0.5

    def in_matrix_products(query, key, value, bias):
        """What the quantizer takes apart, and so makes int8."""
        scores = torch.matmul(query, key.transpose(-1, -2)) * (1 / root) + bias
        return torch.matmul(torch.softmax(scores, dim=-1), value)

    attentions = {
        "fp32": (functional.scaled_dot_product_attention, False),
        "bf16": (flash_attention, True),
        "int8": (in_matrix_products, False),
    }
    calibrated = split(built_in_texts()).calibrated
    calibration = tokenizer.encode([*calibrated.documents, *calibrated.queries]).token_ids
    corpus = [f"{entry['title']} {entry['text']}" for entry in read_lines("corpus.jsonl")]
    scored = [
        tokenizer.encode(random.Random(0).sample(corpus, 150)).token_ids,
        tokenizer.encode([entry["text"] for entry in read_lines("queries.jsonl")][:150]).token_ids,
    ]
    limits = {"pad_token_id": embedder.pad_token_id, "max_length": settings.max_length}

    def encode(compiled):
        return [encode_token_ids(compiled, [token_ids], **limits) for token_ids in scored]

    compiled = {"torch fp32": runtime.compile_graph(embedder.graph, precision=Precision.FP32)}
    fp32 = encode(compiled["torch fp32"])
    for alpha in options.alphas:
        for name, (attention, in_bfloat16) in attentions.items():
            model = copy.deepcopy(embedder.graph)
            model.set_attention(attention, in_bfloat16=in_bfloat16)
            recipe = Recipe(alpha=None if alpha == "off" else float(alpha), activation_ranges=ActivationRanges.WIDEST)
            graph = quantize_module(model, calibration, recipe)
            key = f"attention {name}, SmoothQuant {alpha}"
            compiled[key] = runtime.compile_graph(graph, precision=Precision.INT8)
            documents, queries = (summarize_cosines(a, b) for a, b in zip(fp32, encode(compiled[key]), strict=True))
            print(f"{key}: documents {documents}; queries {queries}", flush=True)
    for shape in SHAPES:
        ids = np.random.default_rng(0).integers(1000, 2000, shape)
        seconds = {name: [] for name in compiled}
        for turn in range(TURNS + 3):
            for name, one in compiled.items():
                started = time.perf_counter()
                one.run(ids, np.ones_like(ids))
                if turn >= 3:
                    seconds[name].append(time.perf_counter() - started)
        base = np.array(seconds["torch fp32"])
        print(shape, {name: f"{np.median(base / np.array(times)):.2f}" for name, times in seconds.items()}, flush=True)


def read_lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (SCIFACT / name).read_text("utf-8").splitlines()]


if __name__ == "__main__":
    main()
