"""Builds a tree of programs and libraries from a few lines of text, one directive a line:

  prog PATH [opener] [needs=a,b] [rpath=..] [runpath=..] [refs=f,g] [nodeflib] [no-pie]
  lib PATH [soname=NAME|-] [needs=..] [rpath=..] [runpath=..] [defs=..] [refs=..] [weak=..]
           [versions=V1:f,V2:g] [tls=BYTES [ie]] [execstack] [nodeflib] [pie]
  stub NAME [versions=V1:f] [defs=f]   what later files that need NAME are linked against
  link PATH TARGET | copy FROM TO | mkdir PATH | text PATH WORD | chmod PATH OCTAL
  poke PATH OFFSET HEX | truncate PATH BYTES | dynamic PATH OLDTAG NEWTAG | env NAME=VALUE
  ldconfig FOLDER... | cache [MACHINE:]NAME=PATH...   /etc/ld.so.cache, only in a root of its own
  start PATH                          what is started, where it is not the last `prog`
  open PATH... | open-global PATH     files to dlopen, in order; the last is the question

A library `x/libfoo.so` defines the function f_foo unless `defs=` says otherwise, and its data refers
to the functions of `refs=`, so that the loader has to bind them. Assembler and linker are called
directly: a file costs a few milliseconds, not a compiler's 50.
"""

import os
import shutil
import struct
import subprocess


class NeedsRoot(Exception):
    """The case changes /etc: it runs only in a root of its own."""


class Toolchain:
    """Assembler, linker and start files for one machine ('x86_64' or 'aarch64')."""

    def __init__(self, machine, work):
        self.machine = machine
        native = os.uname().machine == machine
        self.prefix = "" if native else machine + "-linux-gnu-"
        self.gcc = self.prefix + "gcc"
        self.work = work
        os.makedirs(work, exist_ok=True)
        self.loader = {"x86_64": "/lib64/ld-linux-x86-64.so.2",
                       "aarch64": "/lib/ld-linux-aarch64.so.1"}[machine]
        self.interpreter_file = self.where(os.path.basename(self.loader)) if not native else self.loader
        self.libc = self.where("libc.so.6")
        self.start = [self.where("Scrt1.o"), self.where("crti.o")]
        self.start_fixed = [self.where("crt1.o"), self.where("crti.o")]
        self.end = [self.where("crtn.o")]
        self.objects = {}
        here = os.path.dirname(os.path.abspath(__file__))
        self.main_object = self.compile("int main(void) { return 0; }\n", "main")
        with open(os.path.join(here, "opener.c")) as source:
            self.opener_object = self.compile(source.read(), "opener")

    def where(self, name):
        found = subprocess.run([self.gcc, "-print-file-name=" + name], capture_output=True,
                               text=True, check=True).stdout.strip()
        return os.path.realpath(found) if os.path.isabs(found) else name

    def compile(self, source, name):
        path = os.path.join(self.work, name)
        with open(path + ".c", "w") as file:
            file.write(source)
        subprocess.run([self.gcc, "-fPIE", "-O1", "-c", path + ".c", "-o", path + ".o"], check=True)
        return path + ".o"

    def assemble(self, text):
        if text not in self.objects:
            path = os.path.join(self.work, "o%d.o" % len(self.objects))
            subprocess.run([self.prefix + "as", "-o", path, "-"], input=text.encode(), check=True)
            self.objects[text] = path
        return self.objects[text]

    def link(self, arguments):
        subprocess.run([self.prefix + "ld"] + arguments, check=True, capture_output=True)


def split_list(text):
    return [part for part in text.split(",") if part]


def own_function(path):
    name = os.path.basename(path).split(".so")[0]
    return "f_" + (name[3:] if name.startswith("lib") else name).replace("-", "_").replace(".", "_")


INITIAL_EXEC = {
    "x86_64": "\tmovq tls_block@gottpoff(%rip), %rax",
    "aarch64": "\tadrp x0, :gottprel:tls_block\n\tldr x0, [x0, :gottprel_lo12:tls_block]",
}


