"""Choose the texts of waiting requests to encode next. Pure, but for its own state.

Requests share the encoder fairly, by the token: self-clocked fair queueing (Golestani 1994, A Self-Clocked Fair
Queueing Scheme for Broadband Applications). A text is due when its request would have got its tokens if every
request got equally many, and the text that is due first goes first. So a query does not wait for a request of 2,000
texts that came before it, nor that request for any number of queries that come after. First texts are due as if none
were shorter than most queries, so queries are taken in order of arrival; otherwise the longer ones among hundreds would
wait for long.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, TypeVar

from intel_quantized_embeddings.encoding.batching import SHORT

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(slots=True)
class _Request:
    tokens: Sequence[int]  # of each text
    order: list[int]  # places of the texts still to come, the next one last
    left: int  # their tokens

    @property
    def next_tokens(self) -> int:
        return self.tokens[self.order[-1]]


class Rounds(Generic[_Key]):
    """The waiting requests, and the rounds that are made of them."""

    def __init__(self) -> None:
        self._requests: dict[_Key, _Request] = {}
        # (time when its next text is due, arrival, request); removed requests stay until they come up.
        self._due: list[tuple[int, int, _Key]] = []
        self._arrivals = count()
        self._clock = 0
        self._tokens = 0

    @property
    def tokens(self) -> int:
        """The tokens of all waiting texts."""
        return self._tokens

    def __len__(self) -> int:
        """The number of requests with waiting texts."""
        return len(self._requests)

    def add(self, key: _Key, tokens: Sequence[int]) -> None:
        """Add a waiting request under a new, unique key, with the tokens of its texts, at least one."""
        # Texts of one length next to each other, so that a round holds fuller batches.
        request = _Request(tokens, sorted(range(len(tokens)), key=tokens.__getitem__), sum(tokens))
        self._requests[key] = request
        self._tokens += request.left
        heapq.heappush(self._due, (self._clock + max(request.next_tokens, SHORT), next(self._arrivals), key))

    def remove(self, key: _Key) -> None:
        """Forget a request, if it still waits, whose client is gone."""
        request = self._requests.pop(key, None)
        if request is not None:
            self._tokens -= request.left

    def ahead_of(self, tokens: int) -> int:
        """Return the most tokens that would be encoded before a request of some tokens added now: as many of each."""
        share = tokens + SHORT  # its first text may be due that much later than by its tokens
        return sum(min(request.left, share) for request in self._requests.values())

    def next_round(self, token_budget: int) -> list[tuple[_Key, int]]:
        """Take the texts to encode next, as requests and places; empty if nothing waits.

        They have at most `token_budget` tokens in all, unless one text alone has more.
        """
        taken: list[tuple[_Key, int]] = []
        left = token_budget
        while self._due:
            due, arrival, key = self._due[0]
            request = self._requests.get(key)
            if request is None:
                heapq.heappop(self._due)
                continue
            tokens = request.next_tokens
            if taken and tokens > left:
                break
            left -= tokens
            request.left -= tokens
            self._tokens -= tokens
            self._clock = due
            taken.append((key, request.order.pop()))
            if request.order:
                heapq.heapreplace(self._due, (due + request.next_tokens, arrival, key))
            else:
                heapq.heappop(self._due)
                del self._requests[key]
        return taken
