"""Chapter 7: which limit binds, by query rows per KV head: the roofs of an H200."""

import style
from style import BLUE, GREY, ORANGE, plt

PEAK = 790e12       # bf16 matrix products in a short run (cuBLAS, graph replays)
BANDWIDTH = 4.42e12
FLOPS_PER_ROW_TOKEN = 2 * (576 + 512)
BYTES_PER_TOKEN = 576 * 2

rows = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
bound = [min(PEAK, BANDWIDTH * r * FLOPS_PER_ROW_TOKEN / BYTES_PER_TOKEN) / 1e12 for r in rows]
balance = PEAK / BANDWIDTH * BYTES_PER_TOKEN / FLOPS_PER_ROW_TOKEN

figure, axis = plt.subplots(figsize=(7, 2.8))
axis.loglog(rows, bound, color=BLUE, marker="o", markersize=4)
axis.axvline(balance, color=GREY, linestyle="--")
axis.text(balance * 1.08, 12, f"balance: {balance:.0f} rows", color=GREY)
axis.annotate("16 heads, s_q 1", (16, bound[4]), (17, bound[4] / 3), color=ORANGE)
axis.annotate("128 heads, s_q 1", (128, bound[7]), (140, bound[7] / 3), color=ORANGE)
axis.annotate("128 heads, s_q 2", (256, bound[8]), (270, bound[8] / 6), color=ORANGE)
axis.set_xlabel("query rows that share a token (s_q · h_q / h_kv)")
axis.set_ylabel("TFLOPS, at most")
axis.set_xticks(rows, [str(r) for r in rows])
axis.minorticks_off()
figure.tight_layout()
style.save(figure, __file__)
