"""Objects that are there before are left out of collections, and what others have frozen stays frozen."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from compressvqa.pruning.recording import garbage
from compressvqa.pruning.recording.garbage import only_new_garbage


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    garbage._frozen.cache_clear()
    yield
    garbage._frozen.cache_clear()
    gc.freeze()  # as tests/conftest.py left it


def test_it_freezes_once_and_thaws_at_the_end() -> None:
    with only_new_garbage():
        held = gc.get_freeze_count()
        assert held > 0
        with only_new_garbage():
            assert gc.get_freeze_count() == held
        assert gc.get_freeze_count() == held
    assert gc.get_freeze_count() == 0


def test_what_others_froze_stays_frozen() -> None:
    gc.freeze()
    held = gc.get_freeze_count()
    for _ in range(2):
        with only_new_garbage():
            assert gc.get_freeze_count() == held
    assert gc.get_freeze_count() == held


def test_the_last_of_several_threads_thaws() -> None:
    inside, may_end = threading.Event(), threading.Event()

    def work() -> None:
        with only_new_garbage():
            inside.set()
            may_end.wait()

    other = threading.Thread(target=work)
    other.start()
    inside.wait()
    with only_new_garbage():
        pass
    assert gc.get_freeze_count() > 0
    may_end.set()
    other.join()
    assert gc.get_freeze_count() == 0


def test_it_is_not_counted_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting walks over all that is frozen: a tenth of a second where many modules are."""
    asked = []
    count = gc.get_freeze_count
    monkeypatch.setattr(gc, "get_freeze_count", lambda: asked.append(1) or count())
    gc.freeze()
    for _ in range(5):
        with only_new_garbage():
            pass
    assert len(asked) == 1


def test_an_error_thaws_too() -> None:
    with pytest.raises(RuntimeError), only_new_garbage():
        raise RuntimeError
    assert gc.get_freeze_count() == 0
