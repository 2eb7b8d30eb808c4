"""Which texts are encoded next: every one once, within the budget, and nobody kept waiting by somebody else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from intel_quantized_embeddings.encoding.batching import SHORT
from intel_quantized_embeddings.serving.rounds import Rounds

requests = st.lists(st.lists(st.integers(1, 256), min_size=1, max_size=30), max_size=12)


def all_rounds(rounds: Rounds, budget: int) -> list[list[tuple[object, int]]]:
    found = []
    while one := rounds.next_round(budget):
        found.append(one)
    return found


@given(requests, st.integers(1, 1000))
def test_every_text_is_in_one_round_and_no_round_is_above_the_budget(asked, budget):
    rounds = Rounds()
    for key, tokens in enumerate(asked):
        rounds.add(key, tokens)
    assert rounds.tokens == sum(map(sum, asked))
    found = all_rounds(rounds, budget)
    expected = sorted((key, place) for key, tokens in enumerate(asked) for place in range(len(tokens)))
    assert sorted(text for one in found for text in one) == expected
    for one in found:
        assert len(one) == 1 or sum(asked[key][place] for key, place in one) <= budget
    assert (rounds.tokens, len(rounds)) == (0, 0)


@given(requests, st.integers(0, 40), st.data())
def test_a_request_that_is_removed_is_never_seen_again(asked, before, data):
    rounds = Rounds()
    for key, tokens in enumerate(asked):
        rounds.add(key, tokens)
    gone = data.draw(st.sets(st.integers(0, len(asked))))
    rounds.next_round(before)
    for key in gone:
        rounds.remove(key)
    assert not {key for one in all_rounds(rounds, 100) for key, _ in one} & gone
    assert (rounds.tokens, len(rounds)) == (0, 0)


def test_a_query_is_in_the_very_next_round_behind_a_request_of_2000_texts():
    rounds = Rounds()
    rounds.add("bulk", [256] * 2000)
    for _ in range(50):
        rounds.next_round(2048)
    rounds.add("query", [16])
    assert ("query", 0) in rounds.next_round(2048)


def test_a_large_request_goes_on_however_many_queries_come():
    rounds = Rounds()
    rounds.add("bulk", [256] * 20)
    queries, found = 0, 0
    while found < 20:
        while len(rounds) < 65:  # 64 clients, each of which asks again at once
            rounds.add(("query", queries), [16])
            queries += 1
        found += sum(key == "bulk" for key, _ in rounds.next_round(1024))
        # A 65th of the tokens at least, up to one text of the bulk request.
        assert 16 * queries <= 64 * 256 * (found + 2)


def test_two_large_requests_get_as_many_tokens_each():
    rounds = Rounds()
    rounds.add("first", [64] * 1000)
    rounds.next_round(32_000)
    rounds.add("second", [256] * 1000)
    taken = [key for key, _ in rounds.next_round(20_480)]
    assert abs(64 * taken.count("first") - 256 * taken.count("second")) <= 256


def test_queries_are_taken_in_the_order_they_came_the_longer_ones_too():
    rounds = Rounds()
    for key in range(100):
        rounds.add(key, [64 if key % 10 == 0 else 8])
    assert [key for one in all_rounds(rounds, 128) for key, _ in one] == list(range(100))


def test_a_large_request_is_taken_longest_first_so_that_batches_are_full():
    rounds = Rounds()
    rounds.add("bulk", [16, 64, 32, 64, 16])
    assert [place for _, place in rounds.next_round(1000)] == [3, 1, 2, 4, 0]


@given(requests, st.integers(1, 300))
def test_what_is_ahead_of_a_request_is_what_is_taken_before_its_last_text(asked, tokens):
    rounds = Rounds()
    for key, given_tokens in enumerate(asked):
        rounds.add(key, given_tokens)
    ahead = rounds.ahead_of(tokens)
    assert ahead == sum(min(sum(given_tokens), tokens + SHORT) for given_tokens in asked)
    rounds.add("new", [1] * tokens)
    order = [text for one in all_rounds(rounds, 1) for text in one]
    before = order[: max(place for place, (key, _) in enumerate(order) if key == "new")]
    taken = sum(asked[key][place] for key, place in before if key != "new")
    late = sum(max(given_tokens) + 2 * SHORT for given_tokens in asked)
    assert ahead - late <= taken <= ahead
