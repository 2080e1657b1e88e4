"""Reading ahead, and memory that is kept meanwhile."""

import threading

import pytest

from compressvqa.deploy import memory
from compressvqa.scoring.ahead import read_ahead


def test_one_item_is_made_ahead_and_no_more() -> None:
    started: list[int] = []
    reached = threading.Event()

    def items():
        for number in range(5):
            started.append(number)
            if number == 1:
                reached.set()
            yield number

    reading = read_ahead(items())
    assert next(reading) == 0
    assert reached.wait(10)  # the second is made while the first is worked on
    assert started == [0, 1]
    assert list(reading) == [1, 2, 3, 4]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items():
        yield 1
        raise ValueError("cut off")

    reading = read_ahead(items())
    assert next(reading) == 1
    with pytest.raises(ValueError, match="cut off"):
        next(reading)


def test_stopping_early_ends_the_thread() -> None:
    before = threading.active_count()
    reading = read_ahead(iter(range(10**9)))
    next(reading)
    assert threading.active_count() == before + 1
    reading.close()
    assert threading.active_count() == before


def test_the_allocator_is_set_back_when_the_last_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self) -> None:
            self.now: dict[int, int] = {}

        def mallopt(self, option: int, value: int) -> int:
            self.now[option] = value
            return 1

        def malloc_trim(self, pad: int) -> int:
            return 1

    library = Library()
    monkeypatch.setattr(memory, "_glibc", lambda: library)
    with memory.kept_memory() as kept:
        assert kept and library.now == memory._KEEPING
        with memory.kept_memory():
            pass
        assert library.now == memory._KEEPING
    assert library.now == memory._USUAL
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with memory.kept_memory() as kept:
        assert not kept
