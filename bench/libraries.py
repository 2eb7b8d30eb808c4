"""Other people's libraries, set up as each one's documentation says, with this model's pooling, length and threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench import preparation
from intel_quantized_embeddings.benchmarks.loaded import LoadedSystem, Request
from intel_quantized_embeddings.errors import UnsupportedModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Tokens that llama.cpp computes together. Its attention is over all pairs of them, whichever text they are of, so 2,048
# are slower.
_LLAMA_BATCH = 512

# Threads aside, OpenVINO's own settings, as their users have them: unlike ours, bfloat16 for what is not int8
# wherever the CPU has it.
_DEFAULT_PRECISION = "OpenVINO's default precision hint: bf16 for what is not int8, where the CPU has it"


def sentence_transformers_torch(request: Request) -> LoadedSystem:
    """sentence-transformers as it comes: torch in fp32."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(request.num_threads)
    return _sentence_transformers(
        SentenceTransformer(str(request.model), device="cpu"), request, {"model": "the fp32 folder", "backend": "torch"}
    )


def sentence_transformers_openvino(request: Request) -> LoadedSystem:
    """sentence-transformers' OpenVINO backend with a static int8 file."""
    return _sentence_transformers_openvino(request, {}, _DEFAULT_PRECISION)


def sentence_transformers_openvino_f32(request: Request) -> LoadedSystem:
    """The same with our precision for what is not int8, so that precision alone is not what is compared."""
    return _sentence_transformers_openvino(request, {"INFERENCE_PRECISION_HINT": "f32"}, "f32 for what is not int8")


def _sentence_transformers_openvino(request: Request, hints: dict[str, str], precision: str) -> LoadedSystem:
    from sentence_transformers import SentenceTransformer

    folder = preparation.openvino_int8(request)
    model = SentenceTransformer(
        str(folder),
        backend="openvino",
        model_kwargs={
            "file_name": preparation.INT8_FILE,
            "device": "CPU",
            "ov_config": {"INFERENCE_NUM_THREADS": request.num_threads, **hints},
        },
    )
    return _sentence_transformers(
        model,
        request,
        {
            "model": "optimum-intel's export in NNCF's default static int8",
            "backend": "openvino",
            "precision": precision,
        },
    )


def _sentence_transformers(model: Any, request: Request, given: dict[str, str]) -> LoadedSystem:
    model.max_seq_length = request.max_length
    model.default_prompt_name = None  # every system gets the same texts, without instructions

    def encode(texts: list[str], batch_size: int) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(texts, batch_size=batch_size, show_progress_bar=False)
        return vectors

    return LoadedSystem(encode=encode, embed_query=model.encode, given=given)


def langchain_huggingface(request: Request) -> LoadedSystem:
    """LangChain's HuggingFaceEmbeddings: sentence-transformers in torch fp32, lists of floats."""
    import torch
    from langchain_huggingface import HuggingFaceEmbeddings

    torch.set_num_threads(request.num_threads)
    embeddings = HuggingFaceEmbeddings(
        model_name=str(request.model),
        model_kwargs={"device": "cpu"},
        encode_kwargs={"normalize_embeddings": request.normalize},
    )
    embeddings._client.max_seq_length = request.max_length  # it has no option for it
    embeddings._client.default_prompt_name = None

    def encode(texts: list[str], batch_size: int) -> NDArray[np.float32]:
        embeddings.encode_kwargs["batch_size"] = batch_size
        return np.array(embeddings.embed_documents(texts), dtype=np.float32)

    return LoadedSystem(encode=encode, embed_query=embeddings.embed_query, given={"model": "the fp32 folder"})


def genai(request: Request) -> LoadedSystem:
    """openvino-genai's TextEmbeddingPipeline, batches in the order the texts come in."""
    return _genai(request, by_length=False)


def genai_sorted(request: Request) -> LoadedSystem:
    """The same, its caller having sorted the texts by length."""
    return _genai(request, by_length=True)


