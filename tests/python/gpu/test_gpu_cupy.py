"""CuPy arrays."""

import pytest
import seesaw
from gpu.grid import SCALE, GpuCase, Shape, assert_close

cupy = pytest.importorskip("cupy")
torch = pytest.importorskip("torch")


def as_cupy(case):
    return [cupy.from_dlpack(tensor) for tensor in case.arrays]


def as_torch(arrays):
    return [torch.from_dlpack(array) for array in arrays]


def test_agrees_with_float64():
    case = GpuCase(Shape(4, 1, 500, 64, varied=True, dtype=torch.float16))
    out, lse = seesaw.dense_decode(*as_cupy(case), scale=SCALE)
    assert isinstance(out, cupy.ndarray) and isinstance(lse, cupy.ndarray)
    cupy.cuda.get_current_stream().synchronize()
    assert_close(as_torch([out, lse]), case.expected())


def test_current_stream_and_graph():
    case = GpuCase(Shape(4, 1, 500, 64, varied=True, dtype=torch.float16))
    arrays = as_cupy(case)
    torch.cuda.synchronize()
    problem = seesaw.Problem.of(*arrays[:3])
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        schedule = seesaw.make_schedule(problem, arrays[3])
        out, lse = seesaw.dense_decode(*arrays, schedule=schedule, scale=SCALE)
        workspace = cupy.empty(max(seesaw.workspace_size(schedule), 1), cupy.uint8)
        stream.synchronize()
        stream.begin_capture()
        seesaw.dense_decode(
            *arrays, schedule=schedule, out=out, lse=lse, workspace=workspace, scale=SCALE
        )
        graph = stream.end_capture()
        out.fill(float("nan"))
        graph.launch(stream)
        stream.synchronize()
    assert_close(as_torch([out, lse]), case.expected())
