"""LangChain's own tests of an embedding class, unmodified."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_tests", reason="langchain-tests is not installed: the `test` group brings it")

from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from intel_quantized_embeddings import IntelQuantizedEmbeddings


class _OnTheTinyModel:
    """Tells LangChain's tests what to build; for each runtime."""

    @pytest.fixture(autouse=True)
    def _hand_in(self, tiny_int8, runtime):
        self._params = {"model": tiny_int8, "runtime": runtime}

    @property
    def embeddings_class(self):
        return IntelQuantizedEmbeddings

    @property
    def embedding_model_params(self):
        return self._params


class TestUnit(_OnTheTinyModel, EmbeddingsUnitTests):
    pass


class TestIntegration(_OnTheTinyModel, EmbeddingsIntegrationTests):
    pass


def test_every_standard_test_is_collected(request):
    """LangChain's suites are there in full: none renamed away, none collected as something else."""
    collected = {
        f"{item.cls.__name__}.{item.originalname}"
        for item in request.session.items
        if item.cls in (TestUnit, TestIntegration)
    }
    if len(collected) == 0:
        pytest.skip("only this test was selected, so there is nothing to count")
    assert collected >= {
        "TestUnit.test_init",
        "TestUnit.test_init_from_env",
        "TestUnit.test_no_overrides_DO_NOT_OVERRIDE",
        "TestIntegration.test_embed_query",
        "TestIntegration.test_embed_documents",
        "TestIntegration.test_aembed_query",
        "TestIntegration.test_aembed_documents",
        "TestIntegration.test_no_overrides_DO_NOT_OVERRIDE",
    }