def _genai(request: Request, *, by_length: bool) -> LoadedSystem:
    from openvino_genai import TextEmbeddingPipeline

    poolings = {"cls": "CLS", "mean": "MEAN", "last": "LAST_TOKEN"}
    folder = preparation.genai_int8(request)
    config = TextEmbeddingPipeline.Config()
    config.pooling_type = getattr(TextEmbeddingPipeline.PoolingType, poolings[request.pooling])
    config.normalize = request.normalize
    config.max_length = request.max_length
    pipeline = TextEmbeddingPipeline(str(folder), "CPU", config, INFERENCE_NUM_THREADS=request.num_threads)

    def encode(texts: list[str], batch_size: int) -> NDArray[np.float32]:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i])) if by_length else range(len(texts))
        vectors = np.empty((len(texts), request.dimension), dtype=np.float32)
        for start in range(0, len(texts), batch_size):
            rows = list(order[start : start + batch_size])
            vectors[rows] = pipeline.embed_documents([texts[i] for i in rows])
        return vectors

    return LoadedSystem(
        encode=encode,
        embed_query=pipeline.embed_query,
        given={
            "model": "the same int8 graph as sentence-transformers with OpenVINO",
            "precision": _DEFAULT_PRECISION,
            "config": f"pooling_type={poolings[request.pooling]}, normalize={request.normalize}, "
            f"max_length={request.max_length}",
            "batches": "sorted by length by the caller" if by_length else "in input order",
        },
    )


def fastembed(request: Request) -> LoadedSystem:
    """Fastembed with the model as ONNX in fp32."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    poolings = {"cls": PoolingType.CLS, "mean": PoolingType.MEAN, "last": PoolingType.LAST_TOKEN}
    if request.pooling not in poolings:
        raise UnsupportedModelError(f"fastembed has no pooling {request.pooling!r}.")
    folder = preparation.onnx_fp32(request)
    TextEmbedding.add_custom_model(
        model="benchmarked/model",
        pooling=poolings[request.pooling],
        normalization=request.normalize,
        sources=ModelSource(hf="benchmarked/model"),
        dim=request.dimension,
        model_file=preparation.ONNX_FILE,
    )
    model = TextEmbedding(
        "benchmarked/model",
        specific_model_path=str(folder),
        threads=request.num_threads,
        providers=["CPUExecutionProvider"],
    )

    def encode(texts: list[str], batch_size: int) -> NDArray[np.float32]:
        return np.array(list(model.embed(texts, batch_size=batch_size)), dtype=np.float32)

    return LoadedSystem(
        encode=encode,
        embed_query=lambda text: next(iter(model.query_embed(text))),
        given={
            "model": f"ONNX in fp32, opset {preparation.ONNX_OPSET}, exported from torch",
            "pooling": request.pooling,
        },
    )


def llama_cpp(request: Request) -> LoadedSystem:
    """llama.cpp, through llama-cpp-python, with the same weights in q8_0."""
    from llama_cpp import Llama

    batch = max(_LLAMA_BATCH, request.max_length)
    model = Llama(
        model_path=str(preparation.gguf_q8_0(request)),
        embedding=True,
        # All tokens of a batch are computed together, as attention to both sides needs.
        n_ctx=batch,
        n_batch=batch,
        n_ubatch=batch,
        flash_attn=True,  # its faster attention
        n_threads=request.num_threads,
        n_threads_batch=request.num_threads,
        verbose=False,
    )
    cut = _cutter(request)

    def encode(texts: list[str], batch_size: int) -> NDArray[np.float32]:
        # It makes batches of its own, of as many tokens as it was told, in the order of the texts.
        rows = model.embed([cut(text) for text in texts], normalize=request.normalize)
        return np.array(rows, dtype=np.float32)

    return LoadedSystem(
        encode=encode,
        embed_query=lambda text: model.embed(cut(text), normalize=request.normalize),
        given={
            "model": "GGUF made of the same weights: linear layers and words in q8_0, the rest in fp32",
            "config": f"flash_attn, n_ctx, n_batch and n_ubatch {batch}, pooling_type={request.pooling}",
        },
    )


def _cutter(request: Request) -> Callable[[str], str]:
    """Return what cuts a text behind the last token that fits: llama.cpp cuts at its batch, the closing token too."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(request.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(request.max_length)

    def cut(text: str) -> str:
        if len(text) <= request.max_length - 2:  # a token has a character or more
            return text
        return text[: max((end for _, end in tokenizer.encode(text).offsets), default=0)]

    return cut
