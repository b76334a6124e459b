"""seesaw.report on small results of the real commands (report/*.json) and on the recorded ones."""

import functools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from seesaw.report import __main__ as command
from seesaw.report import _claims, _findings, _page, _results, _sections

HERE = Path(__file__).parent
COMPARE = HERE / "report" / "compare.json"
LADDER = HERE / "report" / "ladder.json"
RECORDS = HERE.parents[1] / "bench" / "results"


class Page(HTMLParser):
    """The rows of each table by its section's id, the names used, and whatever would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.ids, self.uses, self.fetches = {}, [], set(), []
        self.section = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "section":
            self.section = values["id"]
            self.tables[self.section] = []
        elif tag == "tr":
            self.tables[self.section].append([])
        elif tag in ("td", "th"):
            self.tables[self.section][-1].append("")
        if tag in ("script", "link", "img", "iframe", "object", "embed", "base", "video", "audio"):
            self.fetches.append(tag)
        for name, value in values.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
                self.uses.add(value)
                self.fetches += [] if value.startswith("#") else [value]
        self.uses |= {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", str(attributes))}
        self.ids += [values["id"]] if "id" in values else []

    def handle_data(self, data):
        rows = self.tables.get(self.section)
        if rows and rows[-1]:
            rows[-1][-1] += data.strip()

    def handle_endtag(self, tag):
        if tag == "table":
            self.section = None


def refused(capsys, *arguments):
    assert command.main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"[^\n]+: .+, (allowed|needed): [^\n]+\. [^\n]+\.\n", err), err
    return err


@functools.lru_cache(maxsize=None)
def page_of(*paths):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    return _page.page_of([_results.read(path) for path in paths])


def test_the_page_has_every_row_and_claim():
    result = _results.read(COMPARE)
    text = page_of(COMPARE)
    page = Page(text)
    assert page.fetches == []
    assert page.uses <= {f"#{name}" for name in page.ids}
    assert len(page.ids) == len(set(page.ids))
    for section in _sections.sections_of(result):
        rows = page.tables[section.id][1:]
        shown = [row for row in rows if len(row) > 1]
        first = 1 if section.grouped else 0
        assert shown == [row[first:] for row in section.rows]
        assert len(rows) - len(shown) == (len({r[0] for r in section.rows}) if first else 0)
    claims = [row[1] for row in page.tables["claims"][1:]]
    assert claims == [claim["claim"] for claim in _claims.NOTES["claims"]]
    visible = re.sub(r"<(style|figure).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert "nan" not in visible.lower().split()
    for fact in (result["command"], result["commit"], result["device"], "unpublished"):
        assert fact in visible
    assert visible.count("unpublished") == 1  # what the study notes are


def test_figures_hold_their_numbers():
    result = _results.read(COMPARE)
    text = page_of(COMPARE)
    figures = re.findall(r'<figure[^>]*aria-label="([^"]*)">(.*?)</figure>', text, re.DOTALL)
    by_title = dict(figures)
    assert len(by_title) == len(figures)
    for group in _results.groups_of(result["rows"]):
        svg = by_title[_results.setting_of(group[0])]
        for row in group:
            assert f"{row['us'] / 1e3:.3g} ms, {row['speed_up']:.2f}x" in svg
            assert _results.system_of(row) in svg
    assert ">nan<" not in text and ">inf<" not in text


def test_a_spread_beyond_the_figure_is_marked():
    pytest.importorskip("matplotlib")
    from seesaw.report._figures import Bar, Bars

    def axes_of(p90):
        bars = [Bar("far", 1.0, "1 ms", 0, 0.9, p90), Bar("near", 2.0, "2 ms", 1, 1.9, 2.1)]
        [axes] = Bars("spread", "ms", bars=bars).figure().axes
        return axes

    axes = axes_of(50.0)
    assert axes.get_xlim()[1] < 2.5
    assert [text.get_text() for text in axes.texts][1] == "1 ms (p90 50)"
    assert any(line.get_marker() == ">" for line in axes.lines)
    assert not any(line.get_marker() == ">" for line in axes_of(2.2).lines)


@pytest.mark.parametrize("path", [COMPARE, *RECORDS.glob("h200/*-compare.json")])
def test_no_label_is_cut(path):
    pytest.importorskip("matplotlib")
    from seesaw.report import _drawings

    for drawings in _drawings.drawings_of(_results.read(path)).values():
        for drawing in drawings:
            figure = drawing.figure()
            [axes] = figure.axes
            legends = [text for legend in figure.legends for text in legend.get_texts()]
            for text in (*axes.texts, *legends, axes.title, axes._left_title, axes.xaxis.label):
                if text.get_text():
                    box = text.get_window_extent()
                    inside = -1 <= box.x0 and box.x1 <= figure.bbox.width + 1
                    assert inside, (drawing.title, text.get_text())


def test_a_comparison_that_was_stopped_says_so(tmp_path, capsys):
    result = json.loads(COMPARE.read_text())
    first = _results.groups_of(result["rows"])[0]
    left_out = ["prefill b 1 len 48 heads 4x32 fp32", "precision", "compression"]
    result.update(rows=first, precision=[], tradeoff=None, counters=None, claim_rows=[])
    result.update(stopped_early=True, left_out=left_out)
    partial = tmp_path / "partial.json"
    partial.write_text(json.dumps(result))
    assert command.main([str(partial)]) == 0
    text = capsys.readouterr().out
    assert "stopped early: not measured: prefill b 1 len 48 heads 4x32 fp32; precision" in text
    assert "Error against double" not in text
    assert "not measured: prefill b 1 len 48" in page_of(partial)
    assert "stopped early" not in page_of(COMPARE)


def test_text_says_the_same(capsys):
    assert command.main([str(COMPARE)]) == 0
    text = capsys.readouterr().out
    result = _results.read(COMPARE)
    assert result["command"] in text and "In short\n- prefill b 1 len 24" in text
    for section in _sections.sections_of(result):
        assert f"\n{section.title}\n" in text
        assert all(cell in text for row in section.rows for cell in row)


def test_the_sources_need_no_library(tmp_path):
    """No native one, and for text no other either: none is imported, even where it is there."""
    code = f"""
