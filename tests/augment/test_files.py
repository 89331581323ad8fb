"""Files appear whole or not at all."""

import errno
import os
import signal
import subprocess
import sys

import pytest

import pcs_augment as pa
from pcs_augment.files import left_over, locked, made_folder, written


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    with written(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError("x")])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    expected = pa.OutputError if isinstance(error, OSError) else type(error)

    def fail():
        with written(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(expected):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing" / "a", tmp_path / "file" / "a", tmp_path, "/dev/full"):
        with pytest.raises(pa.OutputError, match="cannot write"), written(path):
            pass
    with pytest.raises(pa.OutputError, match="cannot create the folder"):
        made_folder(tmp_path / "file" / "sub")


def test_what_a_killed_process_leaves_is_recognised(tmp_path):
    with written(tmp_path / "a.png") as temporary:
        assert left_over(temporary.name)
    assert not left_over("a.png")
    assert not left_over(".a.png")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_lock_ends_with_its_process_even_where_a_fork_of_it_lives_on(tmp_path):
    program = (
        "import os, sys, time; from pcs_augment.files import locked\n"
        "with locked(sys.argv[1]):\n"
        "    if os.fork() == 0:\n"
        "        print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        with pytest.raises(pa.OutputError, match=f"process {process.pid}"), locked(tmp_path):
            pass
        process.kill()
        process.wait()
        with locked(tmp_path):
            os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)
