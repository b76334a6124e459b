"""Host time of calls on NumPy arrays, against what it may cost."""

import host_time


def test_calls_are_within_their_limits(tmp_path):
    host_time.check_limits({"dense_decode, all buffers given": 2.1}, "numpy", tmp_path)
