"""Cassettes of thousands of answers into a cache: a file, or the real Postgres server."""

from __future__ import annotations

import json
import threading

import pytest

from ultra_agents.errors import LLMError, RunError
from ultra_agents.llm import cache_database
from ultra_agents.llm.cache import BATCH, AnswerCache
from ultra_agents.llm.replies import RawReply

MANY = 2 * BATCH + 7


def rows(first, stop, text="said"):
    return [
        {"key": f"k{number:06d}", "question": f"q{number}", "provider": "p", "model": "m \u00e9", "text": text,
         "prompt_tokens": 3, "completion_tokens": 2, "seconds": 0.5, "cut": False}
        for number in range(first, stop)
    ]  # fmt: skip


def written(path, some):
    path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
    return path


def test_all_batches_are_taken_in_and_what_is_there_stays(cache_place, tmp_path):
    cache = AnswerCache(cache_place)
    cache.put("k000003", RawReply("first", 1, 1, 0.0))
    whole = written(tmp_path / "whole.jsonl", rows(0, MANY))
    assert cache.load(whole) == (MANY, MANY - 1)
    assert cache.load(whole) == (MANY, 0)
    assert cache.load(written(tmp_path / "twice.jsonl", rows(MANY, MANY + 2) * 2)) == (4, 2)
    assert len(cache) == MANY + 2
    assert cache.get("k000003").text == "first"
    assert cache.get(f"k{MANY - 1:06d}") == RawReply("said", 3, 2, 0.5)
    again = tmp_path / "again.jsonl"
    assert cache.export(again) == MANY + 2
    assert json.loads(again.read_text().splitlines()[-1]) == rows(0, MANY + 2)[-1]
    cache.close()


@pytest.mark.parametrize("bad", ['{"key": "k", "text": 3}', "half of", '{"key": "\\ud83d", "text": "x"}'])
def test_a_bad_line_in_the_last_batch_leaves_nothing_behind_and_the_cache_usable(cache_place, tmp_path, bad):
    cache = AnswerCache(cache_place)
    spoilt = written(tmp_path / "spoilt.jsonl", rows(0, MANY))
    spoilt.write_text(spoilt.read_text() + bad + "\n")
    with pytest.raises(LLMError, match="cannot read the cassette") as caught:
        cache.load(spoilt)
    assert "good lines" in caught.value.found
    assert len(cache) == 0
    assert cache.load(written(tmp_path / "good.jsonl", rows(0, 3))) == (3, 3)
    cache.close()


def test_what_no_database_takes_is_a_fault_of_the_cassette(postgres, tmp_path):
    cache = AnswerCache(postgres.address(postgres.empty()))
    with pytest.raises(LLMError, match="cannot read the cassette") as caught:
        cache.load(written(tmp_path / "nul.jsonl", [*rows(0, 3), {**rows(3, 4)[0], "key": "a\0b"}]))
    assert "NUL" in caught.value.found
    assert len(cache) == 0
    said = {**rows(0, 1)[0], "text": "a\0b \U0001f600"}
    assert cache.load(written(tmp_path / "said.jsonl", [said])) == (1, 1)
    assert cache.get("k000000").text == said["text"]
    cache.close()


def test_two_that_import_the_same_answers_in_opposite_order_wait_for_each_other_in_turn(postgres, tmp_path):
    address, failed, counts = postgres.address(postgres.empty()), [], []
    forth = written(tmp_path / "forth.jsonl", rows(0, MANY))
    back = written(tmp_path / "back.jsonl", rows(0, MANY)[::-1])
    AnswerCache(address).close()
    ready = threading.Barrier(2)

    def take(path):
        cache = AnswerCache(address)
        try:
            ready.wait()
            counts.append(cache.load(path)[1])
        except Exception as error:
            failed.append(error)
        finally:
            cache.close()

    both = [threading.Thread(target=take, args=(path,)) for path in (forth, back)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert failed == []
    assert sorted(counts) == [0, MANY]


def test_a_run_stores_an_answer_while_others_are_imported(cache_place, tmp_path):
    """What it has to wait for is the end of the import, not an error."""
    importing, running = AnswerCache(cache_place), AnswerCache(cache_place)
    with importing._db.together() as insert:
        insert("insert into replies values (?, ?) on conflict do nothing", [("k", "{}")])
        stored = threading.Thread(target=running.put, args=("other", RawReply("x", 1, 1, 0.0)))
        stored.start()
        stored.join(0.3)
    stored.join(20)
    assert not stored.is_alive()
    assert len(running) == 2
    importing.close()
    running.close()


def test_a_server_that_goes_away_meanwhile_keeps_all_or_nothing(postgres, tmp_path, monkeypatch):
    address = postgres.address(postgres.empty())
    cache = AnswerCache(address)
    whole = written(tmp_path / "whole.jsonl", rows(0, MANY))
    real, batches = cache_database.PostgresDatabase.together, []

    def going(self):
        made = real(self)

        class Cut:
            def __enter__(self):
                insert = made.__enter__()

                def stopping(*given):
                    batches.append(given)
                    if len(batches) == 3:
                        postgres.stop()
                    return insert(*given)

                return stopping

            def __exit__(self, *how):
                return made.__exit__(*how)

        return Cut()

    monkeypatch.setattr(cache_database.PostgresDatabase, "together", going)
    with pytest.raises(RunError, match="cannot be used") as caught:
        cache.load(whole)
    assert caught.value.exit_code == 2
    cache.close()
    monkeypatch.undo()
    postgres.start()
    cache = AnswerCache(address)
    assert len(cache) == 0
    assert cache.load(whole) == (MANY, MANY)
    cache.close()
