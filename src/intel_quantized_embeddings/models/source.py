"""`SourceModel`: a model's folder, whose files are read once and passed on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.architectures import TOKEN_WEIGHTS_FILE
from intel_quantized_embeddings.files.json_files import file_sha256, read_json
from intel_quantized_embeddings.models.config_file import read_config
from intel_quantized_embeddings.models.endings import module_weights, scoring_chain
from intel_quantized_embeddings.models.modules import read_modules
from intel_quantized_embeddings.models.routes import Routes, read_routes, refuse_routes
from intel_quantized_embeddings.models.scoring import CrossEncoderSettings, read_cross_encoder_settings
from intel_quantized_embeddings.models.settings import (
    ModelSettings,
    is_cross_encoder,
    pools_by_itself,
    read_settings,
    read_static_settings,
)
from intel_quantized_embeddings.models.sparse import SparseSettings, is_sparse, read_sparse_settings
from intel_quantized_embeddings.models.static import static_files, static_folder
from intel_quantized_embeddings.models.tokenizer_files import BESIDE, TOKENIZER_FILE
from intel_quantized_embeddings.models.weight_files import WeightFiles, WeightKind, find_weight_files
from intel_quantized_embeddings.models.weight_table import weight_table_files, weight_table_folder
from intel_quantized_embeddings.options import Pooling

MANIFEST_FILE = "manifest.json"
# Files that results depend on, beside the weights.
DECIDING_FILES = ("config.json", TOKENIZER_FILE, *BESIDE)


@dataclass(frozen=True, kw_only=True)
class SourceModel:
    """A model's folder.

    Properties read a file at first use, keep its content, and raise the errors of reading it.

    Attributes:
        path: The folder.
        name: The hub id, or the folder's own name.
        revision: The hub's commit, None for other folders.
        is_route: Whether it is one of a Router's two models, whose folder may be the Router's own.
    """

    path: Path
    name: str
    revision: str | None
    is_route: bool = False

    @cached_property
    def static(self) -> Path | None:
        """The folder of a static model's table; None for any other model."""
        return None if self.is_quantized or self.routes is not None else static_folder(self.path)

    @cached_property
    def weight_table(self) -> Path | None:
        """The folder of a table of tokens' weights, if that is all of a sparse model; None for any other model."""
        return None if self.is_quantized or self.routes is not None else weight_table_folder(self.path)

    @cached_property
    def routes(self) -> Routes | None:
        """The two models of a Router; None for any other model."""
        return None if self.is_quantized or self.is_route else read_routes(self.path)

    def route(self, folder: Path) -> SourceModel:
        """Return one of the Router's two models."""
        name = self.name if folder == self.path else f"{self.name}/{folder.name}"
        return SourceModel(path=folder, name=name, revision=self.revision, is_route=True)

    @property
    def is_quantized(self) -> bool:
        """Whether this package quantized the folder: it has a manifest."""
        return (self.path / MANIFEST_FILE).is_file()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`, empty if there is none; see `read_config`."""
        return read_config(self.path)

    @cached_property
    def is_cross_encoder(self) -> bool:
        """Whether the model scores pairs of texts."""
        if self.static is not None or self.routes is not None:
            return False
        return is_cross_encoder(self.path)

    @cached_property
    def is_sparse(self) -> bool:
        """Whether it makes sparse vectors: it says so, or is a masked language model that nothing says pooling of."""
        if self.is_quantized:
            return read_json(self.path / MANIFEST_FILE).get("kind") == "sparse"
        if self.routes is not None:
            return self.route(self.routes.document).is_sparse
        if self.static is not None or self.is_cross_encoder or not is_sparse(self.path):
            return False
        return bool(read_modules(self.path)) or not self.is_known_embedder

    @cached_property
    def is_chain(self) -> bool:
        """Whether the model scores pairs of texts by a chain of modules."""
        return bool(scoring_chain(self.path))

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """All files with weights, also of the modules behind the encoder."""
        if self.static is not None or self.weight_table is not None:
            return self.weights.files
        return (*self.weights.files, *module_weights(self.path))

    @cached_property
    def weights(self) -> WeightFiles:
        """The files with the encoder's weights; a static model's table and tokenizer."""
        if self.static is not None:
            return WeightFiles(static_files(self.static), WeightKind.SAFETENSORS)
        if self.weight_table is not None:
            return WeightFiles(weight_table_files(self.weight_table), WeightKind.SAFETENSORS)
        return find_weight_files(self.path, self.config)

    def settings(
        self,
        *,
        pooling: str | Pooling | None = None,
        normalize: bool | None = None,
        default_max_length: int | None = None,
    ) -> ModelSettings:
        """Read the settings by which texts become vectors; see `read_settings`."""
        if self.routes is not None:
            raise refuse_routes(self.name, what="whose settings are two")
        if self.static is not None:
            return read_static_settings(self.path, self.static, name=self.name, normalize=normalize)
        return read_settings(
            self.path, name=self.name, pooling=pooling, normalize=normalize, default_max_length=default_max_length
        )

    def cross_encoder_settings(self, *, default_max_length: int | None = None) -> CrossEncoderSettings:
        """Read the settings by which pairs become scores; see `read_cross_encoder_settings`."""
        return read_cross_encoder_settings(self.path, name=self.name, default_max_length=default_max_length)

    def sparse_settings(self, *, default_max_length: int | None = None) -> SparseSettings:
        """Read how its texts become sparse vectors; see `read_sparse_settings`."""
        return read_sparse_settings(self.path, name=self.name, default_max_length=default_max_length)

    @property
    def is_known_embedder(self) -> bool:
        """Whether its pooling is known, by a file or by its name, though no modules are listed."""
        return pools_by_itself(self.path, name=self.name)

    @property
    def sparse_weights(self) -> tuple[Path, ...]:
        """The file with the layer that weighs tokens, which sparse vectors alone depend on; where there is one."""
        file = self.path / TOKEN_WEIGHTS_FILE
        return (file,) if file.is_file() else ()

    def hashes(self, *also: Path) -> dict[str, str]:
        """Return the SHA-256 of the files that its results depend on, and of others, by name."""
        files = [*self.weight_files, *also, *(self.path / name for name in DECIDING_FILES)]
        return {self.relative(file): file_sha256(file) for file in files if file.is_file()}

    def relative(self, file: Path) -> str:
        """Return a file's path relative to the folder; some of a route's modules are beside it."""
        return Path(os.path.relpath(file, self.path)).as_posix()
