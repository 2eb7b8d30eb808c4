"""An encoder that tells what it was given, for tests of who calls it and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.models.settings import ModelSettings


@dataclass
class SpyEncoder:
    """Passes everything on to a real encoder, and notes it.

    Attributes:
        real: What encodes.
        calls: ("documents" or "queries", texts) of every call.
        before_encoding: Called in each call, on the thread that encodes.
    """

    real: Encoder
    calls: list[tuple[str, list[str]]] = field(default_factory=list)
    before_encoding: Callable[[], object] = lambda: None

    @property
    def settings(self) -> ModelSettings:
        return self.real.settings

    @property
    def fingerprint(self) -> str:
        return self.real.fingerprint

    def encode_documents(self, texts: Iterable[str], show_progress: bool = False) -> np.ndarray:
        return self.real.encode_documents(self._note("documents", texts), show_progress=show_progress)

    def encode_queries(self, texts: Iterable[str], show_progress: bool = False) -> np.ndarray:
        return self.real.encode_queries(self._note("queries", texts), show_progress=show_progress)

    def _note(self, kind: str, texts: Iterable[str]) -> list[str]:
        listed = list(texts)
        self.calls.append((kind, listed))
        self.before_encoding()
        return listed
