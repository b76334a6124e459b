"""Host time of calls on PyTorch tensors, against what it may cost."""

import host_time


def test_calls_are_within_their_limits(tmp_path):
    limits = {"dense_decode, all buffers given": 3.6, "flash_mla, current form": 6.6}
    host_time.check_limits(limits, "torch", tmp_path)
