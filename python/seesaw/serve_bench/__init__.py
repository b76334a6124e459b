"""A model with random weights serves requests by each attention that is installed, in turn.

    python -m seesaw.serve_bench                                  # a small model, seconds on a CPU
    python -m seesaw.serve_bench --model deepseek-v2-lite --layers 4 --prompt 2048 --new 64
    python -m seesaw.serve_bench --model config.json --attention sdpa seesaw seesaw:fp8_656
    python -m seesaw.serve_bench --rate 2 --requests 32 --prompt 64-512 --json=serve.json
    python -m seesaw.serve_bench --trace trace.jsonl --figure serve.svg
    python -m seesaw.serve_bench --engine vllm --backend CUSTOM FLASHMLA

Needs Transformers (`pip install 'seesaw[transformers]'`); --figure the extra `report`, and
--engine vllm vLLM. See docs/serve-bench.md for what is measured and how.
"""
