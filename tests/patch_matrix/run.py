"""ctest's way in: run.py DRIVER RULES CACHE [--whole] [--sources DIRECTORY]. Exit 77: skipped.

The small run takes one release of every contract and of every form of the calls; --whole takes all
releases of the registry, --sources any tree of sources that is there already."""
import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "real"))

import fetch_sources  # noqa: E402
import make_environment  # noqa: E402

SMALL = {"mamba": ["1.0.1", "1.1.4", "1.2.2", "2.0.4", "2.2.2", "2.2.4", "2.3.2.post1"],
         "conv": ["1.0.2", "1.1.3.post1", "1.3.0.post1", "1.4.0", "1.5.0.post8", "1.6.0", "1.7.0"]}


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("rules")
    parser.add_argument("cache", type=pathlib.Path)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--sources", type=pathlib.Path)
    options = parser.parse_args()
    python = os.environ.get("SSMEND_TEST_PYTHON")
    if not python:
        try:
            python = str(pathlib.Path(make_environment.base_environment()) / "bin" / "python")
        except make_environment.Unavailable as reason:
            skip(reason)
    sources = options.sources or options.cache
    if not options.sources:
        for kind, few in SMALL.items():
            project = fetch_sources.KINDS[kind][0]
            wanted = fetch_sources.released_versions(python, project) if options.whole else few
            if not wanted:
                skip(f"no releases of {project} to be seen")
            for version in wanted:
                problem = fetch_sources.fetch(python, sources, kind, version)
                if problem:
                    skip(problem)
    chosen = []
    if not options.whole and not options.sources:
        for kind, few in SMALL.items():
            chosen += [f"--{kind}"] + few
    quiet = [python, "-W", "ignore", "-B"]
    runs = [quiet + [HERE / "standins_test.py"],
            quiet + [HERE / "matrix.py", options.driver, options.rules, sources] + chosen,
            quiet + [HERE / "direct_calls.py", options.driver, options.rules],
            quiet + [HERE / "triton_kernels.py", options.driver, options.rules, sources],
            quiet + [HERE / "mutations.py", options.driver, options.rules, sources]]
    failed = [command for command in runs if subprocess.run(command, check=False).returncode != 0]
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
