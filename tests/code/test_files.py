"""An output is whole or not there, its bytes depend on its content alone, damage is a message."""

import errno
import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from stages.data.errors import UserError
from stages.data.files import (
    file_hash,
    read_arrays,
    read_json,
    replacing,
    write_arrays,
    write_csv,
    write_json,
)

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = {"images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "labels": np.array([0, 1])}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics" / "prepare.json"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_not_written(path: Path, value: float) -> None:
    write_json(path, {"accuracy": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"accuracy": value})
    assert read_json(path) == {"accuracy": 0.5}


def write_half(path: Path, interruption: BaseException) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text("{")
        raise interruption


def names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def test_an_output_that_fails_half_way_leaves_the_old_one(path: Path) -> None:
    write_json(path, {"accuracy": 0.5})
    for interruption in (ValueError, KeyboardInterrupt):
        with pytest.raises(interruption):
            write_half(path, interruption())
    assert read_json(path) == {"accuracy": 0.5}
    assert names(path.parent) == [path.name]


def test_a_killed_writer_leaves_the_old_output_and_does_not_hinder_the_next(path: Path) -> None:
    write_json(path, {"accuracy": 0.5})
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from stages.data.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as unfinished:\n"
        "    unfinished.write_text('{ a much longer unfinished text')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert read_json(path) == {"accuracy": 0.5}
    assert len(names(path.parent)) == 2
    write_json(path, {"accuracy": 0.75})
    assert read_json(path) == {"accuracy": 0.75}
    assert names(path.parent) == [path.name]


def test_a_full_disk_is_a_plain_message_and_leaves_the_old_output(path: Path) -> None:
    write_json(path, {"accuracy": 0.5})
    (path.parent / f".{path.name}.partial").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"prepare\.json: cannot be written .*No space left.*free"):
        write_json(path, {"accuracy": 0.75})
    assert read_json(path) == {"accuracy": 0.5}
    assert names(path.parent) == [path.name]


def test_a_failing_disk_is_a_plain_message(path: Path) -> None:
    with pytest.raises(UserError, match=r"prepare\.json: cannot be written \(.*Input/output error"):
        write_half(path, OSError(errno.EIO, "Input/output error"))
    assert names(path.parent) == []


def test_a_file_where_a_folder_should_be_is_a_plain_message(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("")
    with pytest.raises(UserError, match=r"metrics/prepare\.json: cannot be written"):
        write_json(tmp_path / "metrics" / "prepare.json", {})


def test_a_folder_where_the_file_should_be_is_a_plain_message(path: Path) -> None:
    (path / "inside").mkdir(parents=True)
    with pytest.raises(UserError, match=r"prepare\.json: cannot be written"):
        write_json(path, {})


def test_metrics_do_not_differ_in_digits_that_mean_nothing(path: Path) -> None:
    values = {
        "test": {"accuracy": 0.1 + 0.2, "loss": np.float64(1) / 3},
        "count": 7,
        "ok": True,
        "name": "a",
        "none": None,
    }
    write_json(path, values)
    expected = {**values, "test": {"accuracy": 0.3, "loss": 0.333333}}
    assert read_json(path) == expected
    assert path.read_text() == json.dumps(expected, indent=2) + "\n"


def test_tables_do_not_differ_in_digits_that_mean_nothing(path: Path) -> None:
    write_csv(path, pd.DataFrame({"epoch": [1, 2], "loss": [0.1 + 0.2, 2 / 3]}))
    assert path.read_text() == "epoch,loss\n1,0.300000\n2,0.666667\n"


@pytest.mark.parametrize(
    ("content", "reason"), [("{", "is not JSON"), ("", "is not JSON"), ("\xff", "is not JSON")]
)
def test_damaged_metrics_are_a_plain_message(path: Path, content: str, reason: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=rf"prepare\.json: {reason} \(.*; run `dvc repro`"):
        read_json(path)


def test_missing_files_say_how_to_make_them(path: Path) -> None:
    for read in (read_json, read_arrays):
        with pytest.raises(UserError, match=r"prepare\.json: no such file; .*`dvc repro`.*pull"):
            read(path)


def test_the_same_arrays_are_the_same_file_today_and_tomorrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)
    years_on = time.time() + 3 * 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: years_on)
    write_arrays(tmp_path / "b.npz", ARRAYS)
    assert time.localtime(time.time()).tm_year > time.localtime().tm_year
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert file_hash(tmp_path / "a.npz", "md5") == file_hash(tmp_path / "b.npz", "md5")


def test_the_same_arrays_are_the_same_file_on_every_python(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        members = archive.infolist()
    # Python 3.11.2 and 3.11.7 write the form for large members in two ways.
    assert {(each.extract_version, each.extra) for each in members} == {(20, b"")}


def test_the_hash_is_the_one_that_dvc_records(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_hash(tmp_path / "a", "md5") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}(/[a-z]{1,8})?", fullmatch=True),
        st.sampled_from(["u1", "<i8", "<f4", "<f8"]).flatmap(
            lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0))
        ),
        max_size=4,
    )
)
def test_every_array_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npz"
    write_arrays(path, arrays)
    found = read_arrays(path)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_truncated_arrays_are_a_plain_message(tmp_path: Path) -> None:
    path = tmp_path / "train.npz"
    write_arrays(path, ARRAYS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"train\.npz: cannot be read .*delete it and run"):
            read_arrays(path)


@settings(max_examples=200, deadline=None)
@given(st.integers(0), st.integers(0, 255))
def test_altered_arrays_are_a_plain_message_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("altered") / "train.npz"
    write_arrays(path, ARRAYS)
    damaged = bytearray(path.read_bytes())
    damaged[position % len(damaged)] = value
    path.write_bytes(damaged)
    try:
        read_arrays(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 -- or only a name or a date changed


@pytest.mark.parametrize(("field", "value"), [(6, 255), (8, 1), (10, 99)])
def test_arrays_that_claim_another_kind_of_zip_are_a_plain_message(
    tmp_path: Path, field: int, value: int
) -> None:
    # In the central directory: the zip version needed, "encrypted", the kind of compression.
    path = tmp_path / "train.npz"
    write_arrays(path, ARRAYS)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"PK\x01\x02") + field] = value
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"train\.npz: cannot be read"):
        read_arrays(path)


def bare_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


def pickled_array() -> bytes:
    file = io.BytesIO()
    np.savez(file, labels=np.array([{"a": 1}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"PK\x03\x04garbage", b"\x80\x04N.", bare_array(), pickled_array()]
)
def test_a_file_of_another_kind_is_a_plain_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train\.npz: cannot be read .*delete it and run"):
        read_arrays(path)


def test_a_folder_in_place_of_a_file_is_a_plain_message(tmp_path: Path) -> None:
    for read in (read_json, read_arrays):
        with pytest.raises(UserError, match="cannot be read"):
            read(tmp_path)
