"""bench/gpu/grid.py's order, budget and record, and the figures and tables of a made-up record."""

import itertools
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
BENCH = Path(__file__).parents[2] / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "gpu")]

import cells  # noqa: E402
import grid_figures  # noqa: E402

PAGE_BYTES = 64 * 1152
HEADER = {"device": "a GPU", "commit": "0123abc", "date": "today", "l2": "cold"}


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def row_of(case, ours, theirs=None, roof=None, **others):
    times = {"seesaw": ours, **({"flash_mla": theirs} if theirs else {}), **others}
    us = {name: cells.summary([value]) for name, value in times.items()}
    state = {"kernel": "chosen", "clock_mhz": 1980, "power_w": None}
    return cells.completed({"case": case._asdict(), "us": us, **state}, roof)


def test_every_cell_once_and_the_coarse_ones_first():
    cases = cells.grid()
    assert max(Counter(cases).values()) == 1
    assert len(cases) == 8 * 5 * 3 * 8 * 2 + 5 * 3 * 8  # one sequence has no varied lengths
    assert {case.b for case in cases} == {2**i for i in range(9)}
    assert {case.s_k for case in cases} == {1024 << i for i in range(8)}
    first = itertools.takewhile(lambda case: max(cells.levels(case)) == 0, cases)
    assert len(list(first)) == 3 * 2 * 3
    coarsest = [max(cells.levels(case)) for case in cases]
    assert coarsest == sorted(coarsest)


def test_pages_are_walked_through_where_they_fit():
    assert cells.pages_of([1, 64, 65], 64) == 4
    short = cells.pages_of(cells.Case(1, 1, 16, 1024).lengths(), 64)
    turns = cells.turns_of(short, 10**6, PAGE_BYTES)
    assert (turns - 1) * short * PAGE_BYTES < cells.COLD_BYTES <= turns * short * PAGE_BYTES
    assert cells.turns_of(short, 3 * short + 1, PAGE_BYTES) == 3
    assert cells.turns_of(10**5, 10**6, PAGE_BYTES) == 1
    assert cells.turns_of(101, 100, PAGE_BYTES) == 0


def test_the_budget_is_spread_over_the_cells_that_are_left():
    clock = Clock()
    budget = cells.Budget(60.0, clock)
    over = budget.end_of_share(4)
    clock.now += 14.0
    assert not over()
    clock.now += 1.0
    assert over() and budget.left == 45.0
    assert budget.forecast(3, 20) == "15 of 60 s, the rest needs 85: to 12"
    assert list(cells.rounds_until(lambda: True, 3, 9)) == [0, 1, 2]
    assert len(list(cells.rounds_until(lambda: False, 3, 9))) == 9
    clock.now += 100.0
    assert budget.left == 0.0 and budget.end_of_share(1)()


def test_a_run_that_was_cut_is_continued(tmp_path, capsys):
    path, clock = tmp_path / "grid.json", Clock()
    cases, measured = cells.grid()[:5], []

    def measure(case, _):
        clock.now += 1.0
        measured.append(case)
        return {"why": "no room"} if case == cases[1] else row_of(case, 2.0, 3.0, 1.0)

    def run(seconds, go_on, **changes):
        record = cells.begun(path, {**HEADER, **changes}, go_on)
        cells.run(cases, record, cells.Budget(seconds, clock), path, measure)

    run(2.5, True)  # no file yet: a new one
    assert measured == cases[:3] and "2 cells are left" in capsys.readouterr().out
    run(60.0, True, date="tomorrow")
    assert measured == [*cases[:3], cases[1], *cases[3:]]
    record = json.loads(path.read_text())
    assert [cells.Case(**row["case"]) for row in record["results"]] == [cases[0], *cases[2:]]
    assert [row["why"] for row in record["skipped"]] == ["no room"] and record["date"] == "today"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="has commit = 0123abc, allowed: 4567def"):
        run(60.0, True, commit="4567def")
    run(1.0, False)
    assert len(json.loads(path.read_text())["results"]) == 1


def test_tables_and_figures(tmp_path, capsys):
    rows = [
        row_of(case, 10.0, 9.0 + i / 100, 1.0 + i / 1000, other=10.0 - i / 500)
        for i, case in enumerate(cells.grid()[:400])
    ]
    record = {**HEADER, "results": rows, "skipped": []}
    _, worst = cells.worst(record, "lead")
    assert len(worst) == 10 and worst[0][3:] == ["`chosen`", "10.0", "0.90×", "0.10", "1980", ""]
    _, losses = cells.choices_to_mend(record)  # 10 / (10 - i / 500) is over 1.03 from 146 on
    assert len(losses) == 400 - 146 and losses[0][3:] == ["`chosen`", "`other`", "9 %"]
    path = tmp_path / "grid.json"
    cells.write(path, record)
    assert grid_figures.main([str(path), "--output", str(tmp_path)]) == 0
    made = {figure.name for figure in tmp_path.glob("*.png") if figure.stat().st_size > 10_000}
    assert made == {f"{m}-{kind}.png" for m in ("lead", "roof") for kind in ("fixed", "varied")}
    assert "by over 3%: 254 cells" in capsys.readouterr().out


def test_a_record_of_seesaw_alone_has_no_figure_of_leads():
    record = {**HEADER, "results": [row_of(cells.grid()[0], 10.0, None, 1.0)], "skipped": []}
    assert [name for name, _ in grid_figures.draw(record)] == ["roof-fixed"]
    assert cells.worst(record, "lead")[1] == []
