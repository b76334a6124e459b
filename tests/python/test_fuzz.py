"""Arguments of every public function, mutated at random: a call returns or raises one of Python's
ordinary errors, in the package's own words; it never crashes, hangs or writes elsewhere.

    SEESAW_FUZZ_CASES=100000 SEESAW_FUZZ_SEED=7 python -m pytest tests/python/test_fuzz.py

The cases of a seed are always the same. On a failure the message has the case's own seed.
"""

import dataclasses
import os
import random
import re
from importlib import util

import numpy as np
import pytest
import seesaw
from cases import SCALE, Case

CASES = int(os.environ.get("SEESAW_FUZZ_CASES", "1500"))
SEED = int(os.environ.get("SEESAW_FUZZ_SEED", "1"))
IN_PARTS = re.compile(r"^[a-z_]+: .+\. [A-Z].+\.$", re.DOTALL)
"""Where, what arrived and what is allowed; what to do."""
PYTHONS_OWN = re.compile(r"unexpected keyword|missing \d+ required|required keyword|positional arg")
NAMES_OF_C = re.compile(
    r"seesaw_(?!ffi|tuning)\w+|SEESAW_(?!CHECK|TUNE_FILE)[A-Z]+|NULL|struct\b|tvm"
)


def numbers(rng):
    return rng.choice(
        [0, 1, -1, 3, 2**31, -(2**31), 2**63, -(2**70), 10**400, 1.5, float("nan"), float("inf")]
        + [1e300, True, np.int64(4), np.float64(0.25), np.float32(2), 1j]
    )


def oddities(rng):
    return rng.choice(
        [None, "", "512", "bfloat16", "é\0x", b"bytes", [], [[0]], (1, 2), {}, {"a": 1}, object()]
        + [int]
        + [Ellipsis, lambda: 1, range(3), slice(1), memoryview(b"abc"), np.float32, np.dtype("f4")]
        + [np.array(None), np.zeros((), "f4"), np.zeros(0, "f4"), np.ma.masked]
    )


def other_dtype(rng, array):
    names = "f2 f4 f8 i1 i4 i8 u1 u2 u4 ? c8 >f4 >i4 U2 O M8[s] V4".split()
    dtype = np.dtype(rng.choice(names))
    return np.zeros(array.shape, dtype)


def other_shape(rng, array):
    kind = rng.randrange(5)
    if kind == 0:
        return array[None]
    if kind == 1:
        return array.reshape(-1)
    if kind == 2 and array.ndim:
        axis = rng.randrange(array.ndim)
        return np.take(array, range(rng.randrange(array.shape[axis] + 1)), axis=axis)
    if kind == 3 and array.ndim:
        return np.repeat(array, 2, axis=rng.randrange(array.ndim))
    return np.zeros([rng.randrange(3) for _ in range(rng.randrange(6))], array.dtype)


def other_strides(rng, array):
    if array.ndim == 0:
        return array
    kind = rng.randrange(4)
    axis = rng.randrange(array.ndim)
    if kind == 0:
        return np.flip(array, axis)
    if kind == 1:
        return np.repeat(array, 2, axis=axis)[(slice(None),) * axis + (slice(None, None, 2),)]
    if kind == 2:
        return np.asfortranarray(array)
    strides = list(array.strides)
    strides[axis] = 0
    return np.lib.stride_tricks.as_strided(array, array.shape, strides)


def read_only(rng, array):
    array = array.copy()
    array.flags.writeable = False
    return array


def other_values(rng, array):
    """Of any bits; whatever lengths and page ids they are, nothing beyond the arrays is touched."""
    array = array.copy()
    if array.size:
        index = tuple(rng.randrange(extent) for extent in array.shape)
        value = rng.choice([0, 1, -1, 100, 2**31 - 1, -(2**31)])
        with np.errstate(over="ignore", invalid="ignore"):
            array[index] = np.array(value).astype(array.dtype)
    return array


def other_library(rng, array):
    if util.find_spec("torch") is None or array.dtype.kind not in "fi":
        return array.tolist() if array.size < 100 else None
    import torch

    if array.dtype.name == "bfloat16":
        return array
    tensor = torch.from_numpy(array.copy())
    change = rng.choice(
        [lambda t: t, lambda t: t.to("meta"), lambda t: t.to_sparse(), torch._neg_view]
        + [lambda t: t.double(), lambda t: t.long(), lambda t: t.float().requires_grad_()]
        + [lambda t: torch.nn.Parameter(t.float()), lambda t: t.to(torch.complex64).conj()]
    )
    return change(tensor)


