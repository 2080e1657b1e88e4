"""What is set for the whole process while weights are looked for is put back: after errors, and among threads."""

import logging
import os
import sys
import threading
import types

import pytest
from huggingface_hub import constants

from compressvqa.errors import CompressVQAError
from compressvqa.models import hub
from compressvqa.scoring import image_metrics


@pytest.fixture
def unreachable(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def test_the_flag_is_put_back_after_an_error(unreachable):
    with pytest.raises(RuntimeError), hub.known_files_if_unreachable():
        assert constants.HF_HUB_OFFLINE is True
        raise RuntimeError("of a library")
    assert constants.HF_HUB_OFFLINE is False


def test_threads_that_overlap_leave_the_flag_as_it_was(unreachable):
    both, first_left, seen = threading.Barrier(2), threading.Event(), []

    def first():
        with hub.known_files_if_unreachable():
            both.wait()
        first_left.set()

    def second():
        with hub.known_files_if_unreachable():
            both.wait()
            first_left.wait()
            seen.append(constants.HF_HUB_OFFLINE)  # the first one's end is not the second one's

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True]
    assert constants.HF_HUB_OFFLINE is False


def test_pyiqa_is_built_with_what_is_put_back(monkeypatch):
    """A stand-in for pyiqa, which is an extra: it looks around while it builds, in two threads, and then fails."""
    inside, most = [], []

    def create_metric(name, device):
        inside.append(name)
        most.append(len(inside))
        print("talk")
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
        assert [type(one) for one in logging.getLogger("huggingface_hub").handlers] == [logging.StreamHandler]
        inside.remove(name)
        raise OSError("no such host")

    module = types.ModuleType("pyiqa.api_helpers")
    module.create_metric = create_metric
    monkeypatch.setitem(sys.modules, "pyiqa", types.ModuleType("pyiqa"))
    monkeypatch.setitem(sys.modules, "pyiqa.api_helpers", module)
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    before = (sys.stdout, sys.stderr, list(logging.getLogger("huggingface_hub").handlers))
    errors = []

    def build(name):
        try:
            image_metrics._create(name)
        except CompressVQAError as error:
            errors.append(error)

    threads = [threading.Thread(target=build, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3 and most == [1, 1, 1]
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    assert (sys.stdout, sys.stderr, list(logging.getLogger("huggingface_hub").handlers)) == before
