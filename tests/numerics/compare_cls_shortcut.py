"""What computing one row of a CLS model's last layer is worth: python tests/numerics/compare_cls_shortcut.py MODEL.

Quantizes the graph with and without the shortcut and lets the two take turns on one batch of random ids with all
threads. Prints the ratio of times (median and 10 to 90 % over turns) and the worst difference of their fp32 vectors.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization.calibration import built_in_texts
from intel_quantized_embeddings.quantization.openvino import activation_ranges, quantize_graph
from intel_quantized_embeddings.quantization.recipe import DEFAULT_ALPHA, Recipe
from intel_quantized_embeddings.runtimes import openvino_graph
from intel_quantized_embeddings.runtimes.building import build_embedder
from intel_quantized_embeddings.runtimes.openvino import OpenVINORuntime

WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description="What the CLS shortcut is worth.")
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()

    source = find_model(options.model)
    settings = read_settings(source.path, name=source.name)
    tokenizer = Tokenizer(source.path / TOKENIZER_FILE, max_length=settings.max_length)
    texts = built_in_texts()
    calibration = tokenizer.encode([*texts.documents, *texts.queries]).token_ids

    layer = openvino_graph.build_layer
    embedders = {"with": build_embedder(source, settings, runtime=RuntimeName.OPENVINO)}
    openvino_graph.build_layer = lambda *arguments, first_only, name: layer(*arguments, first_only=False, name=name)
    embedders["without"] = build_embedder(source, settings, runtime=RuntimeName.OPENVINO)

    ids = np.random.default_rng(0).integers(1000, 20_000, (options.rows, options.length))
    batch = ids, np.ones_like(ids)
    fp32 = [OpenVINORuntime(embedder.graph).run(*batch) for embedder in embedders.values()]
    recipe = Recipe(alpha=DEFAULT_ALPHA, activation_ranges=activation_ranges(None, settings.pooling))
    runtimes = {
        name: OpenVINORuntime(quantize_graph(embedder, calibration, recipe)) for name, embedder in embedders.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    for turn in range(WARM_UP + options.repeats):
        for name in sorted(runtimes, reverse=turn % 2 == 0):
            started = time.perf_counter()
            runtimes[name].run(*batch)
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    ratios = np.array(seconds["without"]) / np.array(seconds["with"])
    low, high = np.percentile(ratios, (10, 90))
    print(f"{Path(options.model).name}, {options.rows} x {options.length} tokens, {options.repeats} turns")
    print(f"without by with the shortcut: {np.median(ratios):.3f} ({low:.3f} to {high:.3f})")
    print(f"worst difference of fp32 vectors: {np.abs(fp32[0] - fp32[1]).max():.1e}")


if __name__ == "__main__":
    main()
