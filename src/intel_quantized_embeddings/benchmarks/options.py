"""The options of `iqe benchmark`, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures import EncoderConfig, hidden_size
from intel_quantized_embeddings.benchmarks.arithmetic import EncoderSize
from intel_quantized_embeddings.benchmarks.loaded import Request
from intel_quantized_embeddings.benchmarks.systems import PARTS
from intel_quantized_embeddings.benchmarks.texts import texts_of_length
from intel_quantized_embeddings.errors import ModelFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import file_sha256
from intel_quantized_embeddings.models.hub import MINILM, find_model
from intel_quantized_embeddings.models.routes import CONFIG_FILE
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import MANIFEST_FILE, SourceModel
from intel_quantized_embeddings.models.sparse import SparseSettings
from intel_quantized_embeddings.models.static import refuse_static
from intel_quantized_embeddings.models.weight_table import refuse_weight_table
from intel_quantized_embeddings.process.cores import affinity, granted_cores

MAX_LENGTH = 256
LENGTHS = (16, 32, 64, 128, 256, 512)
BATCH_SIZES = (1, 4, 8, 32, 256)
THROUGHPUT_TOKENS = 256
LONGEST_QUERY = 60
_LATENCY_TEXTS = 3
# A turn of the latency part takes milliseconds, so there are more of them.
LATENCY_TURNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options, as `iqe benchmark --help` explains them; None means the default.

    Raises:
        OptionError: A value is not allowed.
    """

    model: str = MINILM
    revision: str | None = None
    cache_folder: str | None = None
    local_files_only: bool = False
    int8: Path | None = None
    texts: tuple[Path, ...] = ()
    systems: tuple[str, ...] | None = None
    parts: tuple[str, ...] = PARTS
    max_length: int | None = None
    threads: int | None = None
    repeats: int = 5
    corpus_size: int = 600
    queries: int = 1000
    query_rounds: int = 3
    lengths: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    output: Path = Path("iqe-benchmark")

    def __post_init__(self) -> None:
        """Make the checks that need no model."""
        for part in self.parts:
            if part not in PARTS:
                raise OptionError(f"--parts {part!r} is not known; there are {', '.join(PARTS)}.")
        cores = len(affinity())
        if self.threads is not None and not 1 <= self.threads <= cores:
            raise OptionError(f"--threads {self.threads} is not allowed; this process may use 1 to {cores} cores.")
        least = {"repeats": 1, "corpus_size": 8, "queries": 10, "query_rounds": 1, "max_length": 8}
        for name, lowest in (*least.items(), ("lengths", 4), ("batch_sizes", 1)):
            given = getattr(self, name)
            value = min(given, default=None) if isinstance(given, tuple) else given
            if value is not None and value < lowest:
                raise OptionError(f"--{name.replace('_', '-')} {value} is not allowed; it is {lowest} or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model that is measured, and the lengths that follow from it, in tokens.

    Attributes:
        source: The model; of a sparse Router that of documents.
        size: Its size for the arithmetic part; None for an architecture whose operations are not counted, and for
            sparse models.
        dimension: Numbers in a vector.
        max_length: The longest text of the corpus.
        lengths: The lengths of the latency part.
        digest: The model's revision, or a SHA-256 of its weights, 12 digits.
    """

    source: SourceModel
    settings: ModelSettings | SparseSettings
    size: EncoderSize | None
    dimension: int
    max_length: int
    lengths: tuple[int, ...]
    throughput_tokens: int
    longest_query: int
    digest: str

    @classmethod
    def find(cls, options: Options) -> Subject:
        """Find the model and see what it takes.

        Raises:
            QuantizedEmbeddingsError: It is not there, not what it should be, or not in fp32.
            OptionError: A length is more than it takes.
        """
        source = find_model(
            options.model,
            revision=options.revision,
            cache_folder=options.cache_folder,
            local_files_only=options.local_files_only,
        )
        if source.routes is not None and source.is_sparse:
            source = source.route(source.routes.document)
        if source.is_quantized:
            raise OptionError(
                f"{source.name} is an int8 folder; MODEL is the fp32 model it was made from, which the others run and "
                f"cosines are taken to. Pass this folder with --int8."
            )
        if source.static is not None:
            raise refuse_static(source.name, what="which has no precisions to compare")
        if source.weight_table is not None:
            raise refuse_weight_table(source.name, what="which has no precisions to compare")
        if options.int8 is not None and not any(
            (options.int8 / name).is_file() for name in (MANIFEST_FILE, CONFIG_FILE)
        ):
            raise ModelFilesError(
                f"--int8 {options.int8} has no manifest.json: it is not a folder that `iqe quantize` wrote."
            )
        settings, config = source.sparse_settings() if source.is_sparse else source.settings(), source.config
        longest = _longest_input(config, settings, source.name)
        max_length = options.max_length or min(MAX_LENGTH, longest)
        # A model of fewer tokens than the first of these is measured at its longest input alone.
        lengths = options.lengths or tuple(length for length in LENGTHS if length <= longest) or (longest,)
        for option, value in (("max-length", max_length), ("lengths", max(lengths))):
            if value > longest:
                raise OptionError(f"--{option} {value} is more than {source.name} can take: {longest} tokens.")
        return cls(
            source=source,
            settings=settings,
            size=None if source.is_sparse else EncoderSize.from_config(config),
            dimension=(config.get("vocab_size") if source.is_sparse else hidden_size(config)) or 0,
            max_length=max_length,
            lengths=lengths,
            throughput_tokens=min(THROUGHPUT_TOKENS, longest),
            longest_query=min(LONGEST_QUERY, max_length),
            digest=source.revision or "-".join(file_sha256(file)[:12] for file in source.weights.files[:1]),
        )

    def request(self, options: Options, *, max_length: int) -> Request:
        """Return the request that systems get."""
        slug = "".join(c if c.isalnum() or c in "-." else "-" for c in self.source.name)
        return Request(
            name=options.model,
            revision=options.revision,
            cache_folder=None if options.cache_folder is None else str(Path(options.cache_folder).resolve()),
            model=self.source.path.resolve(),
            int8=None if options.int8 is None else options.int8.resolve(),
            kept=(options.output / "models" / f"{slug}-{self.digest[:12]}").resolve(),
            pooling=self.settings.pooling_name,
            normalize=isinstance(self.settings, ModelSettings) and self.settings.normalize,
            sparse=isinstance(self.settings, SparseSettings),
            dimension=self.dimension,
            max_length=max_length,
            own_length=self.settings.max_length,
            num_threads=options.threads or granted_cores(),
        )


def speed_calls(
    options: Options, subject: Subject, texts: Sequence[str], tokenizer: Any
) -> dict[str, dict[int, list[list[str]]]]:
    """Return the calls of the latency and throughput parts, by size, of the wanted parts.

    Raises:
        OptionError: The texts are too few to cut the calls from.
    """
    calls: dict[str, dict[int, list[list[str]]]] = {}
    if "latency" in options.parts:
        calls["latency"] = {
            n: [[text] for text in texts_of_length(texts, tokenizer, tokens=n, count=_LATENCY_TEXTS)]
            for n in subject.lengths
        }
    if "throughput" in options.parts:
        count = max(options.batch_sizes)
        cut = texts_of_length(texts, tokenizer, tokens=subject.throughput_tokens, count=count)
        calls["throughput"] = {size: [cut[:size]] for size in options.batch_sizes}
    return calls


def _longest_input(config: dict[str, Any], settings: ModelSettings | SparseSettings, name: str) -> int:
    try:
        return EncoderConfig.from_hf(config, where=name).max_length
    except UnsupportedModelError:
        return int(config.get("max_position_embeddings") or settings.max_length)
