"""What is measured beside this package: other people's libraries, a row each."""

from __future__ import annotations

from bench import libraries, preparation
from intel_quantized_embeddings.benchmarks import systems
from intel_quantized_embeddings.benchmarks.systems import System

_TORCH = ("torch", "torch")
_SENTENCE_TRANSFORMERS = ("sentence_transformers", "sentence-transformers")
_OPTIMUM = (("optimum.intel", "'intel-quantized-embeddings[export]'"), ("nncf", "nncf"))
_GENAI = (("openvino_genai", "openvino-genai"), ("openvino_tokenizers", "openvino-tokenizers"), *_OPTIMUM)

OTHERS: tuple[System, ...] = (
    System(
        name="sentence-transformers-fp32",
        baseline=True,
        label="sentence-transformers torch fp32",
        load=libraries.sentence_transformers_torch,
        parts=("latency", "throughput", "corpus"),
        needs=(_SENTENCE_TRANSFORMERS,),
    ),
    System(
        name="sentence-transformers-int8",
        label="sentence-transformers OpenVINO int8",
        load=libraries.sentence_transformers_openvino,
        prepare=preparation.openvino_int8,
        parts=("latency", "throughput", "corpus", "queries"),
        needs=(_SENTENCE_TRANSFORMERS, *_OPTIMUM),
    ),
    System(
        name="sentence-transformers-int8-f32",
        label="sentence-transformers OpenVINO int8, f32",
        load=libraries.sentence_transformers_openvino_f32,
        prepare=preparation.openvino_int8,
        parts=("corpus",),
        needs=(_SENTENCE_TRANSFORMERS, *_OPTIMUM),
    ),
    System(
        name="openvino-genai-int8",
        query_baseline=True,
        label="openvino-genai int8",
        load=libraries.genai,
        prepare=preparation.genai_int8,
        parts=("latency", "throughput", "corpus", "queries"),
        needs=_GENAI,
    ),
    System(
        name="openvino-genai-int8-sorted",
        label="openvino-genai int8, texts sorted",
        load=libraries.genai_sorted,
        prepare=preparation.genai_int8,
        parts=("corpus",),
        needs=_GENAI,
    ),
    System(
        name="fastembed-fp32",
        label="fastembed ONNX fp32",
        load=libraries.fastembed,
        prepare=preparation.onnx_fp32,
        parts=("latency", "throughput", "corpus"),
        needs=(("fastembed", "fastembed"), _TORCH, ("transformers", "transformers"), ("onnxscript", "onnxscript")),
    ),
    System(
        name="llama-cpp-q8_0",
        label="llama.cpp q8_0",
        load=libraries.llama_cpp,
        prepare=preparation.gguf_q8_0,
        parts=("latency", "throughput", "corpus", "queries"),
        needs=(("llama_cpp", "llama-cpp-python"), ("gguf", "gguf")),
    ),
    System(
        name="langchain-huggingface-fp32",
        baseline=True,
        label="LangChain HuggingFaceEmbeddings fp32",
        load=libraries.langchain_huggingface,
        parts=("corpus", "queries"),
        needs=(("langchain_huggingface", "langchain-huggingface"), _SENTENCE_TRANSFORMERS),
    ),
)

SYSTEMS = (*systems.SYSTEMS, *OTHERS)
