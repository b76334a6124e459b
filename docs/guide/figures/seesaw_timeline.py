"""Chapter 4: rungs 9 and 10 as a model: one tensor core that serves requests in order, two
warpgroups that follow their programs. Cycles of products from the instruction's shape, of softmax
and copies of P assumed; a model, not a measurement."""

import style
from style import BLUE, GREEN, GREY, ORANGE, plt

SCORES = 36 * 32        # 36 k steps of m64n64k16
VALUES_HALF = 4 * 128   # 4 k steps of m64n256k16
SOFTMAX = 400           # assumed: maximum, exponentials, sum
STORE = 100             # assumed: probabilities rounded, stored, fenced
TILES = 8


def serial(group):
    """Rung 9: the steps of one group. 'done' waits for the group's products."""
    for tile in range(TILES):
        if group == 0:
            yield "tensor", SCORES, BLUE, f"S{tile}"
            yield "done",
            yield "alu", SOFTMAX + STORE
            yield "set", f"P{tile}"
        yield "wait", f"P{tile}"
        yield "tensor", VALUES_HALF, GREEN, "PV"
        yield "done",
        yield "set", f"used {group} {tile}"
        yield "wait", f"used {1 - group} {tile}"


def seesaw(group):
    """Rung 10, as even_tiles() and odd_tiles()."""
    yield "tensor", SCORES, BLUE, f"S{group}"
    yield "done",
    for pair in range(TILES // 2):
        more = 2 * pair + 2 < TILES
        if group == 0:
            yield "alu", SOFTMAX
            yield "set", f"scale0 {pair}"
            yield "tensor", VALUES_HALF, GREEN, "P0 V0"
            yield "done",
            yield "wait", f"scale1 {pair}"
            yield "alu", STORE
            yield "set", f"P0 {pair}"
            yield "wait", f"P1 {pair}"
            yield "tensor", VALUES_HALF, GREEN, "P1 V1"
        else:
            yield "wait", f"scale0 {pair}"
            yield "alu", SOFTMAX
            yield "set", f"scale1 {pair}"
            yield "alu", STORE
            yield "tensor", VALUES_HALF, GREEN, "P1 V1"
            yield "wait", f"P0 {pair}"
            yield "tensor", VALUES_HALF, GREEN, "P0 V0"
            yield "set", f"P1 {pair}"
            yield "done",
        if more:
            yield "tensor", SCORES, BLUE, f"S{2 * pair + 2 + group}"
        yield "done",


def simulate(program):
    """Steps in order of time; the tensor cores serve requests as they come. Returns spans
    (lane, begin, end, colour, text)."""
    steps = [program(0), program(1)]
    pending = [next(steps[0]), next(steps[1])]
    now, done, free, facts, spans = [0, 0], [0, 0], 0, {}, []
    while any(pending):
        ready = [g for g in (0, 1) if pending[g] and
                 (pending[g][0] != "wait" or pending[g][1] in facts)]
        g = min(ready, key=lambda group: now[group])
        step = pending[g]
        lane = f"group {g}"
        if step[0] == "tensor":
            begin = max(now[g], free)
            free = done[g] = begin + step[1]
            spans += [(lane, begin, free, step[2], step[3]),
                      ("tensor cores", begin, free, step[2], "")]
        elif step[0] == "done":
            now[g] = max(now[g], done[g])
        elif step[0] == "alu":
            spans.append((lane, now[g], now[g] + step[1], ORANGE, ""))
            now[g] += step[1]
        elif step[0] == "set":
            facts[step[1]] = now[g]
        else:
            now[g] = max(now[g], facts[step[1]])
        pending[g] = next(steps[g], None)
    return spans, max(*now, free)


LANES = ["group 0", "group 1", "tensor cores"]
figure, axes = plt.subplots(2, 1, figsize=(10, 4.4), sharex=True)
for axis, program, name in ((axes[0], serial, "rung 9, one after the other"),
                            (axes[1], seesaw, "rung 10, the seesaw")):
    spans, end = simulate(program)
    for lane, begin, stop, colour, text in spans:
        y = -LANES.index(lane)
        axis.barh(y, stop - begin, left=begin, color=colour, edgecolor="white", height=0.8)
        if stop - begin > 300 and text:
            axis.text((begin + stop) / 2, y, text, ha="center", va="center", color="white",
                      fontsize=6)
    busy = sum(s[2] - s[1] for s in spans if s[0] == "tensor cores")
    axis.set_title(f"{name}: tensor cores busy {100 * busy / end:.0f} % of {end:,} cycles "
                   f"({TILES} tiles, start and end included)", loc="left")
    axis.set_yticks([0, -1, -2], LANES)
axes[1].set_xlabel("cycles (model); blue: scores, orange: softmax and P, green: values")
axes[0].tick_params(colors=GREY)
figure.tight_layout()
style.save(figure, __file__)
