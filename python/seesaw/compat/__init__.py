"""Interfaces of other libraries over Seesaw: flash_mla, vllm_ops, flashinfer, sgl_kernel."""
