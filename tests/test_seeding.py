import numpy as np

from ultra_agents.seeding import Streams


def test_same_address_same_stream_and_order_of_use_does_not_matter() -> None:
    first, second = Streams(7), Streams(7)
    second.generator("other").random(100)
    assert first.generator("collect", 3).random(5).tolist() == second.generator("collect", 3).random(5).tolist()


def test_addresses_do_not_run_into_each_other() -> None:
    streams = Streams(0)
    addresses = [("a", 1), ("a", "1"), ("a1",), ("a", 1, 0), ("b", 1), ()]
    assert len({streams.integer(*address) for address in addresses}) == len(addresses)
    assert streams.child("a").integer(1) == streams.integer("a", 1)


def test_parallel_environments_never_share_a_seed() -> None:
    seeds = Streams(0).integers(2000, "reset")
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_neighbouring_seeds_are_unrelated() -> None:
    draws = np.array([Streams(seed).generator("x").random(200) for seed in range(20)])
    correlations = np.corrcoef(draws) - np.eye(20)
    assert np.abs(correlations).max() < 0.35
