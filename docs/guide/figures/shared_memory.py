"""Chapter 3: where the 227 KB of a Hopper block go in rung 10, and the 128-byte swizzle."""

import style
from style import BLUE, GREEN, GREY, LIGHT, ORANGE, RED, plt

TILE = 64 * 64 * 2
LIMIT = 232448

parts = [
    ("Q' (tile 8: P1)", 9 * TILE, BLUE),
    ("K' even tiles", 9 * TILE, GREEN),
    ("K' odd tiles", 9 * TILE, GREEN),
    ("P0", TILE, ORANGE),
    ("maxima, sums, barriers", 4 * 64 * 4 + 2 * 64 * 4 + 9 * 8, RED),
]

figure, axes = plt.subplots(2, 1, figsize=(9, 4.6), height_ratios=[1, 2.6])
left = 0
for name, size, colour in parts:
    axes[0].barh(0, size, left=left, color=colour, edgecolor="white")
    if size > 4 * TILE:
        axes[0].text(left + size / 2, 0, f"{name}\n{size:,} B", ha="center", va="center",
                     color="white")
    left += size
axes[0].axvline(LIMIT, color=GREY, linestyle="--")
axes[0].text(LIMIT, 0.45, f" limit {LIMIT:,}", va="bottom", ha="right", color=GREY)
axes[0].set_title(f"shared memory of rung 10: {left:,} bytes and alignment", loc="left")
axes[0].set_xlim(0, LIMIT * 1.02)
axes[0].set_axis_off()
axes[0].text(27.5 * TILE, 0, "P0", ha="center", va="center", color="white")


def draw_pieces(axis, x0, title, place):
    """Eight rows of 128 bytes; place(row, piece) says where a 16-byte piece lies."""
    palette = plt.get_cmap("viridis")
    for row in range(8):
        for piece in range(8):
            x = x0 + place(row, piece)
            axis.add_patch(plt.Rectangle((x, -row), 1, -1, facecolor=palette(piece / 7),
                                         edgecolor="white"))
            axis.text(x + 0.5, -row - 0.5, str(piece), ha="center", va="center", fontsize=7,
                      color="white" if piece < 5 else "black")
    axis.text(x0, 0.25, title)


axis = axes[1]
draw_pieces(axis, 0, "as stored row by row: piece 3 of all\nrows in the same 4 banks",
            lambda row, piece: piece)
draw_pieces(axis, 11, "128-byte swizzle, piece xor row:\npiece 3 of 8 rows in 32 banks",
            lambda row, piece: piece ^ row)
for x0, swizzled in ((0, False), (11, True)):
    for row in range(8):
        x = x0 + ((3 ^ row) if swizzled else 3)
        axis.add_patch(plt.Rectangle((x, -row), 1, -1, fill=False, edgecolor=RED, linewidth=2))
axis.text(20.3, -1.2, "a column: 16 bytes,\n4 of the 32 banks", color=GREY)
axis.text(20.3, -3.2, "red: what eight threads read\nat once for one k step", color=RED)
axis.add_patch(plt.Rectangle((20.3, -5.6), 1, -1, facecolor=LIGHT))
axis.text(21.6, -6.3, "a piece: 8 bf16 columns")
axis.set_xlim(-0.5, 30)
axis.set_ylim(-8.3, 2)
axis.set_axis_off()
figure.tight_layout()
style.save(figure, __file__)
