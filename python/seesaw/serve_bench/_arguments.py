"""What the command is asked for: its options, their defaults, and what is refused."""

from __future__ import annotations

import argparse
import platform
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Dict, List, Optional

from seesaw.serve_bench import __doc__ as ABOUT
from seesaw.serve_bench._models import presets
from seesaw.serve_bench._requests import Refusal, Request, random_trace, range_of, read_trace

DTYPES = ("float32", "bfloat16", "float16")
FIGURE_KINDS = (".svg", ".png")
EXIT_CODES = """Exit codes: 0 done; 2 the command is malformed, or something is not installed; 3 an
attention could not run, and says why; 130 stopped, what was measured is kept."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Refusal(f"serve_bench: {message}, needed: what --help says. Mend the command line.")


def parser() -> Parser:
    about, _, examples = (ABOUT or "").partition("\n\n")
    made = Parser(
        prog="python -m seesaw.serve_bench",
        description=about,
        epilog=f"Examples:\n{examples}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = made.add_argument_group("the model, with random weights")
    model.add_argument(
        "--model",
        default="tiny",
        metavar="NAME|FILE",
        help=f"a config.json, its folder, or one of {', '.join(presets())}; default: tiny",
    )
    model.add_argument("--layers", type=int, metavar="N", help="its first N layers; default: all")
    model.add_argument(
        "--dtype", choices=DTYPES, help="default: float32 on a CPU, bfloat16 on a GPU"
    )
    model.add_argument("--device", help="cpu or cuda; default: cuda where there is one")
    model.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, tokens, trace")
    served = made.add_argument_group("what is served")
    served.add_argument("--requests", type=int, default=8, metavar="N", help="default: 8")
    served.add_argument("--batch", type=int, default=4, metavar="N", help="at once; default: 4")
    served.add_argument(
        "--prompt", default="128", metavar="N|N-M", help="tokens of a prompt; default: 128"
    )
    served.add_argument("--new", default="16", metavar="N|N-M", help="new tokens; default: 16")
    served.add_argument(
        "--rate",
        type=float,
        default=0.0,
        metavar="R",
        help="arrivals a second, a Poisson process; default, 0: all are there at the beginning",
    )
    served.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="in place of --requests, --prompt, --new, --rate: a line a request, "
        '{"arrival_s": 0.5, "prompt_tokens": 100, "new_tokens": 20}',
    )
    how = made.add_argument_group("how")
    how.add_argument(
        "--engine",
        choices=("transformers", "vllm"),
        default="transformers",
        help="whose loop serves; default: transformers",
    )
    how.add_argument(
        "--attention",
        nargs="+",
        metavar="NAME",
        help="Transformers' names, seesaw, seesaw:FORMAT; default: each one that is installed",
    )
    how.add_argument(
        "--backend",
        nargs="+",
        metavar="NAME",
        help="vLLM's names, CUSTOM being Seesaw; default: each one of MLA that is installed",
    )
    how.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    how.add_argument("--threads", type=int, metavar="N", help="of a CPU; default: PyTorch's")
    out = made.add_argument_group("what comes out")
    out.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="JSON in place of the table; with =FILE beside it",
    )
    out.add_argument("--figure", type=Path, metavar="FILE", help="a figure, .svg or .png")
    out.add_argument("--quiet", action="store_true", help="no progress on the error stream")
    return made


def check(arguments: argparse.Namespace) -> None:
    """Refuses what argparse lets through, before anything long begins."""
    for name in ("requests", "batch", "rounds", "threads"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise Refusal(f"--{name} = {value}, allowed: 1 or more. Correct it.")
    if not 0 <= arguments.rate < float("inf"):
        raise Refusal(f"--rate = {arguments.rate}, allowed: 0 or more. Correct it.")
    figure: Optional[Path] = arguments.figure
    if figure is not None:
        if figure.suffix not in FIGURE_KINDS:
            raise Refusal(f"--figure: {figure}, allowed: names in .svg, .png. Name another.")
        if find_spec("matplotlib") is None:
            raise Refusal(
                "--figure: matplotlib is not installed, needed: the extra `report`. Run "
                "`pip install 'seesaw[report]'`, or leave it out."
            )
    of_vllm = arguments.engine == "vllm"
    for name, given, wanted in (
        ("--attention", arguments.attention, not of_vllm),
        ("--backend", arguments.backend, of_vllm),
    ):
        if given and not wanted:
            raise Refusal(
                f"{name} with --engine {arguments.engine}, allowed: --attention with transformers, "
                "--backend with vllm. Leave one out."
            )
        if given and len(set(given)) < len(given):
            raise Refusal(f"{name}: {' '.join(given)}, allowed: each name once. Leave one out.")
    for module in ("torch", "transformers", *(["vllm"] if of_vllm else [])):
        if find_spec(module) is None:
            raise Refusal(
                f"serve_bench: the package {module} is not installed, needed: the extra "
                f"`{arguments.engine}`. Run `pip install 'seesaw[{arguments.engine}]'`."
            )


def requests_of(arguments: argparse.Namespace) -> List[Request]:
    if arguments.trace is not None:
        return read_trace(arguments.trace)
    prompt, new = range_of(arguments.prompt, "--prompt"), range_of(arguments.new, "--new")
    return random_trace(arguments.requests, arguments.rate, prompt, new, arguments.seed)


def check_lengths(requests: List[Request], config: Dict[str, Any]) -> None:
    longest = max(request.prompt_tokens + request.new_tokens for request in requests)
    allowed = config.get("max_position_embeddings")
    if allowed is not None and longest > allowed:
        raise Refusal(
            f"serve_bench: {longest} tokens of a request, allowed: {allowed}, the model's "
            "max_position_embeddings. Ask for shorter ones."
        )


def attentions_of(arguments: argparse.Namespace, config: Dict[str, Any], say: Any) -> List[str]:
    """Those that were asked for, or all that are installed here and made for the model."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.utils import import_utils

    from seesaw._formats import format_of
    from seesaw.serve_bench._transformers import NATIVE, SEESAW
    from seesaw.transformers import SUPPORTED

    if arguments.attention:
        known = ["eager", *sorted(ALL_ATTENTION_FUNCTIONS.keys()), SEESAW]
        for name in arguments.attention:
            base, _, kv_format = name.partition(":")
            if base not in known or (kv_format and base != SEESAW):
                raise Refusal(
                    f"--attention: {name}, allowed: {', '.join(known)}, {SEESAW}:FORMAT. Choose "
                    "of them."
                )
            try:
                format_of("--attention", kv_format or None)
            except ValueError as error:
                raise Refusal(str(error)) from None
        return list(arguments.attention)
    found = list(NATIVE)
    if arguments.device == "cuda":
        for version in (2, 3):
            installed = getattr(import_utils, f"is_flash_attn_{version}_available", bool)
            found += [f"flash_attention_{version}"] if installed() else []
    if config["model_type"] in SUPPORTED:
        found.append(SEESAW)
    else:
        say(
            f"seesaw.transformers has no {config['model_type']}, but {', '.join(SUPPORTED)}: "
            "left out"
        )
    return found


def device_of(arguments: argparse.Namespace) -> str:
    """Its name for a reader; `arguments.device` and `dtype` get their defaults."""
    import torch

    there = torch.cuda.is_available()
    arguments.device = arguments.device or ("cuda" if there else "cpu")
    if arguments.device not in ("cpu", "cuda") or (arguments.device == "cuda" and not there):
        raise Refusal(
            f"--device = {arguments.device}, allowed: {'cpu, cuda' if there else 'cpu'} here. "
            "Choose it."
        )
    on_gpu = arguments.device == "cuda"
    arguments.dtype = arguments.dtype or ("bfloat16" if on_gpu else "float32")
    if on_gpu:
        return str(torch.cuda.get_device_name())
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
