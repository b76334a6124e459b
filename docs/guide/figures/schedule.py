"""Chapter 5: three ways to share the tiles of unequal sequences between workers."""

import style
from style import BLUE, GREEN, GREY, LIGHT, ORANGE, RED, plt

SEQUENCES = [4, 60, 12, 30, 6]  # tiles
WORKERS = 8
COST = 3  # of a piece, in tiles
COLOURS = [BLUE, ORANGE, GREEN, RED, GREY]


def one_each():
    """A block a sequence, as rungs 6 to 10."""
    return [[(i, tiles)] for i, tiles in enumerate(SEQUENCES)] + [[] for _ in range(3)]


def same_splits(splits=2):
    work = [(i, tiles / splits) for i, tiles in enumerate(SEQUENCES) for _ in range(splits)]
    workers = [[] for _ in range(WORKERS)]
    for j, piece in enumerate(work):
        workers[j % WORKERS].append(piece)
    return workers


def ranges():
    """Decision 0003, option 3 with its rule for cuts."""
    total = sum(SEQUENCES) + COST * len(SEQUENCES)
    quota = -(-total // WORKERS)
    shortest = 1 + COST // 2
    workers = [[] for _ in range(WORKERS)]
    start = 0
    for i, tiles in enumerate(SEQUENCES):
        first_tile = start + COST
        cuts = [c for c in range(quota, total, quota)
                if first_tile + shortest <= c <= first_tile + tiles - shortest]
        bounds = [0] + [c - first_tile for c in cuts] + [tiles]
        owner = (first_tile + shortest - 1) // quota
        for k in range(len(bounds) - 1):
            workers[min(owner + k, WORKERS - 1)].append((i, bounds[k + 1] - bounds[k]))
        start += COST + tiles
    return workers


figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True)
for axis, (title, workers) in zip(axes, (("one block a sequence", one_each()),
                                         ("two splits for everybody", same_splits()),
                                         ("equal ranges of one line", ranges()))):
    longest = 0
    for w, pieces in enumerate(workers):
        left = 0
        for sequence, tiles in pieces:
            axis.barh(w, COST, left=left, color=LIGHT, edgecolor="white")
            axis.barh(w, tiles, left=left + COST, color=COLOURS[sequence], edgecolor="white")
            left += COST + tiles
        longest = max(longest, left)
    mean = (sum(SEQUENCES) + COST * len(SEQUENCES)) / WORKERS
    axis.axvline(longest, color=GREY, linestyle="--")
    axis.set_title(f"{title}: {longest:.0f}\n({longest / mean:.2f} times the mean)", loc="left")
    axis.set_xlim(0, 66)
    axis.invert_yaxis() if axis is axes[0] else None
    axis.set_xlabel("tiles (light: cost of a piece)")
axes[0].set_ylabel("worker")
figure.tight_layout()
style.save(figure, __file__)
