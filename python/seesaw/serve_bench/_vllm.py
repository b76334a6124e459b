"""vLLM's loop: a process for each backend, as vLLM chooses one when it starts.

`python -m seesaw.serve_bench._vllm` is that process: a job as JSON on its input, rounds as JSON in
the file that the job names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

from seesaw.serve_bench._models import build
from seesaw.serve_bench._requests import Request
from seesaw.serve_bench._run import Plan, Progress, first_line
from seesaw.serve_bench._served import Served, agreement, figures_of

OURS = "CUSTOM"
_NOT_HERE = ("ROCM", "XPU", "SPARSE")
_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in the process that times it
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_USE_FLASHINFER_SAMPLER": "0",  # one sampler for all backends
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
}
_SAY_EVERY_S = 10.0


def backends() -> List[str]:
    """vLLM's names of backends for dense MLA on this kind of machine, Seesaw's first."""
    from vllm.platforms import current_platform
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    names = [name for name in AttentionBackendEnum.__members__ if "MLA" in name]
    names = [name for name in names if not any(part in name for part in _NOT_HERE)]
    of_cpu = current_platform.is_cpu()
    return [OURS, *[name for name in names if (name in ("CPU_MLA", "AMX_MLA")) == of_cpu]]


def compare(
    arguments: argparse.Namespace, config: Dict[str, Any], plan: Plan, progress: Progress
) -> Tuple[List[Dict[str, Any]], Dict[str, str], bool]:
    """(results as of `Comparison.results`, versions, whether it was stopped)."""
    os.environ.update(_SETTINGS)  # before vLLM is imported, and for its processes
    import torch
    import vllm

    names = arguments.backend or backends()
    results: List[Dict[str, Any]] = []
    stopped = False
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        progress.say(f"writing {arguments.model}, {config['num_hidden_layers']} layers")
        model = build(config, getattr(torch, arguments.dtype), "cpu", arguments.seed)
        model.save_pretrained(folder / "model")
        del model
        first: List[List[int]] = []
        try:
            for name in names:
                job = _job(name, folder, arguments, plan)
                rounds, facts = _in_a_process(job, folder / f"{name}.log", progress)
                result = _result(name, rounds, facts, plan.requests, first)
                first = first or (rounds[0].tokens if rounds else [])
                results.append(result)
                progress.say(f"{name}: {result['why_not'] or 'done'}")
        except KeyboardInterrupt:
            stopped = True
    return results, {"vllm": vllm.__version__, "torch": torch.__version__}, stopped


def _result(
    name: str,
    rounds: List[Served],
    facts: Dict[str, Any],
    requests: List[Request],
    first: List[List[int]],
) -> Dict[str, Any]:
    return {
        "attention": name,
        "why_not": facts.get("why_not"),
        "rounds": len(rounds),
        "figures": figures_of(rounds, requests) if rounds else None,
        "same_tokens": agreement(rounds[-1].tokens, first or rounds[0].tokens) if rounds else None,
        "layers": None,  # vLLM's graphs and compiled layers cannot be timed one by one
        "kernels": facts.get("kernels"),
    }


def _job(name: str, folder: Path, arguments: argparse.Namespace, plan: Plan) -> Dict[str, Any]:
    return {
        "backend": name,
        "model": str(folder / "model"),
        "answer": str(folder / f"{name}.json"),
        "dtype": arguments.dtype,
        "device": arguments.device,
        "threads": arguments.threads,
        "batch": plan.batch,
        "rounds": plan.rounds,
        "requests": [asdict(request) for request in plan.requests],
        "prompts": plan.prompts,
    }


def _in_a_process(
    job: Dict[str, Any], log: Path, progress: Progress
) -> Tuple[List[Served], Dict[str, Any]]:
    """(rounds, what else the process answered). It ends with the call, however the call ends."""
    begin = time.monotonic()
    with log.open("w") as output:
        command = [sys.executable, "-m", "seesaw.serve_bench._vllm"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert process.stdin is not None
            json.dump(job, process.stdin)
            process.stdin.close()
            while process.poll() is None:
                try:
                    process.wait(timeout=_SAY_EVERY_S)
                except subprocess.TimeoutExpired:
                    progress.say(f"{job['backend']}: {time.monotonic() - begin:.0f} s")
        finally:
            process.kill()
            process.wait()
    answer = Path(job["answer"])
    if not answer.exists():
        last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        return [], {"why_not": f"its process ended with {process.returncode}: {last[:200]}"}
    facts = json.loads(answer.read_text())
    return [Served(**one) for one in facts.pop("rounds", [])], facts


# ---- the process -----------------------------------------------------------------------------


def start(job: Dict[str, Any]) -> Any:
    """vLLM's `LLM` with the backend."""
    from vllm import LLM

    on_cpu = job["device"] == "cpu"
    longest = max(r["prompt_tokens"] + r["new_tokens"] for r in job["requests"])
    how: Dict[str, Any] = {}
    if on_cpu:
        # vLLM 0.26's own rotary operator for CPUs is wrong for MLA.
        how["compilation_config"] = {"custom_ops": ["all", "-rotary_embedding"]}
        how["enforce_eager"] = True
    return LLM(
        job["model"],
        dtype=job["dtype"],
        skip_tokenizer_init=True,
        max_model_len=longest + 1,
        max_num_seqs=job["batch"],
        enable_prefix_caching=False,  # each round computes its prompts
        attention_backend=job["backend"],
        **how,
    )


