"""The limits of a service, beyond which requests are refused, and the models that it keeps in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.options import integer_option


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a service.

    Tokens are counted as they are run: a text's length is rounded up to the grid of `encoding/batching.py`.

    Attributes:
        body_bytes: Largest body of a request (413 beyond). 2,048 texts of a thousand tokens fit.
        texts: Most texts in a request (400 beyond); OpenAI's number.
        waiting_tokens: Tokens that would be encoded before a request, from which on it is refused (429). Requests share
            the encoder fairly, so before a small request there are few, however large the others are. Its own tokens
            do not count, so that every size has its turn.
        waiting_requests: Number of requests in work at which further ones are refused (429).
        request_seconds: Longest time from a request's first byte to its vectors (503 beyond).
        round_tokens: Tokens encoded at once, of whatever requests wait. Queries have rounds of their own, which large
            requests' do not hold up.
        stop_seconds: Time for accepted requests once the service is told to stop.

    Raises:
        OptionError: A value is not allowed.
    """

    body_bytes: int = 8 * 1024 * 1024
    texts: int = 2048
    waiting_tokens: int = 262_144
    waiting_requests: int = 512
    request_seconds: float = 120.0
    round_tokens: int = 2048
    stop_seconds: float = 25.0

    def __post_init__(self) -> None:
        """Check every value."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_seconds"):
                if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                    raise OptionError(f"{field.name}={value!r} is not allowed; it is a number above 0.")
            else:
                integer_option(field.name, value, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """The times at which models are loaded and unloaded.

    Attributes:
        lazy: Whether each model is loaded when a request first needs it, not at the start.
        idle_seconds: Time without a request after which a model is unloaded; None for never.
        memory_mib: Mebibytes of the process in memory above which models that no request needs are unloaded, those
            unused for longest first, before and after another is loaded; None for no limit.

    Raises:
        OptionError: A value is not allowed.
    """

    lazy: bool = False
    idle_seconds: float | None = None
    memory_mib: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        seconds = self.idle_seconds
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise OptionError(f"idle_seconds={seconds!r} is not allowed; it is a number above 0.")
        integer_option("memory_mib", self.memory_mib, least=1)

    @property
    def memory_bytes(self) -> int | None:
        """The limit in bytes."""
        return None if self.memory_mib is None else self.memory_mib << 20
