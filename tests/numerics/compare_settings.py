"""Compare quantization settings on scifact: python tests/numerics/compare_settings.py MODEL [--alphas 0.85 0.75 off].

Prints mean / 1st percentile / worst cosine to fp32 on 300 abstracts and 300 queries, for both ways of
setting activation ranges. MODEL is a folder or a hub id; ../shared must lie beside the checkout. The
tables of docs/quantization.md that name this command come from it.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from intel_quantized_embeddings.encoding.pipeline import encode_token_ids
from intel_quantized_embeddings.int8_folder.config import ActivationRanges
from intel_quantized_embeddings.int8_folder.fidelity import summarize_cosines
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization.calibration import built_in_texts, split
from intel_quantized_embeddings.quantization.openvino import quantize_graph
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.runtimes.building import build_embedder
from intel_quantized_embeddings.runtimes.openvino import OpenVINORuntime

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare quantization settings on scifact.")
    parser.add_argument("model")
    parser.add_argument("--alphas", nargs="+", default=["0.95", "0.85", "0.75", "0.6", "off"])
    options = parser.parse_args()

    source = find_model(options.model)
    settings = read_settings(source.path, name=source.name)
    embedder = build_embedder(source, settings, runtime=RuntimeName.OPENVINO)
    tokenizer = Tokenizer(source.path / TOKENIZER_FILE, max_length=settings.max_length, lowercase=settings.lowercase)

    def tokenize(documents, queries):
        return (
            tokenizer.encode(documents, instruction=settings.document_instruction).token_ids,
            tokenizer.encode(queries, instruction=settings.query_instruction).token_ids,
        )

    def encode(graph):
        runtime = OpenVINORuntime(graph)
        limits = {"pad_token_id": embedder.pad_token_id, "max_length": settings.max_length}
        return [encode_token_ids(runtime, [token_ids], **limits) for token_ids in scored]

    calibrated = split(built_in_texts()).calibrated
    calibration = [ids for part in tokenize(calibrated.documents, calibrated.queries) for ids in part]
    corpus = [f"{entry['title']} {entry['text']}" for entry in read_lines("corpus.jsonl")]
    queries = [entry["text"] for entry in read_lines("queries.jsonl")][:300]
    scored = tokenize(random.Random(0).sample(corpus, 300), queries)
    fp32 = encode(embedder.graph)
    for ranges in ActivationRanges:
        for alpha in options.alphas:
            recipe = Recipe(alpha=None if alpha == "off" else float(alpha), activation_ranges=ranges)
            graph = quantize_graph(embedder, calibration, recipe)
            documents, asked = (summarize_cosines(a, b) for a, b in zip(fp32, encode(graph), strict=True))
            print(f"{ranges.value}, SmoothQuant {alpha}: documents {documents}; queries {asked}", flush=True)


def read_lines(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (SCIFACT / name).read_text("utf-8").splitlines()]


if __name__ == "__main__":
    main()
