"""python -m seesaw.serve_bench: see the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Optional

from seesaw._files import write_whole
from seesaw.serve_bench._arguments import (
    attentions_of,
    check,
    check_lengths,
    device_of,
    parser,
    requests_of,
)
from seesaw.serve_bench._models import build, read_config
from seesaw.serve_bench._requests import Refusal, prompts_of
from seesaw.serve_bench._run import Comparison, Plan, Progress, stderr_or_none
from seesaw.serve_bench._text import text_of

FAILED, STOPPED = 3, 130
"""Exit codes of docs/cli.md: an attention could not run; a signal came."""


def write(path: Path, option: str, fill: Callable[[BinaryIO], Any]) -> None:
    try:
        write_whole(path, fill)
    except OSError as error:
        raise Refusal(
            f"{option}: {path} cannot be written ({error.strerror}), needed: a file in a folder "
            "that is there and writable. Name another."
        ) from None


def check_writable(path: Optional[Path], option: str) -> None:
    if path is not None and not os.access(path.parent, os.W_OK):
        raise Refusal(
            f"{option}: {path} cannot be written, needed: a file in a folder that is there and "
            "writable. Name another."
        )


def measure(arguments: argparse.Namespace) -> Dict[str, Any]:
    """The report: everything that the JSON has (docs/serve-bench.md)."""
    import seesaw

    config = read_config(arguments.model, arguments.layers)
    requests = requests_of(arguments)
    check_lengths(requests, config)
    vocabulary = config.get("vocab_size", 0)
    prompts = prompts_of(requests, vocabulary, arguments.seed)
    plan = Plan(requests, prompts, arguments.batch, arguments.rounds)
    progress = Progress(stderr_or_none(arguments.quiet))
    stopped = False
    if arguments.engine == "vllm":
        from seesaw.serve_bench import _vllm

        device = device_of(arguments)
        results, versions, stopped = _vllm.compare(arguments, config, plan, progress)
    else:
        import torch

        from seesaw.serve_bench._transformers import Attention
        from seesaw.serve_bench._transformers import versions as versions_of

        device = device_of(arguments)
        names = attentions_of(arguments, config, progress.say)
        progress.say(f"building {arguments.model}, {config['num_hidden_layers']} layers")
        model = build(config, getattr(torch, arguments.dtype), arguments.device, arguments.seed)
        comparison = Comparison(model, [Attention(name) for name in names], plan, progress)
        try:
            comparison.measure()
        except KeyboardInterrupt:
            stopped = True
        results, versions = comparison.results(), versions_of()
    return {
        "benchmark": "serve",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "engine": arguments.engine,
        "versions": {"seesaw": seesaw.__version__, "python": platform.python_version(), **versions},
        "device": device,
        "dtype": arguments.dtype,
        "settings": {
            "model": arguments.model,
            "seed": arguments.seed,
            "batch": arguments.batch,
            "rounds": arguments.rounds,
            "rate": arguments.rate,
        },
        "config": config,
        "requests": [request.as_json() for request in requests],
        "stopped_early": stopped,
        "results": results,
    }


def run(arguments: argparse.Namespace) -> int:
    check(arguments)
    to_file = arguments.json not in (None, "-")
    check_writable(Path(arguments.json) if to_file else None, "--json")
    check_writable(arguments.figure, "--figure")
    report = measure(arguments)
    text = json.dumps(report, indent=1) + "\n"
    if to_file:
        write(Path(arguments.json), "--json", lambda file: file.write(text.encode("utf-8")))
    sys.stdout.write(text if arguments.json == "-" else text_of(report))
    ran = any(result["figures"] for result in report["results"])
    if arguments.figure is not None and ran:
        from seesaw.serve_bench import _figure

        kind = arguments.figure.suffix[1:]
        write(arguments.figure, "--figure", lambda file: _figure.save(report, file, kind))
    if report["stopped_early"]:
        return STOPPED
    # What was not asked for by name may be refused, and says why.
    asked = arguments.attention or arguments.backend
    refused = any(result["why_not"] for result in report["results"])
    return FAILED if not ran or (asked and refused) else 0


def main(arguments: Optional[List[str]] = None) -> int:
    def stop(number: int, frame: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends at once
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        code = run(parser().parse_args(arguments))
        sys.stdout.flush()
        return code
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:  # a reader that went away is not our failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    raise SystemExit(main())