ARRAY_CHANGES = [other_dtype, other_shape, other_strides, read_only, other_values, other_library]


def mutate(rng, value):
    """Something else in place of an argument."""
    if isinstance(value, (list, tuple)) and value and rng.random() < 0.7:
        items = list(value)
        place = rng.randrange(len(items))
        change = rng.randrange(3)
        if change == 0:
            items[place] = mutate(rng, items[place])
        elif change == 1:
            del items[place]
        else:
            items = items * rng.choice([2, 40])
        return items
    if isinstance(value, np.ndarray) and rng.random() < 0.75:
        return rng.choice(ARRAY_CHANGES)(rng, value)
    if type(value).__name__ == "Tensor" and rng.random() < 0.75:
        return other_library(rng, rng.choice(ARRAY_CHANGES[1:5])(rng, value.numpy()).copy())
    return numbers(rng) if rng.random() < 0.4 else oddities(rng)


def decode_arguments(rng):
    case = Case(
        [rng.randrange(70) for _ in range(rng.randrange(1, 3))],
        h_q=rng.choice([1, 2]),
        d_qk=24,
        d_v=16,
        page_size=rng.choice([1, 16]),
        dtype=rng.choice(["float32", "float16"]),
        seed=rng.randrange(4),
    )
    names = ("q", "kv_cache", "block_table", "seq_lens")
    return {**dict(zip(names, case.arrays)), "scale": SCALE, "d_v": 16, "num_threads": 1}, case


SETTINGS = {
    "causal": [True, False],
    "lse_base": ["e", 2],
    "empty_lse": ["-inf", "+inf"],
    "batch_invariant": [True],
    "check_data": [True],
    "kernel": ["cpu.dense_decode", "reference.dense_decode"],
    "tuning": ["none", "{}", "nowhere.json"],
}


def with_settings(rng, given):
    for name, choices in SETTINGS.items():
        if rng.random() < 0.15:
            given[name] = rng.choice(choices)
    return given


def dense_decode(rng):
    given, case = decode_arguments(rng)
    if rng.random() < 0.6:
        given["out"], given["lse"] = case.poisoned_outputs()
    if rng.random() < 0.3:
        given["workspace"] = np.empty(rng.choice([0, 1, 300, 1 << 20]), np.uint8)
    return seesaw.dense_decode, with_settings(rng, given)


def scheduled(rng):
    given, _ = decode_arguments(rng)
    threads = {"num_threads": given.pop("num_threads")}
    arrays = [given[name] for name in ("q", "kv_cache", "block_table")]
    problem = seesaw.Problem.of(*arrays, d_v=given.pop("d_v"))
    given["schedule"] = seesaw.make_schedule(problem, given["seq_lens"], **threads)
    return seesaw.dense_decode, given


def merge_states(rng):
    count, heads = rng.randrange(2, 4), rng.choice([1, 3])
    given = {
        "outs": [np.ones((2, heads, 8), np.float32) for _ in range(count)],
        "lses": [np.zeros((2, heads), np.float32) for _ in range(count)],
        "lse_layout": "th",
        "num_threads": 1,
    }
    if rng.random() < 0.5:
        given["out"], given["lse"] = given["outs"][0].copy(), given["lses"][0].copy()
    return seesaw.merge_states, given


def append(rng):
    name = rng.choice([None, "fp8_656", "fp8_584", "fp8_576", "fp4_288", "indexer_132"])
    known = seesaw.formats().get(name)
    d_latent, d_rope = (known.d_latent, known.d_rope) if known else (24, 8)
    tokens, page_size = rng.choice([1, 3]), rng.choice([1, 16])
    dtype = rng.choice([np.float32, np.float16])
    given = {
        "c_kv": np.ones((tokens, d_latent), dtype),
        "k_rope": np.ones((tokens, d_rope), dtype) if d_rope else None,
        "slot_mapping": np.arange(tokens),
        "num_threads": 1,
    }
    if known is None:
        given["kv_cache"] = np.zeros((4, page_size, d_latent + d_rope), np.float32)
        return seesaw.append, given
    given["kv_cache"] = seesaw.empty_cache(name, 4, page_size, like=given["c_kv"])
    given["kv_format"] = name
    if known.tensor_scale:
        given["kv_scale"] = np.ones(1, np.float32)
    if known.scales and rng.random() < 0.5:
        given["scales"] = rng.choice(["exact", np.ones((tokens, known.scales), np.float32)])
    if d_rope and rng.random() < 0.5:
        given["rotary"] = rng.choice(["interleaved", "half_split"])
        given["positions"] = np.arange(tokens)
        given["cos_sin"] = np.ones((5, d_rope), np.float32)
        given["q_rope"] = np.ones((tokens, 2, d_rope), dtype)
    if rng.random() < 0.5:
        given["saturated"] = np.zeros(1, np.int64)
    return seesaw.append, given


