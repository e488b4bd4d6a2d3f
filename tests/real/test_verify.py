"""`ssmend verify` catches every wrong patch that is planted, and only those: the same environment
without a fault is all right. On the CPU, through the stand-ins."""

import unittest

import make_environment
from environment_case import EnvironmentCase
from make_environment import site_packages

FORWARD = ("causal_conv1d_fwd_function(\n"
           "            x, conv1d_weight, conv1d_bias, None, None, None, True")
FAULTS = {  # name: (text in the repaired selective_scan_interface.py, what is planted instead)
    "dropped activation": (FORWARD, FORWARD.replace("True", "False")),
    "off-by-one tap": (FORWARD, FORWARD.replace(
        "conv1d_weight,", "conv1d_weight.roll(1, -1).contiguous(),")),
    "lost bias": (FORWARD, FORWARD.replace("conv1d_bias", "None")),
    "NaN in the last step": (
        "        x_dbl = F.linear(rearrange(conv1d_out, 'b d l -> (b l) d'), x_proj_weight)",
        "        conv1d_out[-1, -1, -1] = float('nan')\n"
        "        x_dbl = F.linear(rearrange(conv1d_out, 'b d l -> (b l) d'), x_proj_weight)"),
    "swapped B and C": ("conv1d_out, delta, A, B, C, D, z, delta_bias, delta_softplus",
                        "conv1d_out, delta, A, C, B, D, z, delta_bias, delta_softplus"),
    "dx in a tensor that nobody reads": (
        "dconv1d_out, None, None, None, dx, False, True",
        "dconv1d_out, None, None, None, torch.empty_like(dx), False, True"),
    "a gradient of the wrong sign": (
        "dout_proj_weight = torch.einsum(", "dout_proj_weight = -torch.einsum("),
}


class VerifyTest(EnvironmentCase):
    def repaired(self):
        """Repaired by hand, so that this test stands apart from `ssmend repair`."""
        venv = self.environment()
        path = site_packages(venv) / "mamba_ssm" / "ops" / "selective_scan_interface.py"
        text = path.read_text()
        for name in ("fwd", "bwd"):
            text = text.replace(f"causal_conv1d_cuda.causal_conv1d_{name}(",
                                f"causal_conv1d_{name}_function(")
        text = text.replace(
            "    import causal_conv1d_cuda\n",
            "    import causal_conv1d_cuda\n    from causal_conv1d.cpp_functions import "
            "causal_conv1d_fwd_function, causal_conv1d_bwd_function\n", 1)
        make_environment.replace_file(path, text.encode())
        return venv, path, text

    def verify(self, venv, *arguments, component="mamba"):
        answer = self.ssmend("verify", "--python", venv, "--device", "cpu", "--component",
                             component, "--json", *arguments)
        return answer, answer.json()

    def test_planted_faults(self):
        venv, path, text = self.repaired()
        answer, control = self.verify(venv)
        self.assertEqual(answer.code, 0, str(answer))
        self.assertGreaterEqual(control["ok"], 5)
        self.assertEqual(control["ok"], len(control["checks"]))
        caught = 0
        for name, (old, new) in FAULTS.items():
            with self.subTest(fault=name):
                self.assertIn(old, text, "the fault has a place")
                make_environment.replace_file(path, text.replace(old, new).encode())
                answer, seen = self.verify(venv)
                self.assertEqual(answer.code, 1, str(answer))
                self.assertGreaterEqual(seen["wrong"], 1, str(answer))
                first = next(row for row in seen["checks"] if row["state"] == "wrong")
                self.assertTrue(first["case"] and first["part"], str(first))
                self.assertGreater(first["bad_elements"], 0)
                self.assertEqual(len(first["index"]) > 0, True, str(first))
                caught += 1
        print(f"planted faults caught: {caught} of {len(FAULTS)}")

    def test_crash_and_hang_are_told_with_their_step(self):
        venv, path, text = self.repaired()
        place = "        L = xz.shape[-1]\n"
        self.assertIn(place, text)
        for fault, words in (("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
                              "killed by signal 11"),
                             ("import time; time.sleep(600)", "no answer within 15 s"),
                             ("raise ValueError('planted')", "ValueError: planted")):
            with self.subTest(fault=fault):
                planted = text.replace(place, place + f"        {fault}\n", 1)
                make_environment.replace_file(path, planted.encode())
                answer, seen = self.verify(venv, "--timeout", "15")
                self.assertEqual(answer.code, 1, str(answer))
                failed = [row for row in seen["checks"] if row["state"] == "failed"]
                self.assertIn(words, failed[0]["reason"])
                self.assertEqual(failed[0]["check"], "Mamba float32 forward and backward")

    def test_the_reported_environment_fails_with_the_users_text(self):
        answer, seen = self.verify(self.environment())
        self.assertEqual(answer.code, 1, str(answer))
        self.assertIn("TypeError: causal_conv1d_fwd(): incompatible function arguments",
                      seen["checks"][0]["reason"])

    def test_without_a_gpu_nothing_is_called_right(self):
        venv = self.environment()
        before = make_environment.snapshot(venv, content=False)
        answer = self.ssmend("verify", "--python", venv, "--component", "mamba", "--json")
        seen = answer.json()
        if not seen["checks"][0]["gpu_is_missing"]:
            self.skipTest("there is a GPU here")
        self.assertEqual((answer.code, seen["ok"], seen["not_checked"]), (0, 0, 1), str(answer))
        self.ssmend("verify", "--python", venv, "--component", "mamba", "--require-gpu", expect=3)
        self.assert_same_tree(make_environment.snapshot(venv, content=False), before,
                              "verify leaves no trace")

    def test_every_component_on_the_cpu(self):
        venv, _, _ = self.repaired()
        answer = self.ssmend("verify", "--python", venv, "--device", "cpu", "--json", expect=0)
        seen = answer.json()
        states = {(row["component"], row["state"]) for row in seen["checks"]}
        for component in ("torch", "imports", "causal_conv1d", "selective_scan", "mamba"):
            self.assertIn((component, "ok"), states)
        self.assertEqual(seen["wrong"] + seen["failed"], 0)
        self.assertGreater(seen["ok"], 25)


if __name__ == "__main__":
    unittest.main()
