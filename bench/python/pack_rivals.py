#!/usr/bin/env python3
"""Packs other libraries' kernels for a machine that cannot install: from wheels, a small archive.

    python bench/python/pack_rivals.py --vllm vllm-*.whl --flashinfer FOLDER -o rivals.tar.xz

Of a vLLM wheel (hundreds of megabytes) it takes FlashMLA, FlashAttention-3 and the Triton kernel,
with their own Python files, and puts a package around them that imports nothing else. FOLDER holds
`flashinfer` as pip installed it, with the compiled modules that are wanted in data/aot. on_gpu.sh
unpacks the archive beside Seesaw.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import zipfile
from pathlib import Path
from typing import List, Optional

VLLM_FILES = (
    "vllm/_flashmla_C.abi3.so",
    "vllm/third_party/flashmla/__init__.py",
    "vllm/third_party/flashmla/flash_mla_interface.py",
    "vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so",
    "vllm/vllm_flash_attn/flash_attn_interface.py",
    "vllm/v1/attention/ops/triton_decode_attention.py",
)
"""Unchanged."""

STAND_INS = {
    **{
        f"vllm/{folder}__init__.py": ""
        for folder in (
            "", "third_party/", "vllm_flash_attn/", "v1/", "v1/attention/", "v1/attention/ops/"
        )
    },
    "vllm/platforms.py": (
        "class current_platform:\n    @staticmethod\n    def is_rocm():\n        return False\n"
    ),
    "vllm/triton_utils.py": "import triton\nimport triton.language as tl\n",
}  # fmt: skip
"""For the parts of vLLM that those files import."""

FLASHINFER_PARTS = ("**/*.py", "data/aot/**/*.so", "data/csrc/batch_mla*")
"""It reads the sources of a module even where it is compiled already."""


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    archive.addfile(info, io.BytesIO(content))


def add_vllm(archive: tarfile.TarFile, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        for name in VLLM_FILES:
            add_bytes(archive, name, files.read(name))
    for name, content in STAND_INS.items():
        add_bytes(archive, name, content.encode())


def add_flashinfer(archive: tarfile.TarFile, folder: Path) -> None:
    package = folder / "flashinfer"
    chosen = {path for part in FLASHINFER_PARTS for path in package.glob(part)}
    for path in sorted(chosen):
        archive.add(path, str(path.relative_to(folder)))


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--vllm", type=Path, help="its wheel")
    parser.add_argument("--flashinfer", type=Path, help="the folder that it is installed in")
    parser.add_argument("-o", "--output", type=Path, default=Path("rivals.tar.xz"))
    arguments = parser.parse_args(argv)
    with tarfile.open(arguments.output, "w:xz", preset=6) as archive:
        if arguments.vllm:
            add_vllm(archive, arguments.vllm)
        if arguments.flashinfer:
            add_flashinfer(archive, arguments.flashinfer)
    print(f"{arguments.output}: {arguments.output.stat().st_size >> 20} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