def gather(rng):
    function, written = append(rng)
    function(**written)
    given = {"kv_cache": written["kv_cache"], "num_threads": 1, "dtype": "float32"}
    if "kv_format" in written:
        given["kv_format"] = written["kv_format"]
        given["dtype"] = rng.choice(["float32", "float16", "raw"])
    if rng.random() < 0.5:
        given["slots"] = np.arange(3, dtype=rng.choice([np.int32, np.int64]))
    else:
        given["block_table"] = np.array([[1, 2], [3, 0]], np.int32)
        given["cu_seq_lens"] = np.array([0, 1, 2], np.int32)
        if rng.random() < 0.5:
            given["starts"] = np.zeros(2, np.int32)
        if rng.random() < 0.5:
            given["rows"] = 2
    if rng.random() < 0.5:
        given["out"] = seesaw.gather(**given)
    return seesaw.gather, given


def decode_bytes(rng):
    name = rng.choice(["fp8_656", "fp8_576", "fp8_576_token", "int8_644"])
    cache = seesaw.empty_cache(name, 3, 16, like=np.zeros(1))
    given = {
        "q": np.ones((2, 1, 2, 576), np.float32),
        "kv_cache": cache,
        "block_table": np.array([[0], [2]], np.int32),
        "seq_lens": np.array([3, 16], np.int32),
        "scale": SCALE,
        "kv_format": name,
        "num_threads": 1,
    }
    if name == "fp8_576":
        given["kv_scale"] = np.ones(1, np.float32)
    return seesaw.dense_decode, given


def empty_cache(rng):
    given = {"kv_format": "fp8_584", "num_pages": 2, "page_size": 16, "like": np.zeros(1)}
    return seesaw.empty_cache, given


def make_problem(rng):
    sizes = dict(batch=2, h_q=4, max_pages_per_sequence=3, s_q=1, d_qk=24, d_v=16, page_size=16)
    return seesaw.Problem, {**sizes, "q_dtype": "float32"}


def problem_of(rng):
    given, _ = decode_arguments(rng)
    arrays = [given[name] for name in ("q", "kv_cache", "block_table")]

    def of(arrays, **more):
        return seesaw.Problem.of(*(arrays if isinstance(arrays, list) else [arrays]), **more)

    return of, {"arrays": arrays, "d_v": 16}


def question(function):
    def make(rng):
        problem = seesaw.Problem(batch=2, h_q=4, max_pages_per_sequence=3)
        options = {"device": "cpu", "num_threads": 1, "kernel": "cpu.dense_decode"}
        return function, {"problem": problem, **options}

    return make


def make_schedule(rng):
    given, _ = decode_arguments(rng)
    problem = seesaw.Problem.of(given["q"], given["kv_cache"], given["block_table"], d_v=16)
    return seesaw.make_schedule, dict(problem=problem, seq_lens=given["seq_lens"], num_threads=1)


def update(rng):
    function, given = make_schedule(rng)
    schedule = function(**given)
    return lambda lengths: schedule.update(lengths), {"lengths": given["seq_lens"]}


def pieces(rng):
    function, given = make_schedule(rng)
    schedule = function(**given)
    return seesaw.pieces, {"schedule": schedule, "buffer": schedule.buffer.copy()}


def softmax_scale(rng):
    rope = dict(type="yarn", factor=40, original_max_position_embeddings=4096, mscale_all_dim=1.0)
    config = dict(qk_nope_head_dim=128, qk_rope_head_dim=64, rope_scaling=rope)
    place = rng.choice([config, rope])
    place[rng.choice(list(place))] = mutate(rng, 1)
    return seesaw.softmax_scale, {"config": config}


