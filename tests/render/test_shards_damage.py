"""Data sets on disk whose writer dies, whose disk is full, or whose files come to harm."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import assert_holds, assert_same, data_set, opened, record, to_make

from pcs_render.errors import DataError
from pcs_render.shards import Manifest, Reader, verify
from pcs_render.shards.record import decode_fault

HERE = Path(__file__).parent


def test_a_damaged_shard_is_named_and_made_again(tmp_path):
    data_set(tmp_path, 30)
    shards = tmp_path / "shards"
    whole = [(shards / f"{i:08d}.parquet").read_bytes() for i in range(3)]
    for damage in (whole[1][:-100], whole[1][:5000] + b"?" + whole[1][5001:], whole[2], b"", None):
        path = shards / "00000001.parquet"
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        report = verify(tmp_path, workers=2)
        assert not report.ok
        assert report.missing == list(range(10, 20))
        assert len(report.problems) == 1
        assert f"{path}" in report.problems[0]
        assert "run the same render command again" in report.problems[0]
        with opened(tmp_path, 30) as writer:
            assert to_make(writer) == list(range(10, 20))
            writer.write_shard(1, map(record, range(10, 20)))
        assert_holds(tmp_path, range(30))


def test_a_shard_that_is_whole_but_not_the_one_listed_is_never_taken_over(tmp_path):
    data_set(tmp_path / "set", 20)
    data_set(tmp_path / "other", 20, crystals=1)
    alien = (tmp_path / "other" / "shards" / "00000001.parquet").read_bytes()
    (tmp_path / "set" / "shards" / "00000001.parquet").write_bytes(alien)
    for _ in range(2):  # nor by a second run, after the first took it off the list
        with opened(tmp_path / "set", 20) as writer:
            assert to_make(writer) == list(range(10, 20))


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(tmp_path_factory, place, bit):
    folder = data_set(tmp_path_factory.mktemp("set"), 10)
    path = folder / "shards" / "00000000.parquet"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    assert len(verify(folder).problems) == 1
    reader = Reader(folder)  # which does not read the file's checksum, but those of its pages
    errors = []
    for i in range(10):
        try:
            assert_same(reader.record(i), record(i))
        except DataError as e:
            errors.append(str(e))
    assert all(str(path) in e for e in errors)


@settings(max_examples=60)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_picture_is_noticed(place, bit):
    png = bytearray(record(0).png)
    assert decode_fault(bytes(png)) is None
    png[int(place * len(png))] ^= 1 << bit
    assert decode_fault(bytes(png)) is not None


@pytest.mark.parametrize("cut", [0, 8, 30, 100, -12, -1])
def test_a_cut_picture_is_noticed(cut):
    assert decode_fault(record(0).png[:cut]) is not None


def test_a_shard_that_passes_its_checksum_but_holds_nonsense_is_reported(tmp_path):
    """As if the writer had been at fault: the manifest is made to agree with the file."""
    data_set(tmp_path, 20)
    shards, manifest = tmp_path / "shards", json.loads((tmp_path / "manifest.json").read_text())
    (shards / "00000001.parquet").write_bytes((shards / "00000000.parquet").read_bytes())
    manifest["shards"][1].update({k: manifest["shards"][0][k] for k in ("bytes", "sha256", "crystals")})
    manifest["crystals"] = 2 * manifest["shards"][0]["crystals"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    report = verify(tmp_path)
    assert len(report.problems) == 1
    assert "image 0: it does not belong to this shard, whose ids are 10 to 19" in report.problems[0]
    assert "and 5 more" in report.problems[0]
    with pytest.raises(DataError, match="does not hold image 10 where the manifest has it"):
        Reader(tmp_path).record(10)


def test_a_lost_manifest_is_rebuilt_from_the_shards(tmp_path):
    data_set(tmp_path, 30, give_up=(4,))
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "shards" / "00000002.parquet").write_bytes(b"PAR1 no longer")
    with pytest.raises(DataError, match="is not a data set"):
        verify(tmp_path)
    with opened(tmp_path, 30) as writer:
        assert to_make(writer) == list(range(20, 30))
        writer.write_shard(2, map(record, range(20, 30)))
    assert_holds(tmp_path, [i for i in range(30) if i != 4])


def test_files_of_another_data_set_are_not_taken_over(tmp_path):
    mine, other = data_set(tmp_path / "mine", 10), data_set(tmp_path / "other", 10, seed=4)
    (mine / "manifest.json").unlink()
    alien = mine / "shards" / "00000000.parquet"
    alien.write_bytes((other / "shards" / "00000000.parquet").read_bytes())
    with pytest.raises(DataError, match="belongs to another data set: its seed is 4, here 3"):
        opened(mine, 10)
    assert alien.exists()
    with pytest.raises(DataError, match="its shard_size is 10, here 5"):
        opened(mine, 10, 5, seed=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged"),
        ("{}", "has the format None"),
        ("[1]", "has the format 'list'"),
        ('{"format": "pcs-dataset/2"}', "expected 'pcs-dataset/1'"),
        ('{"format": "pcs-dataset/1"}', "damaged .'shards'"),
        ("\x00\xff", "damaged"),
    ],
)
def test_a_garbled_manifest_is_refused_with_advice(tmp_path, content, message):
    data_set(tmp_path, 10)
    (tmp_path / "manifest.json").write_text(content)
    for call in (verify, Reader, lambda f: opened(f, 10)):
        with pytest.raises(DataError, match=message):
            call(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"), [("images", 11), ("settings_hash", "0"), ("seed", -1), ("created", "?"), ("count", 5)]
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, key, value):
    data_set(tmp_path, 20)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, key: value}))
    with pytest.raises(DataError, match="damaged"):
        Manifest.load(tmp_path)


def test_shards_of_another_format_are_refused(tmp_path):
    data_set(tmp_path, 10)
    path = tmp_path / "shards" / "00000000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({b"pcs": b'{"format": "pcs-shard/2"}'}), path)
    with pytest.raises(DataError, match="has the format 'pcs-shard/2', expected 'pcs-shard/1'"):
        Reader(tmp_path).record(0)
    pq.write_table(table.drop_columns(["depth"]), path)
    with pytest.raises(DataError, match="has other columns"):
        Reader(tmp_path).record(0)


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_full_disk_leaves_a_data_set_that_resumes(tmp_path):
    """Files may not grow beyond a limit, which is what the system calls see of a full disk."""
    done = run(
        """
        import resource, sys
        from pathlib import Path
        from records import IDENTITY, record
        from pcs_render.errors import OutputError
        from pcs_render.shards import Writer

        with Writer.create_or_resume(Path(sys.argv[1]), count=20, shard_size=10, **IDENTITY) as writer:
            writer.write_shard(0, map(record, range(10)))
            writer.keep(record(10))
            calls = {
                20000: [lambda: writer.write_shard(1, map(record, range(10, 20)))],
                2000: [lambda: writer.keep(record(11))],
                100: [lambda: writer.give_up(12, "for the test" * 20), lambda: writer.enter(writer.manifest.shards[0])],
            }
            for limit in calls:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
                for call in calls[limit]:
                    try:
                        call()
                    except OutputError as e:
                        assert "cannot write" in str(e) and "free space" in str(e), e
                    else:
                        raise AssertionError(limit)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    with opened(tmp_path, 20) as writer:
        assert to_make(writer) == list(range(11, 20))
        for i in to_make(writer):
            writer.keep(record(i))
        writer.finish(1)
    assert_holds(tmp_path, range(20))


