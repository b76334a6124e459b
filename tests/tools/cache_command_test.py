#!/usr/bin/env python3
"""seesaw cache: formats are listed, cases converted and the loss told.

Usage: cache_command_test.py SEESAW WORK_FOLDER. Needs nothing but Python's standard library.
"""
import json
import pathlib
import struct

from command import WORK, CommandTest, main, read_safetensors

# By format: d_qk, bytes of a token, and how far the cache's numbers may be off, of their rms.
FORMATS = {"fp8_656": (576, 656, 0.03), "fp8_584": (512, 584, 0.03), "fp8_576": (576, 576, 0.03),
           "fp8_576_token": (576, 580, 0.03), "fp8_528": (512, 528, 0.03),
           "fp4_288": (512, 288, 0.13), "int8_644": (576, 644, 0.012)}


def header_of(path):
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(content[8:8 + length])


class Cache(CommandTest):
    def case(self, d_qk=576):
        path = WORK / f"case_{d_qk}.safetensors"
        self.succeed("make-case", "-o", path, "--lens", "70,1,130", "--heads", "4", "--d-qk", d_qk,
                     "--values", "normal", "--page-size", "61")
        return path

    def converted(self, path, name, *flags):
        output = WORK / f"{name}.safetensors"
        result = self.succeed("cache", "convert", path, "-o", output, "--to", name, "--json", *flags)
        return output, json.loads(result.stdout)

    def test_formats_are_listed(self):
        formats = json.loads(self.succeed("cache", "formats", "--json").stdout)
        sizes = {f["name"]: f["row_bytes"] + f["tail_bytes"] for f in formats}
        for name, (_, size, _) in FORMATS.items():
            self.assertEqual(sizes[name], size)
            self.assertIn(name, self.succeed("cache", "formats").stdout)

    def test_every_format_is_written_read_and_its_loss_told(self):
        for name, (d_qk, size, most) in FORMATS.items():
            output, loss = self.converted(self.case(d_qk), name)
            entry = header_of(output)["kv_cache"]
            self.assertEqual((entry["dtype"], entry["shape"][1:]), ("U8", [61, 1, size]))
            self.assertEqual(header_of(output)["__metadata__"]["kv_format"], name)
            relative = loss["elements"]["relative_rms_error"]
            self.assertGreater(relative, most / 10, name)
            self.assertLess(relative, most, name)
            self.assertEqual(loss["elements"]["numbers"], 201 * d_qk)
            # Attention averages: its error is of the size of the cache's, relatively.
            self.assertGreater(loss["out"]["rms_error"], 0)
            self.assertLess(loss["out"]["relative_rms_error"], 3 * most, name)
            for kernel in ("cpu.dense_decode", "reference.dense_decode"):
                self.succeed("run", output, "--verify", "--kernel", kernel)

    def test_there_and_back_loses_nothing_more(self):
        case = self.case()
        fp8, _ = self.converted(case, "fp8_656")
        back, loss = self.converted(fp8, "bfloat16")
        self.assertEqual(loss["elements"]["largest_error"], 0.0)
        plain, loss = self.converted(case, "float32")
        self.assertEqual(loss["out"]["largest_error"], 0.0)
        one, _ = read_safetensors(case)
        other, _ = read_safetensors(plain)
        self.assertEqual(one["q"], other["q"])

    def test_scales(self):
        case = self.case()
        _, rounded = self.converted(case, "int8_644")
        _, exact = self.converted(case, "int8_644", "--scales", "exact")
        self.assertLess(exact["elements"]["rms_error"], rounded["elements"]["rms_error"])
        _, fitting = self.converted(case, "fp8_576")
        self.assertEqual(fitting["saturated"], 0)
        _, small = self.converted(case, "fp8_576", "--kv-scale", "1e-4")
        self.assertGreater(small["saturated"], 1000)

    def test_refusals(self):
        case = self.case()
        output = WORK / "refused.safetensors"
        for arguments, said in ((("--to", "fp8_999"), "fp8_656"),
                                (("--to", "fp8_584"), "tokens of 512"),
                                (("--to", "fp8_576", "--kv-scale", "-1"), "kv-scale")):
            self.refuse("cache", "convert", case, "-o", output, *arguments, part=said)
            self.assertFalse(output.exists())
        self.refuse("cache", "convert", case, "-o", case, "--to", "fp8_656", part="case_576")
        self.refuse("cache", part="subcommand")
        self.assertIn("Examples:", self.succeed("cache", "--help").stdout)


if __name__ == "__main__":
    main()