def make_layer(rng):
    baselines = pytest.importorskip("seesaw.baselines", exc_type=ImportError)
    given = dict(d_model=8, num_heads=2, d_latent=4, d_nope=4, d_rope=2, d_v=4, num_threads=1)
    rope = dict(type="yarn", factor=4, original_max_position_embeddings=64)
    return baselines.DeepSeekMLA, {**given, "rope_scaling": rope, "form": "expanded", "scale": 0.5}


def layer_call(rng):
    baselines = pytest.importorskip("seesaw.baselines", exc_type=ImportError)
    layer = baselines.MultiHeadAttention(d_model=8, num_heads=2, num_threads=1)
    weights = {name: np.ones(shape, "f4") for name, shape in layer.parameter_shapes.items()}
    layer.load_state_dict(weights)
    x = np.ones((1, 3, 8), np.float32)
    given = {"x": x, "mask": np.ones((3, 3), bool), "causal": True}
    if rng.random() < 0.5:
        given.update(cache=np.zeros((1, 6, 16), np.float32), past_tokens=1, out=x.copy())
        given["mask"] = np.ones((3, 4), bool)
    return layer, given


def flash_mla(rng):
    torch = pytest.importorskip("torch")
    from seesaw.compat import flash_mla as drop_in

    given, _ = decode_arguments(rng)
    q, k_cache, table, lengths = (
        torch.from_numpy(given[name]) for name in ("q", "kv_cache", "block_table", "seq_lens")
    )
    current, nothing = drop_in.get_mla_metadata()
    metadata = (current, nothing) if rng.random() < 0.5 else drop_in.get_mla_metadata(lengths, 1, 1)
    return drop_in.flash_mla_with_kvcache, dict(
        q=q,
        k_cache=k_cache,
        block_table=table,
        cache_seqlens=lengths,
        head_dim_v=16,
        tile_scheduler_metadata=metadata[0],
        num_splits=metadata[1],
        softmax_scale=0.5,
        causal=True,
    )


FUNCTIONS = {
    "dense_decode": dense_decode,
    "scheduled": scheduled,
    "merge_states": merge_states,
    "append": append,
    "gather": gather,
    "decode_bytes": decode_bytes,
    "empty_cache": empty_cache,
    "Problem": make_problem,
    "Problem.of": problem_of,
    "supports": question(seesaw.supports),
    "explain": question(seesaw.explain),
    "workspace_size": question(seesaw.workspace_size),
    "make_schedule": make_schedule,
    "update": update,
    "pieces": pieces,
    "softmax_scale": softmax_scale,
    "make_layer": make_layer,
    "layer": layer_call,
    "flash_mla": flash_mla,
}


def complaint(error):
    """What is wrong with an error, or ""."""
    text = str(error)
    if isinstance(error, MemoryError):
        return ""
    if not isinstance(error, (ValueError, TypeError, NotImplementedError)):
        return f"of type {type(error).__name__}"
    if PYTHONS_OWN.search(text):
        return ""
    if not IN_PARTS.match(text):
        return "not in the package's words"
    named = NAMES_OF_C.search(text)
    return f"names {named.group()}" if named else ""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mutated_arguments(name):
    share = max(CASES // len(FUNCTIONS), 1)
    refused, found = 0, {}
    for i in range(share):
        seed = f"{SEED}.{name}.{i}"
        rng = random.Random(seed)
        function, given = FUNCTIONS[name](rng)
        changed = rng.sample(sorted(given), min(len(given), rng.choice([1, 1, 1, 2, 3])))
        for argument in changed:
            given[argument] = mutate(rng, given[argument])
        if rng.random() < 0.03:
            del given[rng.choice(sorted(given))]
        try:
            function(**given)
        except Exception as error:
            refused += 1
            wrong = complaint(error)
            if wrong and len(found) < 10:
                shown = {key: summary(given.get(key)) for key in changed}
                found.setdefault((wrong, str(error)[:40]), f"case {seed} with {shown}: {error!r}")
    lines = [f"{text[:500]} is {wrong}" for (wrong, _), text in found.items()]
    assert not found, "\n".join(["errors that are not this package's:", *lines])
    assert share < 20 or refused > share // 4  # the cases are not harmless


def summary(value):
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type):
        return f"{type(value).__name__} {value.dtype} {list(value.shape)}"
    if dataclasses.is_dataclass(value):
        return type(value).__name__
    return repr(value)[:80]
