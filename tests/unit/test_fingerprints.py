"""What a fingerprint's digest covers."""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass, replace

import pytest

from intel_quantized_embeddings.encoding.fingerprints import fingerprint_digest, hashed_settings
from intel_quantized_embeddings.models.scoring import Activation, CrossEncoderSettings
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.options import Pooling

EMBEDDER = ModelSettings(
    pooling=Pooling.CLS, normalize=True, max_length=512, query_instruction="query: ", document_instruction=""
)
SCORER = CrossEncoderSettings(max_length=512, activation=Activation.SIGMOID)


@pytest.mark.parametrize("settings", [EMBEDDER, SCORER], ids=["embedder", "cross-encoder"])
def test_a_setting_that_a_later_version_adds_changes_no_digest_until_it_is_used(settings):
    kind = type(settings)
    later = make_dataclass("Later", [("added", int, 0)], bases=(kind,), frozen=True, kw_only=True)
    same = later(**{field.name: getattr(settings, field.name) for field in fields(kind)})
    assert hashed_settings(same) == hashed_settings(settings)
    assert hashed_settings(replace(same, added=1)) != hashed_settings(settings)


@pytest.mark.parametrize(
    "change",
    [
        {"pooling": Pooling.MEAN},
        {"normalize": False},
        {"max_length": 256},
        {"query_instruction": ""},
        {"document_instruction": "passage: "},
        {"lowercase": True},
    ],
)
def test_every_setting_that_moves_vectors_is_covered(change):
    one, other = (fingerprint_digest({}, hashed_settings(s)) for s in (EMBEDDER, replace(EMBEDDER, **change)))
    assert one != other


def test_what_makes_no_difference_can_be_left_out():
    @dataclass(frozen=True)
    class Settings:
        moves: int
        does_not: int = 0

    assert hashed_settings(Settings(1, 2), leave_out=("does_not",)) == {"moves": 1}


def test_digests_stay_what_they_are():
    """Indexes are known by them: a change here is one for the changelog, under "re-index needed"."""
    assert fingerprint_digest({"encoder.bin": "0"}, hashed_settings(EMBEDDER)) == "91e995993425"
    assert fingerprint_digest({"encoder.bin": "0"}, hashed_settings(SCORER)) == "93eb077ace64"