import runpy, sys
sys.argv = ["report", {str(COMPARE)!r}]
try:
    runpy.run_module("seesaw.report", run_name="__main__")
except SystemExit as end:
    assert not end.code
assert not {{"tvm_ffi", "torch", "numpy", "matplotlib", "jinja2"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(HERE.parents[1] / "python"), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "The study notes' claims" in done.stdout


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*/*-compare.json")), ids=lambda p: p.stem)
def test_claims_of_recorded_comparisons_are_as_they_were(path):
    """Records of format 1 hold the rows that the command of their day made of the same numbers."""
    recorded = json.loads(path.read_text())
    if recorded["format"] > 1:
        pytest.skip("holds no claims to compare with")
    assert _claims.answers(_results.read(path)) == recorded["claims"]


def answer(result, text):
    return next(found for found in _claims.answers(result) if found["claim"] == text)


def claim_result(**changes):
    """A comparison of three layers at the notes' second shape."""
    common = dict(
        phase="prefill", b=1, len=2048, heads=32, head_dim=64, d_model=2048, rope=0,
        dtype="float32", causal=False, bias=True, why_not=None, gbps=200, gflops=1000,
        predicted={"operations": 1e9},
    )  # fmt: skip
    rows = [
        dict(common, system=system, latent=latent, us=us, speed_up=speed_up, peak_bytes=peak)
        for system, latent, us, speed_up, peak in (
            ("mha", 0, 12000, 1, 8_400_000_000),
            ("traditional_mla", 64, 6000, 2, 42_000_000),
            ("chunked_mla", 64, 3000, 4, None),
        )
    ]
    roofs = {"read_gbps": 1000}
    return dict(dict(rows=rows, claim_rows=[], counters=None, place="cpu", roofs=roofs), **changes)


def test_claims_are_answered_by_the_right_rows():
    result = claim_result()
    speed_up = answer(result, "speed-up (1, 2048, 32, 64)")
    assert (speed_up["measured_plain"], speed_up["measured_chunked"]) == (2, 4)
    assert speed_up["verdict"] == "plain: as claimed; chunked: 1.9 times the printed value"
    time = answer(result, "multi-head attention, ms (32, 2048, 64)")
    assert (time["measured_mha"], time["verdict"]) == (12, "multi-head attention here: as claimed")
    assert answer(result, "speed-up (1, 4096, 32, 64)")["verdict"] == "not measured in this run"
    assert answer(result, "bandwidth used in decoding")["verdict"] == "not measured: needs a GPU"
    memory = answer(result, "memory (1, 2048, 32, 64)")
    assert memory["measured_mha"] == 8.4 and memory["measured_chunked"] is None
    assert "measured: multi-head attention as claimed" in memory["verdict"]
    assert answer(result, "of the device's bandwidth")["measured_plain"] == 0.2
    result["rows"][0]["why_not"] = "needs about 1 TiB"
    assert answer(result, "multi-head attention, ms (32, 2048, 64)")["measured_mha"] is None


def test_memory_that_cannot_be_measured_is_not_zero():
    result = claim_result()
    for row in result["rows"]:
        row["peak_bytes"] = None
    memory = answer(result, "memory (1, 2048, 32, 64)")
    assert memory["measured_mha"] is None and "measured" not in memory["verdict"]


def test_answers_are_of_one_dtype_which_is_named():
    result = claim_result(device="a GPU")
    assert "layers in fp32" in _sections.claims(result).note
    result["rows"].insert(0, dict(result["rows"][0], dtype="bfloat16"))
    assert "layers in bf16" in _sections.claims(result).note
    assert answer(result, "speed-up (1, 2048, 32, 64)")["measured_plain"] is None


def test_counters_and_the_decode_kernel_answer_on_a_gpu():
    layers = [
        {
            "system": system,
            "whole_call": {
                "metrics": {"l1tex__t_sector_hit_rate.pct": hits},
                "operation_mix_percent": {"half precision": 10},
            },
        }
        for system, hits in (("mha", 90), ("traditional_mla", 46), ("chunked_mla", 90))
    ]
    result = claim_result(counters={"layers": layers}, place="cuda:0")
    hits = answer(result, "L1 hits, %")
    assert (hits["measured_mha"], hits["measured_plain"]) == (90, 46)
    assert hits["verdict"] == "plain: as claimed; chunked: 2 times the printed value"
    assert answer(result, "floating point, %")["measured_plain"] == 10
    assert answer(result, "tensor cores, %")["verdict"].startswith("not measured here")
    for dtype, gflops in (("bfloat16", 610e3), ("float16", 600e3)):
        decode = dict(result["rows"][0], system="dense_decode", dtype=dtype, gflops=gflops)
        result["claim_rows"].append(decode)
    rate = answer(result, "decoding on an H800, TFLOPS (best of this run's shapes)")
    assert (rate["measured_plain"], rate["verdict"]) == (610, "as claimed")


def test_the_notes_formula():
    formula = _claims.Formula(1, 2048, 32, 64, 64)
    assert formula.ideal_speed_up == pytest.approx(31.5, abs=0.01)  # printed: 16.0
    assert formula.speed_up == pytest.approx(10.61, abs=0.01)  # printed: 2.1
    assert formula.overhead_ratio == pytest.approx(1.97, abs=0.01)  # printed: 6.6
    assert formula.mha_gb == pytest.approx(0.537, abs=0.001)


def fits(*points):
    def fit(system, rank, relative):
        error = {"float32": {"relative": relative}}
        return dict(system=system, latent=rank, compression=8, error=error, own_error=error)

    return dict(heads=1, head_dim=32, d_model=64, points=[fit(*point) for point in points])


def test_full_rank_is_said_only_of_the_full_rank():
    expanded, traditional = "deepseek_mla_expanded", "traditional_mla"
    full = _findings.fit_findings(
        fits((expanded, 64, 1e-6), (expanded, 16, 0.5), (traditional, 32, 1.2))
    )
    assert "exact at full rank (relative error 1.0e-06 in fp32); at rank 16 " in full[0]
    assert "even at full rank its distance" in full[1]
    cut = _findings.fit_findings(
        fits((expanded, 16, 0.79), (expanded, 2, 0.9), (traditional, 16, 1.2))
    )
    assert "at rank 16 of 64 is not exact (relative error 7.9e-01" in cut[0]
    assert "at rank 16 of 32 its distance" in cut[1]
    assert _findings.fit_findings(fits((expanded, 64, None), (traditional, 32, None))) == []


def test_a_climb(tmp_path, capsys):
    [b64], [b4] = (list(RECORDS.glob(f"h200/*-ladder-{name}.json")) for name in ("b64", "b4"))
    text = page_of(b64, b4)
    result = json.loads(b64.read_text())
    page = Page(text)
    assert len(page.tables["climb"]) == 1 + len(result["rungs"])
    assert len(page.tables["climb1"]) == 1 + len(result["rungs"])
    assert text.count("<figure") == 1
    target, again = tmp_path / "climb.svg", tmp_path / "again.svg"
    for path in (target, again):
        assert command.main([str(b64), "-o", str(path)]) == 0
    svg = target.read_text()
    for rung in result["rungs"]:
        assert f"{rung['rung']}: {rung['idea']}" in svg
    assert f"commit {result['commit']}" in svg
    assert again.read_bytes() == target.read_bytes()
    assert command.main([str(LADDER)]) == 0  # without a GPU: what could not run says so
    assert "not run: needs a Hopper GPU" in capsys.readouterr().out


def test_one_figure(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    target = tmp_path / "cache.png"
    assert command.main([str(COMPARE), "--figure", "Cache of", "-o", str(target)]) == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["cache.png"]
    message = refused(capsys, COMPARE, "-o", target, "--figure", "no such")
    assert "0 figures begin with 'no such'" in message and "'Cache of a token'" in message


def test_refusals(tmp_path, capsys):
    other = tmp_path / "other.json"
    assert "No such file" in refused(capsys, other)
    for text in ("{", "[]", '{"kind": "compare", "format": 3}', '{"benchmark": "ladder"}', "\xff"):
        other.write_text(text, encoding="latin-1")
        refused(capsys, other)
    assert "allowed: names that end in .html" in refused(capsys, COMPARE, "-o", "page.pdf")
    refused(capsys, COMPARE, COMPARE)
    refused(capsys, COMPARE, "--figure", "Cache")
    refused(capsys, COMPARE, "--bogus")
    refused(capsys)
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    refused(capsys, COMPARE, "-o", tmp_path / "no" / "page.html")


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])
    assert end.value.code == 0
    assert "Examples:" in capsys.readouterr().out
