"""Chapter 1: what a decoding step reads and multiplies per token, expanded and absorbed."""

import style
from style import BLUE, GREEN, ORANGE, plt

HEADS, NOPE, ROPE, V, LATENT = 128, 128, 64, 128, 512
BYTES = 2  # bf16

cached = {
    "multi-head attention\n(keys and values of 128 heads)": HEADS * (NOPE + ROPE + V) * BYTES,
    "grouped-query attention\n(8 KV heads of 128)": 2 * 8 * 128 * BYTES,
    "MLA\n(512 latent + 64 rotary)": (LATENT + ROPE) * BYTES,
}
operations = {
    "expanded:\nper cached token, up-projection": 2 * LATENT * HEADS * (NOPE + V),
    "expanded:\nattention": 2 * HEADS * (NOPE + ROPE + V),
    "absorbed:\nattention in the latent space": 2 * HEADS * (LATENT + ROPE + LATENT),
}

figure, axes = plt.subplots(1, 2, figsize=(9, 2.6))
for axis, data, title in (
    (axes[0], cached, "bytes cached per token and layer"),
    (axes[1], operations, "operations per cached token and new token"),
):
    bars = axis.barh(list(data), list(data.values()), color=[ORANGE, BLUE, GREEN])
    axis.set_xscale("log")
    axis.set_title(title, loc="left")
    axis.invert_yaxis()
    axis.bar_label(bars, [f" {value:,}" for value in data.values()])
    axis.set_xlim(right=max(data.values()) * 12)
figure.tight_layout()
style.save(figure, __file__)
