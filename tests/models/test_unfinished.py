"""What a killed save leaves is removed by the next one; work of somebody who lives, here or elsewhere, never is."""

import signal
import subprocess
import sys
import textwrap

import pytest

from compressvqa.files import owned
from compressvqa.models import create_model, load, save

SAVING = textwrap.dedent("""
    import os, signal, sys
    from compressvqa.models import create_model, save
    net, folder, wait = create_model("stanet", channels=4, hidden=3), sys.argv[1], sys.argv[2]
    def watch(event, arguments):
        if event == "open" and "config.json" in str(arguments[0]) and ".tmp" in str(arguments[0]):
            print("half", flush=True)
            os.kill(os.getpid(), signal.SIGKILL) if wait == "killed" else input()
    sys.addaudithook(watch)
    save(net, folder)
""")


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.fixture
def saving(tmp_path):
    started = []

    def start(how):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVING, str(tmp_path / "net"), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout.readline() == b"half\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of POSIX")
def test_the_next_save_removes_what_a_killed_one_left(tmp_path, saving):
    assert saving("killed").wait() == -signal.SIGKILL
    assert len(hidden(tmp_path)) == 2  # what was half made, and whose it was
    save(create_model("stanet", channels=4, hidden=3), tmp_path / "net")
    assert hidden(tmp_path) == []
    load(tmp_path / "net")


@pytest.mark.skipif(sys.platform == "win32", reason="reads a process's end")
def test_the_work_of_who_lives_stays(tmp_path, saving):
    other = saving("waits")
    before = hidden(tmp_path)
    save(create_model("stanet", channels=4, hidden=3), tmp_path / "net")
    assert hidden(tmp_path) == before and len(before) == 2
    other.communicate(b"\n")
    assert other.returncode == 0 and hidden(tmp_path) == []
    load(tmp_path / "net")


def test_what_has_no_owner_s_file_is_left_alone(tmp_path):
    """Another version's work, or that of a host whose file system has no locks."""
    (tmp_path / ".net.7-abc.tmp").mkdir()
    (tmp_path / ".network.7-abc.owner").write_text("")  # of another path
    with owned(tmp_path / "net") as temporary:
        temporary.mkdir()
    assert hidden(tmp_path) == [".net.7-abc.tmp", ".network.7-abc.owner"]
    assert (tmp_path / ".net.7-abc.tmp").is_dir()
