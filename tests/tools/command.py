"""What the tests of the command share: the program and a folder to work in, from the first two
arguments of the test, and safetensors files. Needs nothing but Python's standard library.
"""
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import unittest

SEESAW = os.path.abspath(sys.argv[1])
WORK = pathlib.Path(sys.argv[2]).absolute()


def run(*arguments, **options):
    return subprocess.run([SEESAW, *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, cwd=WORK, **options)


def read_safetensors(path):
    """Tensors as {name: (shape, [floats or ints])}, and the metadata."""
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = content[8 + length + begin:8 + length + end]
        if entry["dtype"] == "BF16":
            raw = struct.unpack(f"<{len(data) // 2}H", data)
            values = struct.unpack(f"<{len(raw)}f", struct.pack(f"<{len(raw)}I",
                                                                *(x << 16 for x in raw)))
        else:
            code = {"F16": "e", "F32": "f", "I32": "i"}[entry["dtype"]]
            values = struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
        tensors[name] = (entry["shape"], values)
    return tensors, metadata


def write_safetensors(path, tensors, metadata=None, header_edit=None):
    """tensors: {name: (dtype, shape, bytes)}."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    if header_edit:
        header_edit(header)
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def ints(*values):
    return struct.pack(f"<{len(values)}i", *values)


def small_case(**changes):
    """b 1, s_q 1, h_q 2, d_qk 4, float32; 2 pages of 2 tokens, length 3."""
    tensors = {
        "q": ("F32", [1, 1, 2, 4], struct.pack("<8f", *range(8))),
        "kv_cache": ("F32", [2, 2, 1, 4], struct.pack("<16f", *(x / 16 for x in range(16)))),
        "block_table": ("I32", [1, 2], ints(1, 0)),
        "seq_lens": ("I32", [1], ints(3)),
    }
    tensors.update(changes)
    return tensors


class CommandTest(unittest.TestCase):
    def setUp(self):
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)

    def succeed(self, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def refuse(self, *arguments, part):
        """Exit code 2, one four-part line on stderr that holds `part`, nothing on stdout."""
        result = run(*arguments)
        self.assertEqual(result.returncode, 2, f"{arguments}\n{result.stdout}\n{result.stderr}")
        self.assertIn(part, result.stderr)
        self.assertRegex(result.stderr, re.compile(r"^[^\n]+: [^\n]+, [^\n]+\. [^\n]+\.\n$"))
        self.assertEqual(result.stdout, "")

    def leftovers(self):
        return sorted(path.name for path in WORK.iterdir())


def main():
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
