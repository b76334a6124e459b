"""The scale of a model's scores, and that no call has a default for it."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import seesaw
from cases import Case, assert_close

YARN_V3 = {
    "type": "yarn",
    "factor": 40,
    "original_max_position_embeddings": 4096,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
}
V3 = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rope_scaling": YARN_V3}


def test_scale_is_required():
    arrays = Case([70, 3]).arrays
    with pytest.raises(TypeError, match="required keyword-only argument: 'scale'"):
        seesaw.dense_decode(*arrays)


def test_a_scale_of_zero_weighs_all_keys_alike():
    case = Case([70, 3], h_q=4)
    assert_close(seesaw.dense_decode(*case.arrays, scale=0), case.expected(scale=0.0))


def test_scales_of_published_models():
    """V3 and R1: 0.1352...; V2: mscale_all_dim 0.707; Kimi-K2: factor 32; no YaRN: 192^-1/2."""
    assert seesaw.softmax_scale(V3) == pytest.approx(192**-0.5 * 1.3688879454113936**2, rel=1e-15)
    v2 = {**V3, "rope_scaling": {**YARN_V3, "mscale": 0.707, "mscale_all_dim": 0.707}}
    m = 0.1 * 0.707 * math.log(40) + 1
    assert seesaw.softmax_scale(v2) == pytest.approx(192**-0.5 * m * m, rel=1e-15)
    kimi = {**V3, "rope_scaling": {**YARN_V3, "factor": 32.0}}
    assert seesaw.softmax_scale(kimi) == pytest.approx(192**-0.5 * 1.3465735902799727**2, rel=1e-15)
    plain = {**V3, "rope_scaling": None}
    assert seesaw.softmax_scale(plain) == 192**-0.5
    without = {**YARN_V3}
    del without["mscale_all_dim"]
    assert seesaw.softmax_scale({**V3, "rope_scaling": without}) == 192**-0.5


def test_configurations_as_objects_and_of_newer_transformers():
    config = SimpleNamespace(**V3)
    assert seesaw.softmax_scale(config) == seesaw.softmax_scale(V3)
    newer = {**YARN_V3, "rope_type": "yarn", "rope_theta": 10000.0}
    del newer["type"]
    config = SimpleNamespace(qk_nope_head_dim=128, qk_rope_head_dim=64, rope_parameters=newer)
    assert seesaw.softmax_scale(config) == seesaw.softmax_scale(V3)
    config.rope_parameters = {"rope_type": "default", "rope_theta": 10000.0}
    assert seesaw.softmax_scale(config) == 192**-0.5


@pytest.mark.parametrize(
    "change, error, pattern",
    [
        ({"qk_nope_head_dim": None}, ValueError, "qk_nope_head_dim = None in the configuration"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, ValueError, "type 'linear', allowed"),
        ({"rope_scaling": {**YARN_V3, "attention_factor": 1.2}}, ValueError, "attention_factor"),
        ({"rope_scaling": {**YARN_V3, "factor": "40"}}, TypeError, "factor = '40', allowed"),
        ({"rope_scaling": {**YARN_V3, "factor": -1}}, ValueError, "factor = -1.0, allowed"),
        ({"rope_scaling": "yarn"}, TypeError, "rope_scaling of type str, allowed"),
    ],
)
def test_what_is_not_understood_is_refused(change, error, pattern):
    with pytest.raises(error, match=f"^softmax_scale: .*{pattern}"):
        seesaw.softmax_scale({**V3, **change})
    assert np.isfinite(seesaw.softmax_scale(V3))