def test_killed_at_any_moment_it_ends_with_the_same_data_set(tmp_path):
    """A process forks writers and kills each after a random time, until one comes to its end."""
    done = run(
        """
        import os, random, signal, sys, time
        from pathlib import Path
        from records import IDENTITY, record
        from pcs_render.shards import Writer

        folder, draws = Path(sys.argv[1]), random.Random(0)

        def write(count):
            with Writer.create_or_resume(folder, count=count, shard_size=10, **IDENTITY) as writer:
                if count == 47:
                    writer.give_up(33, "for the test")
                for todo in writer.missing():
                    for i in todo.ids:
                        writer.keep(record(i))
                    writer.finish(todo.index)

        kills, longest = 0, 0.05
        for count in (25, 47):
            while True:
                child = os.fork()
                if child == 0:
                    write(count)
                    os._exit(0)
                deadline = time.monotonic() + draws.uniform(0.005, longest)
                while time.monotonic() < deadline:
                    time.sleep(0.001)
                os.kill(child, signal.SIGKILL)
                if os.waitpid(child, 0)[1] == 0:
                    break
                kills, longest = kills + 1, longest * 1.04  # so that it ends on a slow disk, too
        print(kills)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5, "too few kills to tell anything"
    assert_holds(tmp_path, [i for i in range(47) if i != 33])
