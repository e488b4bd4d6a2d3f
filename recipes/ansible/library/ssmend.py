#!/usr/bin/python
"""Ansible module: a Python environment whose Mamba / SSM extensions work, by way of ssmend."""

import json
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ssmend
short_description: Mend a Python environment whose Mamba / SSM extensions do not work
description:
  - Runs C(ssmend repair) (or C(undo), C(inspect)) on the managed host and reports one result.
  - ssmend must be on the host; it needs no compiler, no network and no GPU to repair.
options:
  python:
    description: Interpreter or folder of the environment.
    type: path
  site_packages:
    description: Only this folder of installed packages, instead of C(python).
    type: path
  root:
    description: A mounted root file system to work in.
    type: path
  state:
    description: C(repaired) mends, C(undone) gives back, C(inspected) only looks.
    choices: [repaired, undone, inspected]
    default: repaired
  only:
    description: Only for findings of these codes.
    type: list
    elements: str
    default: []
  recipe:
    description: Instead of the recipe that the host calls for.
    type: str
  verify:
    description: Compute with the packages after a repair (runs code of the environment).
    type: bool
    default: true
  executable:
    description: Path of ssmend on the host.
    type: path
    default: ssmend
"""

EXAMPLES = r"""
- name: Mamba works in the training environment
  ssmend:
    python: /opt/venv
"""

RETURN = r"""
report:
  description: What ssmend says, as its --json has it.
  type: dict
  returned: always
"""


def command_of(params, check_mode, diff_mode):
    verb = {"repaired": "repair", "undone": "undo", "inspected": "inspect"}[params["state"]]
    argv = [params["executable"], verb, "--json"]
    for name in ("python", "site_packages", "root"):
        if params[name]:
            argv += ["--" + name.replace("_", "-"), params[name]]
    if verb == "inspect":
        return argv
    argv.append("--dry-run" if check_mode else "--yes")
    if verb == "repair":
        for code in params["only"]:
            argv += ["--only", code]
        if params["recipe"]:
            argv += ["--recipe", params["recipe"]]
        if not params["verify"]:
            argv.append("--no-verify")
        if diff_mode:
            argv.append("--diff")
    return argv


def outcomes_of(report):
    for name in ("repairs", "undone", "inspections"):
        if name in report:
            return report[name]
    return []


def would_change(outcome, check_mode):
    if not check_mode:
        return bool(outcome.get("changed"))
    return bool(outcome.get("plan", {}).get("files") or outcome.get("would_give_back"))


def describe(outcome):
    where = outcome.get("environment", "")
    if isinstance(where, dict):
        where = where.get("prefix", "")
    errors = [each for each in outcome.get("findings", outcome.get("plan", {}).get("remaining", []))
              if each["severity"] == "error"]
    said = [outcome["error"]] if "error" in outcome else []
    said += [f"{each['code']}: {each['title']}" for each in errors]
    said += outcome.get("plan", {}).get("not_planned", [])
    return where, said


def main():
    module = AnsibleModule(
        argument_spec={
            "python": {"type": "path"},
            "site_packages": {"type": "path"},
            "root": {"type": "path"},
            "state": {"choices": ["repaired", "undone", "inspected"], "default": "repaired"},
            "only": {"type": "list", "elements": "str", "default": []},
            "recipe": {"type": "str"},
            "verify": {"type": "bool", "default": True},
            "executable": {"type": "path", "default": "ssmend"},
        },
        mutually_exclusive=[("python", "site_packages")],
        supports_check_mode=True,
    )
    argv = command_of(module.params, module.check_mode, module._diff)
    if "/" not in argv[0]:
        argv[0] = module.get_bin_path(argv[0], required=True)
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        module.fail_json(msg=done.stderr.strip() or "ssmend said nothing", rc=done.returncode,
                         changed=False)
    outcomes = outcomes_of(report)
    changed = any(would_change(outcome, module.check_mode) for outcome in outcomes)
    lines = []
    for where, said in map(describe, outcomes):
        lines += [f"{where}: {line}" for line in said]
    result = {"changed": changed, "report": report, "rc": done.returncode,
              "msg": "; ".join(lines) or ("changed" if changed else "nothing to do")}
    if module._diff:
        text = "".join(outcome.get("diff", "") for outcome in outcomes)
        result["diff"] = {"prepared": text}
    # In check mode nothing is repaired yet, so that something is broken is no failure of the task.
    planned = module.check_mode and changed
    if done.returncode != 0 and not planned and module.params["state"] != "inspected":
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
