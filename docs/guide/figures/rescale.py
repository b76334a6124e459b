"""Chapter 6: how often the output has to be moved to a new maximum, as tiles go by."""

import random

import style
from style import BLUE, GREEN, ORANGE, plt

TILES, TOKENS, ROWS, TRIALS = 64, 64, 16, 60
SIGMA = 1.4 * 1.4427  # standard deviation of scores of the ladder's inputs, in powers of two

random.seed(1)
moved = {"any row's maximum grew": [0] * TILES, "any row grew by more than 8": [0] * TILES}
for _ in range(TRIALS):
    exact = [-1e30] * ROWS
    frame = [-1e30] * ROWS
    for tile in range(TILES):
        maxima = [max(random.gauss(0, SIGMA) for _ in range(TOKENS)) for _ in range(ROWS)]
        moved["any row's maximum grew"][tile] += any(m > e for m, e in zip(maxima, exact))
        exact = [max(m, e) for m, e in zip(maxima, exact)]
        moved["any row grew by more than 8"][tile] += any(
            m - f > 8 for m, f in zip(maxima, frame))
        frame = [m if m - f > 8 else f for m, f in zip(maxima, frame)]

figure, axis = plt.subplots(figsize=(8, 2.6))
axis.plot(range(1, TILES + 1), [1] * TILES, color=ORANGE, label="always")
for (name, counts), colour in zip(moved.items(), (BLUE, GREEN)):
    share = [count / TRIALS for count in counts]
    axis.plot(range(1, TILES + 1), share, color=colour,
              label=f"if {name}: {100 * sum(share) / TILES:.0f} % of tiles")
axis.set_xlabel("tile")
axis.set_ylabel("share of warps\nthat rescale")
axis.set_ylim(0, 1.05)
axis.set_xlim(1, TILES)
axis.legend(frameon=False)
figure.tight_layout()
style.save(figure, __file__)