def assembler_text(defs, refs, weak, tls, stack, initial_exec=""):
    lines = ["\t.text"]
    for name in defs:
        lines += ["\t.globl " + name, "\t.type %s,%%function" % name, name + ":", "\tret"]
    if initial_exec:
        lines += ["use_tls:", initial_exec, "\tret"]
    lines.append("\t.data")
    for name in weak:
        lines.append("\t.weak " + name)
    for name in list(refs) + list(weak):
        lines.append("\t.quad " + name)
    if tls:
        lines += ["\t.section .tbss,\"awT\",%nobits", "\t.balign 8", "tls_block:", "\t.zero %d" % tls]
    flags = '"x"' if stack else '""'
    lines.append("\t.section .note.GNU-stack,%s,%%progbits" % flags)
    return "\n".join(lines) + "\n"


class Tree:
    """One tree under `root`; paths in the text are relative to it."""

    def __init__(self, toolchain, root, text, system_root=None):
        self.toolchain = toolchain
        self.root = root
        self.system_root = system_root
        self.environment = {}
        self.program = None
        self.opened = []  # (path, is global)
        self.stubs = {}
        self.stub_count = 0
        os.makedirs(root, exist_ok=True)
        for line in text.splitlines():
            words = line.split()
            if words and not line.lstrip().startswith("#"):
                getattr(self, "do_" + words[0].replace("-", "_"))(words[1:])

    def at(self, path):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        return full

    def options(self, words):
        found = {}
        for word in words:
            key, _, value = word.partition("=")
            found[key] = value if "=" in word else True
        return found

    def version_script(self, versions, output):
        nodes = {}
        for item in split_list(versions):
            version, _, name = item.partition(":")
            nodes.setdefault(version, []).append(name)
        with open(output, "w") as file:
            for version, names in nodes.items():
                file.write("%s { global: %s; };\n" % (version, "; ".join(n for n in names if n)
                                                      or "no_such_name"))
        return output

    def stub(self, name):
        if name not in self.stubs:
            self.do_stub([name])
        return self.stubs[name]

    def do_stub(self, words):
        name, options = words[0], self.options(words[1:])
        folder = os.path.join(self.toolchain.work, "stubs-%d" % self.stub_count)
        self.stub_count += 1
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        path = os.path.join(folder, name.replace("/", "_").replace("$", "_"))
        defs = [item.partition(":")[2] for item in split_list(options.get("versions", ""))]
        defs += split_list(options.get("defs", ""))
        source = self.toolchain.assemble(assembler_text([d for d in defs if d], [], [], 0, False))
        arguments = ["-shared", "-soname", name, "-o", path, source]
        if "versions" in options:
            arguments.append("--version-script=" + self.version_script(options["versions"],
                                                                       path + ".map"))
        self.toolchain.link(arguments)
        self.stubs[name] = path

    def paths(self, options):
        arguments = []
        for key, tag in (("rpath", "--disable-new-dtags"), ("runpath", "--enable-new-dtags")):
            if key in options:
                arguments += [tag, "-rpath", options[key]]
        if "nodeflib" in options:
            arguments += ["-z", "nodefaultlib"]
        return arguments

    def needed(self, options):
        return [self.stub(name) for name in split_list(options.get("needs", ""))]

    def do_lib(self, words):
        path, options = words[0], self.options(words[1:])
        defs = split_list(options["defs"]) if "defs" in options else [own_function(path)]
        source = self.toolchain.assemble(assembler_text(
            defs, split_list(options.get("refs", "")), split_list(options.get("weak", "")),
            int(options.get("tls", 0)), "execstack" in options,
            INITIAL_EXEC[self.toolchain.machine] if "ie" in options else ""))
        soname = options.get("soname", os.path.basename(path))
        arguments = ["-pie" if "pie" in options else "-shared", "-o", self.at(path), source]
        if soname != "-":
            arguments += ["-soname", soname]
        if "pie" in options:
            arguments += ["-e", "0", "-dynamic-linker", self.toolchain.loader, "-export-dynamic"]
        arguments += ["--no-as-needed", "--unresolved-symbols=ignore-all", "-z", "noseparate-code",
                      "-z", "execstack" if "execstack" in options else "noexecstack"]
        arguments += self.paths(options) + self.needed(options)
        if "versions" in options:
            arguments.append("--version-script=" + self.version_script(
                options["versions"], os.path.join(self.toolchain.work, "lib.map")))
        self.toolchain.link(arguments)

    def do_prog(self, words):
        path, options = words[0], self.options(words[1:])
        tools = self.toolchain
        source = [tools.opener_object if "opener" in options else tools.main_object]
        if "refs" in options:
            source.append(tools.assemble(assembler_text([], split_list(options["refs"]), [], 0,
                                                        False)))
        fixed = "no-pie" in options
        arguments = ["-no-pie" if fixed else "-pie", "-dynamic-linker", tools.loader, "-o",
                     self.at(path), "--no-as-needed", "--unresolved-symbols=ignore-all",
                     "-z", "noexecstack"]
        arguments += (tools.start_fixed if fixed else tools.start) + source
        arguments += self.paths(options) + self.needed(options) + [tools.libc] + tools.end
        tools.link(arguments)
        self.program = path

    def do_link(self, words):
        os.symlink(words[1], self.at(words[0]))

    def inside(self, path):
        if self.system_root is None:
            raise NeedsRoot()
        return "/" + os.path.relpath(os.path.join(self.root, path), self.system_root)

    def do_ldconfig(self, words):
        """The real ldconfig over these folders (of this machine only: it skips other machines)."""
        folders = [self.inside(word) for word in words]
        if os.uname().machine != self.toolchain.machine:
            raise NeedsRoot()
        with open(os.path.join(self.system_root, "etc/ld.so.conf"), "w") as file:
            file.write("\n".join(folders) + "\n")
        tool = shutil.which("ldconfig") or "/sbin/ldconfig"
        subprocess.run([tool, "-X", "-r", self.system_root], check=True, capture_output=True)

    def do_cache(self, words):
        """A cache written here: NAME=PATH entries, `machine:` in front for another's flags."""
        flags = {"x86_64": 0x303, "aarch64": 0xA03, "i386": 0x3}
        entries = []
        for word in words:
            machine, _, rest = word.rpartition(":")
            name, _, path = rest.partition("=")
            entries.append((flags[machine or self.toolchain.machine], name, self.inside(path)))
        texts, offset = b"", 48 + 24 * len(entries)
        table = b""
        for flag, name, path in entries:
            at = offset + len(texts)
            texts += name.encode() + b"\0" + path.encode() + b"\0"
            table += struct.pack("<iIIIQ", flag, at, at + len(name) + 1, 0, 0)
        header = b"glibc-ld.so.cache1.1" + struct.pack("<IIB3xI12x", len(entries), len(texts), 2, 0)
        with open(os.path.join(self.system_root, "etc/ld.so.cache"), "wb") as file:
            file.write(header + table + texts)

    def do_start(self, words):
        self.program = words[0]

    def do_copy(self, words):
        shutil.copy(os.path.join(self.root, words[0]), self.at(words[1]))

    def do_mkdir(self, words):
        os.makedirs(os.path.join(self.root, words[0]), exist_ok=True)

    def do_text(self, words):
        with open(self.at(words[0]), "w") as file:
            file.write(words[1] if len(words) > 1 else "")

    def do_chmod(self, words):
        os.chmod(os.path.join(self.root, words[0]), int(words[1], 8))

    def do_poke(self, words):
        with open(os.path.join(self.root, words[0]), "r+b") as file:
            file.seek(int(words[1], 0))
            file.write(bytes.fromhex(words[2]))

    def do_truncate(self, words):
        os.truncate(os.path.join(self.root, words[0]), int(words[1], 0))

    def do_dynamic(self, words):
        """Changes the first dynamic entry with tag OLD to tag NEW, in place."""
        old, new = int(words[1], 0), int(words[2], 0)
        with open(os.path.join(self.root, words[0]), "r+b") as file:
            data = bytearray(file.read())
            table, size = self.dynamic_table(data)
            for at in range(table, table + size, 16):
                if struct.unpack_from("<q", data, at)[0] == old:
                    struct.pack_into("<q", data, at, new)
                    break
            else:
                raise ValueError("%s: no dynamic entry %d" % (words[0], old))
            file.seek(0)
            file.write(data)

    def dynamic_table(self, data):
        offset, count = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<H", data, 56)[0]
        for i in range(count):
            kind, _, at, _, _, size = struct.unpack_from("<IIQQQQ", data, offset + 56 * i)
            if kind == 2:
                return at, size
        raise ValueError("no PT_DYNAMIC")

    def do_env(self, words):
        name, _, value = words[0].partition("=")
        self.environment[name] = value

    def do_open(self, words):
        self.opened += [(word, False) for word in words]

    def do_open_global(self, words):
        self.opened += [(word, True) for word in words]
