"""Schedules: reuse by many calls, fewer sequences than planned, other lengths, threads."""

import gc
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import seesaw
from cases import SCALE, Case, assert_close


def test_pieces_cover_every_tile_once():
    case = Case([1000, 0, 64, 65])
    problem = seesaw.Problem.of(*case.arrays[:3])
    schedule = seesaw.make_schedule(problem, case.lengths)
    tile = seesaw.explain(problem).tile_tokens
    covered = [[] for _ in case.seq_lens]
    for piece in seesaw.pieces(schedule):
        covered[piece.sequence] += range(piece.tile_begin, piece.tile_end)
    assert covered == [list(range(-(-length // tile))) for length in case.seq_lens]


def test_one_schedule_serves_all_layers():
    case = Case([300, 20, 0], h_q=8)
    schedule = seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3]), case.lengths)
    for layer in range(3):
        other = Case([300, 20, 0], h_q=8, seed=layer)
        got = seesaw.dense_decode(*other.arrays, schedule=schedule, scale=SCALE)
        assert_close(got, other.expected())


def test_update_and_fewer_sequences_than_planned():
    case = Case([300, 20, 7], h_q=8)
    problem = seesaw.Problem.of(*case.arrays[:3], batch=16)
    schedule = seesaw.make_schedule(problem, case.lengths)
    address = schedule.buffer.ctypes.data
    for count in (3, 1, 2):
        q, kv_cache, block_table, lengths = case.arrays
        arrays = (q[:count], kv_cache, block_table[:count], lengths[:count])
        assert schedule.update(lengths[:count]) is schedule
        got = seesaw.dense_decode(*arrays, schedule=schedule, scale=SCALE)
        expected = case.expected()
        assert_close(got, (expected[0][:count], expected[1][:count]))
    assert schedule.buffer.ctypes.data == address


def test_own_workspace_of_the_stated_size():
    case = Case([900, 20], h_q=8)
    problem = seesaw.Problem.of(*case.arrays[:3])
    schedule = seesaw.make_schedule(problem, case.lengths)
    size = seesaw.workspace_size(problem)
    storage = np.empty(size + 1, np.uint8)
    for begin in (0, 1):  # at any address
        workspace = storage[begin : begin + size]
        got = seesaw.dense_decode(*case.arrays, schedule=schedule, workspace=workspace, scale=SCALE)
        assert_close(got, case.expected())


def test_threads_share_a_schedule():
    case = Case([300, 20, 150], h_q=8)
    schedule = seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3]), case.lengths)
    expected = seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)

    def work(_):
        got = seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)
        alone = seesaw.dense_decode(*case.arrays, scale=SCALE)
        return all(np.array_equal(a, b) for a, b in zip((*got, *alone), (*expected, *expected)))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(64)))


def test_a_call_makes_a_plan_once():
    """One cache of plans: neither a second call, nor a schedule, nor a question plans again."""
    case = Case([300, 20], h_q=5, page_size=7)

    def plans():
        return sum(sum(row.calls["plan"].values()) for row in seesaw.stats())

    seesaw.dense_decode(*case.arrays, scale=SCALE, causal=True)
    before = plans()
    for _ in range(3):
        seesaw.dense_decode(*case.arrays, scale=SCALE, causal=True)
    problem = seesaw.Problem.of(*case.arrays[:3], causal=True)
    schedule = seesaw.make_schedule(problem, case.lengths).update(case.lengths)
    seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)
    seesaw.workspace_size(problem)
    seesaw.explain(schedule)
    assert plans() == before
    seesaw.dense_decode(*case.arrays, scale=SCALE)
    assert plans() == before + 1


def test_a_schedule_outlives_its_plan():
    """Plans that give way are made again for the schedules that need them."""
    case = Case([300, 20], h_q=8)
    schedule = seesaw.make_schedule(seesaw.Problem.of(*case.arrays[:3], batch=7), case.lengths)
    for pages in range(1, 600):
        seesaw.workspace_size(seesaw.Problem(batch=1, h_q=1, max_pages_per_sequence=pages))
    got = seesaw.dense_decode(*case.arrays, schedule=schedule, scale=SCALE)
    assert_close(got, case.expected())


def test_many_problems_do_not_pile_up():
    """Plans are cached up to a bound: thousands of problems leave the process as it was."""

    def visit(begin, count):
        for pages in range(begin, begin + count):
            problem = seesaw.Problem(batch=1, h_q=1, max_pages_per_sequence=pages)
            seesaw.workspace_size(problem)

    visit(1, 1000)
    gc.collect()
    before = peak_kilobytes()
    visit(1001, 5000)
    assert peak_kilobytes() - before < 4096


def test_decoding_loop_does_not_grow():
    """60 layers, one schedule, lengths that grow: nothing is left behind by 1,000 steps."""
    layers, steps, batch = 60, 1000, 2
    width = 18
    rng = np.random.default_rng(0)
    caches = rng.standard_normal((layers, batch * width, 64, 1, 48)).astype(np.float32)
    queries = rng.standard_normal((batch, 1, 2, 48)).astype(np.float32)
    table = rng.permutation(batch * width).astype(np.int32).reshape(batch, width)
    lengths = np.array([1, 60], np.int32)
    problem = seesaw.Problem.of(queries, caches[0], table, d_v=32, causal=True)
    schedule = seesaw.make_schedule(problem, lengths, num_threads=1)
    out = np.empty((batch, 1, 2, 32), np.float32)
    lse = np.empty((batch, 2, 1), np.float32)
    before = 0
    for step in range(steps):
        schedule.update(lengths)
        for layer in range(layers if step % 50 == 0 else 2):
            seesaw.dense_decode(
                *(queries, caches[layer], table, lengths),
                schedule=schedule,
                out=out,
                lse=lse,
                scale=SCALE,
            )
        lengths += 1
        if step == 100:
            before = peak_kilobytes()
    assert peak_kilobytes() - before < 2048


def peak_kilobytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
