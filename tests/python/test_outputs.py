"""What a call writes to: arrays that may be written, and no others."""

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case, assert_close

READ_ONLY = r"{} is read only, allowed: an array that can be written\. Pass another one, or a"


def frozen(array):
    array.flags.writeable = False
    return array


def mapped(array, folder):
    np.save(folder / "array.npy", array)
    return np.load(folder / "array.npy", mmap_mode="r")


@pytest.mark.parametrize("name", ["out", "lse", "workspace"])
@pytest.mark.parametrize("how", ["flag", "mapped"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dense_decode_refuses_read_only_memory(name, how, dtype, tmp_path):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
        if how == "mapped":
            pytest.skip("npy files hold no bfloat16")
    case = Case([300, 20], h_q=8, dtype=dtype)
    out, lse = case.poisoned_outputs()
    size = seesaw.workspace_size(seesaw.Problem.of(*case.arrays[:3]))
    given = {"out": out, "lse": lse, "workspace": np.zeros(size, np.uint8)}
    before = given[name].tobytes()
    given[name] = frozen(given[name]) if how == "flag" else mapped(given[name], tmp_path)
    with pytest.raises(ValueError, match="dense_decode: " + READ_ONLY.format(name)):
        seesaw.dense_decode(*case.arrays, scale=SCALE, **given)
    assert given[name].tobytes() == before
    if name != "workspace":
        other = {"out": lse, "lse": out}[name]
        assert np.isnan(other.astype(np.float32)).all()  # nothing ran


def test_read_only_inputs_and_schedules_are_only_read():
    case = Case([300, 20], h_q=8)
    schedule = seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3]), case.lengths)
    frozen(schedule.buffer)
    arrays = [frozen(array) for array in case.arrays]
    assert_close(seesaw.dense_decode(*arrays, scale=SCALE, schedule=schedule), case.expected())
    before = schedule.buffer.tobytes()
    with pytest.raises(ValueError, match="dense_decode: " + READ_ONLY.format("schedule")):
        schedule.update(case.lengths // 2)
    assert schedule.buffer.tobytes() == before


@pytest.mark.parametrize("name", ["out", "lse"])
def test_merge_states_refuses_read_only_memory(name):
    outs = [np.ones((3, 2, 8), np.float32) for _ in range(2)]
    lses = [np.zeros((3, 2), np.float32) for _ in range(2)]
    given = {"out": np.full_like(outs[0], 7), "lse": np.full_like(lses[0], 7)}
    frozen(given[name])
    with pytest.raises(ValueError, match="merge_states: " + READ_ONLY.format(name)):
        seesaw.merge_states(outs, lses, lse_layout="th", **given)
    assert (given["out"] == 7).all() and (given["lse"] == 7).all()


def test_another_library_s_output_is_refused():
    """An array that has DLPack, but that nobody said may be written."""

    class Foreign(np.ndarray):
        pass

    case = Case([70, 3], h_q=4)
    out, lse = case.poisoned_outputs()
    seesaw.dense_decode(*case.arrays, scale=SCALE, out=out.view(Foreign), lse=lse)
    assert_close((out, lse), case.expected())
    with pytest.raises(TypeError, match="dense_decode: out of type memoryview, allowed: arrays of"):
        seesaw.dense_decode(*case.arrays, scale=SCALE, out=memoryview(out), lse=lse)


@pytest.mark.parametrize("name", ["q", "kv_cache", "out", "lse"])
@pytest.mark.parametrize("dtype", "uint16 int16 float64 complex64 bool U3 O >f4".split())
def test_dtypes_of_the_right_size_and_others(name, dtype):
    """uint16 has the size of bfloat16, but says nothing of its meaning."""
    pytest.importorskip("ml_dtypes")
    for own in ("bfloat16", "float32"):
        case = Case([70, 3], h_q=4, dtype=own)
        given = dict(zip(("q", "kv_cache", "block_table", "seq_lens"), case.arrays))
        given["out"], given["lse"] = case.poisoned_outputs()
        given[name] = np.zeros(given[name].shape, dtype)
        with pytest.raises(TypeError, match="has dtype .*, allowed: ") as caught:
            seesaw.dense_decode(**given, scale=SCALE)
        assert str(caught.value).startswith("dense_decode: ")
