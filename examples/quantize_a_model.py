"""Quantize a model on texts like your own, and see how faithful the int8 vectors are.

    python examples/quantize_a_model.py my-int8
    python examples/quantize_a_model.py my-int8 --model BAAI/bge-base-en-v1.5 --calibration my-texts.txt

    python examples/quantize_a_model.py my-int8 --runtime openvino --calibration my-texts.txt

The file of texts has one a line, or is .jsonl with a "text" each: a few hundred, of every length that the model will
see. int8 is measured on half of them; the OpenVINO runtime's is calibrated on the other half. Needs
`pip install -e .`, and `pip install -e '.[openvino]'` for that runtime.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from intel_quantized_embeddings import Encoder, QuantizationReport, quantize
    from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
    from intel_quantized_embeddings.quantization.calibration import read_texts
    from intel_quantized_embeddings.vectors import cosines
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e .")

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
QUERY = "how do plants make food?"
DOCUMENTS = (
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "Chlorophyll in the leaves absorbs mostly red and blue light.",
    "Mushrooms take their food from dead wood and soil; they need no light.",
    "A restaurant kitchen cooks to order, and its menu changes with the season.",
    "def area(width, height): return width * height",
)


def show_report(report: QuantizationReport) -> None:
    """Print what came of quantizing."""
    before, after = report.bytes_before / 1e6, report.bytes_after / 1e6
    print(f"\n{report.folder}: {before:.1f} MB -> {after:.1f} MB in {report.seconds:.0f} s")
    print(f"  documents: {report.fidelity.documents}")
    print(f"  queries:   {report.fidelity.queries}")


def compare(model: str, folder: Path) -> None:
    """Encode a few texts in int8 and in fp32, and print both sides."""
    int8, fp32 = Encoder.load(folder), Encoder.load(model, precision="fp32")
    texts8, texts32 = int8.encode_documents(DOCUMENTS), fp32.encode_documents(DOCUMENTS)
    query8, query32 = int8.encode_queries([QUERY])[0], fp32.encode_queries([QUERY])[0]
    print(f"\n{QUERY}\n  {'fp32':>6} {'int8':>6}   cosine of int8 to fp32, text")
    # Compared as the model's folder says: by cosine, as a rule.
    similarity = fp32.settings.similarity
    scores8, scores32 = similarity.to_documents(query8, texts8), similarity.to_documents(query32, texts32)
    for text, score8, score32, vector8, vector32 in zip(DOCUMENTS, scores8, scores32, texts8, texts32, strict=True):
        (cosine,) = cosines(vector8, vector32[None])
        print(f"  {score32:6.3f} {score8:6.3f}   {cosine:.4f}  {text}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Quantize a model on your own texts and compare it with fp32.")
    parser.add_argument("output", metavar="OUT", type=Path, help="the int8 folder to write")
    parser.add_argument("--model", default=MODEL, help="a hub id or a folder (%(default)s)")
    parser.add_argument("--calibration", metavar="FILE", type=Path, help="texts like yours, one a line or .jsonl")
    parser.add_argument("--runtime", default="native", help="which one OUT is for: native, openvino or ipex")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    options = parser.parse_args(argv)
    try:
        texts = read_texts(options.calibration) if options.calibration else None
        report = quantize(
            options.model,
            options.output,
            calibration_texts=texts,
            runtime=options.runtime,
            overwrite=options.overwrite,
            progress=print,
        )
        show_report(report)
        compare(options.model, report.folder)
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
