"""Completions and man page say every option that the help says: generated_test.py SSMEND.

The help text is CLI11's own, so that the generator and this test do not share a mistake.
"""
import re
import shutil
import subprocess
import sys
import unittest

OPTION = re.compile(r"^ +((?:-\w,)?--[\w-]+|-\w)\b", re.M)


def names_of(head):
    return head.split(",")


class Generated(unittest.TestCase):
    program = ""

    @classmethod
    def run_program(cls, *arguments):
        return subprocess.run([cls.program, *arguments], check=True, capture_output=True,
                              text=True).stdout

    @classmethod
    def setUpClass(cls):
        cls.texts = {what: cls.run_program("generate", what)
                     for what in ("bash", "zsh", "fish", "man")}
        cls.options = {}  # command -> option names

        def walk(words):
            text = cls.run_program(*words, "--help")
            cls.options[" ".join(words)] = sorted(
                {name for head in OPTION.findall(text) for name in names_of(head)})
            part = re.search(r"\n(?:Subcommands|SUBCOMMANDS):\n((?:  .*\n)+)", text)
            for line in part.group(1).splitlines() if part else []:
                name = re.match(r"  (\w[\w-]*)", line)  # deeper lines go on with a description
                if name:
                    walk([*words, name.group(1)])
        walk([])

    def complete(self, line):
        words = line.split(" ")
        script = (self.texts["bash"] + "\nCOMP_WORDS=(\"$@\")\nCOMP_CWORD=$(($# - 1))\n_ssmend\n"
                  "printf '%s\\n' \"${COMPREPLY[@]}\"\n")
        out = subprocess.run(["bash", "-c", script, "bash", *words], check=True,
                             capture_output=True, text=True, cwd="/").stdout
        return out.split()

    def test_there_are_commands_and_options(self):
        for command in ("inspect", "report", "repair", "verify", "kernels", "explain"):
            self.assertIn(command, self.options)
        self.assertGreater(sum(len(names) for names in self.options.values()), 60)

    def test_every_option_is_in_the_man_page_and_in_fish_and_zsh(self):
        for command, names in self.options.items():
            for name in names:
                self.assertIn(name.replace("-", "\\-"), self.texts["man"], (command, name))
                self.assertIn(f"'{name}[", self.texts["zsh"], (command, name))
                fish = f" -l {name[2:]} " if name.startswith("--") else f" -s {name[1:]} "
                self.assertIn(fish, self.texts["fish"], (command, name))

    def test_bash_completes_every_option_of_every_command(self):
        for command, names in self.options.items():
            offered = self.complete(" ".join(["ssmend", *command.split(), "-"]))
            self.assertEqual(sorted(offered), names, command)

    def test_bash_completes_commands_and_files(self):
        self.assertIn("inspect", self.complete("ssmend ins"))
        self.assertIn("list", self.complete("ssmend kernels li"))
        self.assertIn("etc", self.complete("ssmend inspect --root et"))

    def test_the_shells_can_read_their_scripts(self):
        subprocess.run(["bash", "-n"], input=self.texts["bash"], check=True, text=True)
        for shell, what in (("zsh", "zsh"), ("fish", "fish")):
            if shutil.which(shell):
                subprocess.run([shell, "-n", "/dev/stdin"], input=self.texts[what], check=True,
                               text=True)
            else:
                print(f"not checked: {shell} is not installed")

    def test_man_page_has_no_warning(self):
        tool = shutil.which("groff")
        if tool is None:
            self.skipTest("groff is not installed")
        run = subprocess.run([tool, "-man", "-Tascii", "-ww"], input=self.texts["man"],
                             capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_version_says_build_kernels_and_rules(self):
        lines = self.run_program("--version").splitlines()
        self.assertRegex(lines[0], r"^ssmend [0-9]+\.[0-9]+\.[0-9]+$")
        # One line of kernels for each machine type that is packed, or one that says there are none.
        heads = [line.split(":")[0] for line in lines[1:]]
        self.assertEqual(heads, ["build"] + ["kernels"] * (len(heads) - 2) + ["rules"])
        self.assertIn("kernels", heads)
        self.assertRegex(lines[-1], r"^rules: .* [0-9]+")


if __name__ == "__main__":
    Generated.program = sys.argv.pop(1)
    unittest.main()
