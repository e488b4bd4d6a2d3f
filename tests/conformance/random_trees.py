"""Random trees: a seed gives one text for tree.py. Small worlds on purpose (few names, few folders),
so that names collide, directories repeat and most rules of the search meet each other."""

import random

FOLDERS = ["a", "b", "c", "a/b"]
HWCAP_FOLDERS = ["a/tls", "b/glibc-hwcaps/x86-64-v2", "c/aarch64", "a/x86_64"]
NAMES = ["libp.so", "libq.so", "libr.so", "libs.so", "libt.so"]
PATH_ELEMENTS = ["$ORIGIN", "$ORIGIN/..", "$ORIGIN/../a", "$ORIGIN/a", "$ORIGIN/b", "$ORIGIN/../c",
                 "${ORIGIN}/a/b", "$ORIGIN/none", "$LIB/x", "$FOO/a", "a", "", "$ORIGIN/../$PLATFORM"]


def path_list(rng):
    elements = [rng.choice(PATH_ELEMENTS) for _ in range(rng.randint(1, 3))]
    return ":".join(elements) or "$ORIGIN"


def paths(rng, likely):
    kind = rng.random()
    if kind < likely:
        return " rpath=" + path_list(rng)
    if kind < 2 * likely:
        return " runpath=" + path_list(rng)
    return ""


def function(name):
    return "f_" + name[3:-3]


def library(rng, folder, name):
    needs = rng.sample([other for other in NAMES if other != name], rng.choice([0, 0, 0, 0, 1, 1, 2]))
    line = "lib %s/%s" % (folder, name)
    if needs:
        line += " needs=" + ",".join(needs)
    refs = [function(other) for other in needs if rng.random() < 0.6]
    if rng.random() < 0.04:
        refs.append(function(rng.choice(NAMES)))
    if refs:
        line += " refs=" + ",".join(sorted(set(refs)))
    if rng.random() < 0.15:
        line += " soname=" + rng.choice(NAMES + ["-"])
    if rng.random() < 0.07:
        line += " defs=" + function(rng.choice(NAMES))
    if rng.random() < 0.06:
        line += " nodeflib"
    return line + paths(rng, 0.22)


def damage(rng, path):
    return rng.choice([
        "poke %s 18 %s" % (path, "2800"),      # another machine
        "poke %s 4 01" % path,                 # another class
        "poke %s 0 00" % path,                 # no ELF file
        "poke %s 5 02" % path,                 # big-endian
        "poke %s 16 0100" % path,              # ET_REL
        "poke %s 7 09" % path,                 # OS ABI
        "truncate %s 40" % path,
        "truncate %s 0" % path,
    ])


def text(seed):
    rng = random.Random(seed)
    lines, made = [], []
    for name in NAMES:
        for folder in FOLDERS + HWCAP_FOLDERS:
            chance = 0.55 if folder in FOLDERS else 0.04
            if rng.random() < chance:
                made.append("%s/%s" % (folder, name))
                lines.append(library(rng, folder, name))
    if rng.random() < 0.25 and made:
        lines.append("link %s/%s ../%s" % (rng.choice(["d", "e"]), rng.choice(NAMES), rng.choice(made)))
    if rng.random() < 0.15:
        lines.append("link g/%s %s" % (NAMES[0], NAMES[0]))  # a link to itself
    if rng.random() < 0.12:
        lines.append("mkdir g/%s" % rng.choice(NAMES[1:]))
    if rng.random() < 0.2 and made:
        lines.append(damage(rng, rng.choice(made)))
    if rng.random() < 0.4:
        elements = [rng.choice(["a", "b", "c", "d", "e", "g", "", "$ORIGIN/a", "none"])
                    for _ in range(rng.randint(1, 3))]
        value = rng.choice([":", ";"]).join(elements)
        if value:
            lines.append("env LD_LIBRARY_PATH=" + value)
    needs = rng.sample(NAMES, rng.choice([1, 1, 2, 3]))
    program = "prog %s needs=%s" % (rng.choice(["main", "main", "a/main"]), ",".join(needs))
    if rng.random() < 0.3 and made:
        opened = rng.sample(made, min(len(made), rng.randint(1, 3)))
        program = "prog main opener" + (" needs=" + needs[0] if rng.random() < 0.3 else "")
        for path in opened[:-1]:
            lines.append(("open-global ./" if rng.random() < 0.3 else "open ./") + path)
        lines.append("open ./" + opened[-1])
    elif rng.random() < 0.5:
        program += " refs=" + function(rng.choice(needs))
    lines.append(program + paths(rng, 0.42))
    return "\n".join(lines) + "\n"