def serve(engine: Any, requests: List[Request], prompts: List[List[int]]) -> Served:
    """Serves a trace: requests are added as they arrive, vLLM makes the batches. Waits for arrivals
    are skipped, not slept. A step computes prompts where a request has no token before it."""
    from vllm import SamplingParams

    served = Served.nothing_yet(len(requests))
    now, added = 0.0, 0
    begun: Set[int] = set()
    waiting: Set[int] = set()
    while added < len(requests) or engine.has_unfinished_requests():
        if not engine.has_unfinished_requests():
            now = max(now, requests[added].arrival_s)
        while added < len(requests) and requests[added].arrival_s <= now:
            limits = SamplingParams(
                temperature=0.0,
                max_tokens=requests[added].new_tokens,
                ignore_eos=True,
                detokenize=False,
            )
            engine.add_request(str(added), {"prompt_token_ids": prompts[added]}, limits)
            waiting.add(added)
            added += 1
        computes_prompts = bool(waiting - begun)
        begin = time.perf_counter()
        outputs = engine.step()
        took = time.perf_counter() - begin
        now += took
        served.busy_s += took
        (served.prefill_s if computes_prompts else served.decode_s).append(took)
        for output in outputs:
            i = int(output.request_id)
            tokens = list(output.outputs[0].token_ids)
            if tokens and i not in begun:
                begun.add(i)
                served.first[i] = now
            if output.finished:
                served.last[i], served.tokens[i] = now, tokens
    return served


def cache_of(llm: Any) -> Tuple[int, int]:
    """(bytes of the pool of pages, tokens that it has room for), all layers."""

    def count(model: Any) -> Tuple[int, int]:
        size = tokens = 0
        for module in model.modules():
            held: Any = getattr(module, "kv_cache", None)
            for cache in held if isinstance(held, (list, tuple)) else [held]:
                if getattr(cache, "ndim", 0) >= 3:  # [blocks, tokens of a block, columns]
                    size += cache.numel() * cache.element_size()
                    tokens = max(tokens, cache.shape[0] * cache.shape[1])
        return size, tokens

    found: Tuple[int, int] = llm.apply_model(count)[0]
    return found


def kernels_used() -> Dict[str, int]:
    """How often each of Seesaw's kernels ran, so that it is seen who decoded."""
    import seesaw

    runs = {row.kernel: row.calls["run"]["ok"] for row in seesaw.stats()}
    return {name: count for name, count in runs.items() if count}


def work(job: Dict[str, Any]) -> Dict[str, Any]:
    import torch

    if job["threads"] and job["device"] == "cpu":
        torch.set_num_threads(job["threads"])
    requests = [Request(**one) for one in job["requests"]]
    llm = start(job)
    size, tokens = cache_of(llm)
    warm = [Request(0.0, r.prompt_tokens, min(4, r.new_tokens)) for r in requests[: job["batch"]]]
    serve(llm.llm_engine, warm, job["prompts"])
    rounds = []
    for _ in range(job["rounds"]):
        served = serve(llm.llm_engine, requests, job["prompts"])
        served.kv_bytes, served.kv_tokens = size, tokens
        rounds.append(asdict(served))
    return {"rounds": rounds, "kernels": kernels_used()}


def main() -> int:
    job = json.load(sys.stdin)
    try:
        answer: Dict[str, Any] = work(job)
    except Exception as error:  # whatever vLLM refuses with, the comparison goes on without it
        answer = {"why_not": _reason(error)}
    Path(job["answer"]).write_text(json.dumps(answer))
    return 0


def _reason(error: Optional[BaseException]) -> str:
    """Of the innermost error: vLLM wraps what a backend says."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    return first_line(error) if error is not None else ""


if __name__ == "__main__":
    raise SystemExit(main())
