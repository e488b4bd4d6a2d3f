"""Runs command lines and compares exit code, standard output and standard error whole:
run_cases.py SSMEND [CASE...].

A case is a text file, read from top to bottom in a fresh folder:
  # why this case is there
  @ PATH                     a file with the lines up to "@@"; "\\t" and the like are not special
  < TEXT                     standard input of the next command
  $ ssmend ARGUMENTS         the command line (shell words; no shell runs it)
  TEXT                       standard output, line by line
  ! TEXT                     standard error
  [exit N]                   ends the command
In expected lines "*" stands for any text, "TMP" for the folder. Run with --update to print what the
program really wrote.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def matches(expected, actual):
    pattern = ".*".join(re.escape(part) for part in expected.split("*"))
    return re.fullmatch(pattern, actual) is not None


def differences(kind, expected, actual):
    problems = []
    for number in range(max(len(expected), len(actual))):
        want = expected[number] if number < len(expected) else "(nothing)"
        have = actual[number] if number < len(actual) else "(nothing)"
        missing = number >= len(expected) or number >= len(actual)
        if missing or not matches(want, have):
            problems.append(f"  {kind} line {number + 1}\n    expected: {want}\n    found:    {have}")
    return problems


class Command:
    def __init__(self, line, text):
        self.line, self.input = line, text
        self.out, self.error, self.code = [], [], None


class File:
    def __init__(self, name):
        self.name, self.lines = name, []

    def write(self, folder):
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(text + "\n" for text in self.lines))


def read_case(path):
    """Files and commands in the order in which they come."""
    steps, entered, current, file = [], [], None, None
    for line in path.read_text().splitlines():
        if file is not None:
            if line == "@@":
                steps.append(file)
                file = None
            else:
                file.lines.append(line)
        elif current is not None:
            end = re.fullmatch(r"\[exit (\d+)\]", line)
            if end:
                current.code = int(end.group(1))
                steps.append(current)
                current = None
            elif line.startswith("! "):
                current.error.append(line[2:])
            else:
                current.out.append(line)
        elif line.startswith("@ "):
            file = File(line[2:])
        elif line.startswith("< "):
            entered.append(line[2:])
        elif line.startswith("$ "):
            current, entered = Command(line[2:], "".join(text + "\n" for text in entered)), []
        elif line and not line.startswith("#"):
            raise SystemExit(f"{path.name}: unexpected line: {line}")
    if current is not None or file is not None:
        raise SystemExit(f"{path.name}: ends inside a command or a file")
    if not any(isinstance(step, Command) for step in steps):
        raise SystemExit(f"{path.name}: has no command")
    return steps


def run_case(program, path, update):
    problems = []
    with tempfile.TemporaryDirectory(prefix="ssmend-case-") as name:
        folder = pathlib.Path(name).resolve()
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
        for command in read_case(path):
            if isinstance(command, File):
                command.write(folder)
                continue
            words = shlex.split(command.line.replace("TMP", str(folder)))
            if words[0] == "ssmend":
                words[0] = program
            run = subprocess.run(words, cwd=folder, env=environment, input=command.input,
                                 capture_output=True, text=True, timeout=60)
            out = run.stdout.replace(str(folder), "TMP").splitlines()
            error = run.stderr.replace(str(folder), "TMP").splitlines()
            if update:
                print("$ " + command.line, *out, *("! " + line for line in error),
                      f"[exit {run.returncode}]", "", sep="\n")
                continue
            found = differences("stdout", command.out, out)
            found += differences("stderr", command.error, error)
            if run.returncode != command.code:
                found.append(f"  exit {run.returncode}, expected {command.code}")
            if found:
                problems += [f"{path.name}: $ {command.line}", *found]
    return problems


def main(program, names, update):
    cases = sorted(HERE.glob("*.case"))
    if names:
        cases = [path for path in cases if path.stem in names]
    problems = [line for path in cases for line in run_case(program, path, update)]
    print(*problems, sep="\n")
    print(f"{len(cases)} cases, {len(problems)} lines of differences")
    return 1 if problems or not cases else 0


if __name__ == "__main__":
    arguments = [text for text in sys.argv[2:] if text != "--update"]
    sys.exit(main(sys.argv[1], arguments, "--update" in sys.argv))
