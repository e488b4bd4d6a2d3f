"""zsh and fish complete what the help says: shells_test.py SSMEND.

The shells themselves are asked, with their own completion systems, as bash is in generated_test.py.
Each says SKIP where it is not installed.
"""
import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

OPTION = re.compile(r"^ +((?:-\w,)?--[\w-]+|-\w)\b", re.M)
COMMANDS = ["inspect", "repair", "report", "verify", "undo", "resolve", "kernels install"]

# What the completion system offers goes through compadd: listed into a file, then offered.
ZSH = r"""
PROMPT= ; unsetopt beep
fpath=("$FOLDER" $fpath)
autoload -Uz compinit && compinit -u -d "$FOLDER/dump"
compadd() {
  local -a hits
  if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
    builtin compadd -A hits "$@"
    print -rl -- $hits >>"$FOLDER/offered"
  fi
  builtin compadd "$@"
}
finished() { comppostfuncs=(finished); print -r -- "$words" >"$FOLDER/finished"; compstate[insert]= ; compstate[list]= }
comppostfuncs=(finished)
bindkey '^I' complete-word
print >"$FOLDER/ready"
"""


class Shells(unittest.TestCase):
    program = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        for shell, name in (("zsh", "_ssmend"), ("fish", "ssmend.fish")):
            text = subprocess.run([cls.program, "generate", shell], check=True,
                                  capture_output=True, text=True).stdout
            (cls.folder / name).write_text(text)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def options(self, command):
        text = subprocess.run([self.program, *command.split(), "--help"], check=True,
                              capture_output=True, text=True).stdout
        return sorted(name for head in OPTION.findall(text) for name in head.split(",")
                      if name.startswith("--"))

    def fish(self, line):
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source ssmend.fish; complete -C '{line}'"], text=True,
            check=True, capture_output=True, cwd=self.folder, env={**os.environ, "HOME": "/nowhere"})
        return {row.split("\t")[0] for row in done.stdout.splitlines()}

    def test_fish(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        self.assertIn("inspect", self.fish("ssmend "))
        self.assertIn("install", self.fish("ssmend kernels "))
        self.assertNotIn("repair", self.fish("ssmend inspect "))
        self.assertIn("ssmend.fish", self.fish("ssmend inspect --python ss"))
        for command in COMMANDS:
            self.assertEqual(sorted(self.fish(f"ssmend {command} --")), self.options(command),
                             command)

    def wait_for(self, terminal, name, content):
        """Reads what the shell prints, so that it never waits for us, until the file says that."""
        end = time.monotonic() + 30
        path = self.folder / name
        while not path.exists() or path.read_text().strip() != content:
            if time.monotonic() > end:
                self.fail(f"zsh: {name} does not say {content!r} after 30 s")
            if select.select([terminal], [], [], 0.05)[0]:
                os.read(terminal, 65536)

    def test_zsh(self):
        if shutil.which("zsh") is None:
            self.skipTest("zsh is not installed")
        (self.folder / "setup").write_text(ZSH)
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"],
                       {**os.environ, "FOLDER": str(self.folder), "TERM": "dumb"})
        try:
            os.write(terminal, b"source ./setup\n")
            self.wait_for(terminal, "ready", "")

            def offered(line):
                (self.folder / "offered").write_text("")
                os.write(terminal, b"\x15" + line.encode() + b"\t")
                self.wait_for(terminal, "finished", line.strip())
                return set((self.folder / "offered").read_text().split())

            self.assertIn("inspect", offered("ssmend "))
            self.assertIn("install", offered("ssmend kernels "))
            self.assertNotIn("repair", offered("ssmend inspect "))
            self.assertIn("ssmend.fish", offered("ssmend inspect --python ss"))
            for command in COMMANDS:
                found = {name for name in offered(f"ssmend {command} --")}
                self.assertEqual(sorted(found), self.options(command), command)
        finally:
            os.close(terminal)
            os.waitpid(child, 0)


if __name__ == "__main__":
    Shells.program = sys.argv.pop(1)
    run = unittest.main(exit=False).result
    sys.exit(1 if not run.wasSuccessful() else 77 if len(run.skipped) == run.testsRun else 0)
