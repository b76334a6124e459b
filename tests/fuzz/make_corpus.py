#!/usr/bin/env python3
"""Writes the seeds of fuzz_safetensors. Usage: make_corpus.py FOLDER"""
import json
import pathlib
import struct
import sys


def file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def case(kv_rank=4, index="I32", padding=0, metadata=None, ragged=False):
    """b 1, s_q 1, h_q 2, d_qk 4; 2 pages of 2 tokens."""
    width = 4 if index == "I32" else 8
    sizes = {"kv_cache": 2 * 2 * 4 * 2, "q": 2 * 4 * 2, "block_table": 2 * width, "seq_lens": width}
    shapes = {"kv_cache": [2, 2, 1, 4] if kv_rank == 4 else [2, 2, 4], "q": [1, 1, 2, 4],
              "block_table": [1, 2], "seq_lens": [1]}
    dtypes = {"kv_cache": "BF16", "q": "BF16", "block_table": index, "seq_lens": index}
    if ragged:
        sizes["cu_seqlens_q"], dtypes["cu_seqlens_q"] = 2 * width, index
        shapes["q"], shapes["cu_seqlens_q"] = [1, 2, 4], [2]
    header, begin = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, size in sizes.items():
        header[name] = {"dtype": dtypes[name], "shape": shapes[name],
                        "data_offsets": [begin, begin + size]}
        begin += size
    pack = "<i" if index == "I32" else "<q"
    data = (bytes(sizes["kv_cache"] + sizes["q"]) + struct.pack(pack, 1) + struct.pack(pack, -1)
            + struct.pack(pack, 2))
    if ragged:
        data += struct.pack(pack, 0) + struct.pack(pack, 1)
    return file(json.dumps(header).encode() + b" " * padding, data)


def tensor(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


SEEDS = {
    "valid-case": case(),
    "valid-rank3-int64": case(kv_rank=3, index="I64"),
    "valid-unaligned": case(padding=1),
    "valid-ragged": case(ragged=True),
    "valid-ragged-int64": case(ragged=True, index="I64"),
    "valid-metadata": case(metadata={"scale": "0.5", "causal": "true", "d_v": "3"}),
    "valid-empty": file({}),
    "short": b"\x01\x02",
    "length-beyond-file": struct.pack("<Q", 1 << 63) + b"{}",
    "no-json": file(b"{]"),
    "deep": file(b'{"a":' + b"[" * 5000),
    "duplicate": file(b'{"a":' + json.dumps(tensor()).encode() + b',"a":'
                      + json.dumps(tensor()).encode() + b"}", bytes(4)),
    "overlap": file({"a": tensor(), "b": tensor(offsets=(2, 6))}, bytes(6)),
    "gap": file({"a": tensor(), "b": tensor(offsets=(8, 12))}, bytes(12)),
    "overflow": file({"a": tensor(shape=(2**62, 2**62))}, bytes(4)),
    "nan-scale": case(metadata={"scale": "nan"}),
}

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for seed, content in SEEDS.items():
    (folder / seed).write_bytes(content)
