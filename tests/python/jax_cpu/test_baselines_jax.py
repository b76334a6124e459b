"""seesaw.baselines takes no JAX arrays, and says so by its own name."""

import jax.numpy as jnp
import numpy as np
import pytest
from baselines_reference import D_MODEL, MODELS, import_baselines, random_weights

baselines = import_baselines()


def test_refused():
    layer = MODELS["mha"].make(baselines)
    weights = random_weights(layer.parameter_shapes)
    x = jnp.zeros((2, 5, D_MODEL), np.float32)
    with pytest.raises(TypeError, match="^baselines: q_proj.weight is an array of jax, allowed: "):
        layer.load_state_dict({name: jnp.asarray(array) for name, array in weights.items()})
    layer.load_state_dict(weights)
    for function in (layer, layer.explain, layer.workspace_size, lambda x: layer.new_cache(x, 5)):
        with pytest.raises(TypeError, match="^baselines: x is an array of jax, allowed: "):
            function(x)
