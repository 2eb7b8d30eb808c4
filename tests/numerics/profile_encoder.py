"""Where the time goes in an int8 folder: python tests/numerics/profile_encoder.py FOLDER [--rows 2] [--length 256].

OpenVINO's own counters, one thread, by type of operator, and what share of the int8 peak of a core (--peak) that is.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import openvino as ov

from intel_quantized_embeddings.benchmarks.arithmetic import EncoderSize, measure_int8_peak, operations_per_token

WARM_UP = 5
REPEATS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the time goes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--peak", type=float, help="int8 GOPS of a core; measured if not given")
    options = parser.parse_args()

    peak = options.peak or measure_int8_peak(num_threads=1)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": 1,
        "PERF_COUNT": True,
    }
    request = ov.Core().compile_model(options.folder / "encoder.xml", "CPU", settings).create_infer_request()
    ids = np.random.default_rng(0).integers(1000, 20_000, (options.rows, options.length))
    for _ in range(WARM_UP):
        request.infer({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    microseconds: dict[tuple[str, str], float] = defaultdict(float)
    for _ in range(REPEATS):
        request.infer({"input_ids": ids, "attention_mask": np.ones_like(ids)})
        for operator in request.profiling_info:
            microseconds[operator.node_type, operator.exec_type] += operator.real_time.total_seconds() * 1e6 / REPEATS
    total = sum(microseconds.values())
    for (kind, implementation), spent in sorted(microseconds.items(), key=lambda item: -item[1]):
        if spent > total / 1000:
            print(f"{spent:9.0f} us {spent / total:6.1%}  {kind} ({implementation})")
    size = EncoderSize.from_config(json.loads((options.folder / "config.json").read_text("utf-8")))
    tokens = options.rows * options.length
    rate = operations_per_token(size, tokens=options.length) * tokens / total / 1e3
    print(f"{total:9.0f} us for {tokens} tokens: {rate:.0f} GOPS, {rate / peak:.0%} of {peak:.0f}")


if __name__ == "__main__":
    main()
