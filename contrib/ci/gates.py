#!/usr/bin/env python3
"""The gates: rules of the house that a script can check. Each gate first shows on a small tree made
to break it that it can fail.

usage: gates.py BUILD_DIR [GATE ...]"""
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

TOP_LEVEL = {"CMakeLists.txt", "README.md", "LICENSE", "mdm", "apns", "profiles", "acme", "scep",
             "web", "tests", "contrib"}
FILE_LINES, FUNCTION_LINES, COMPLEXITY = 1000, 80, 15

# Vendor headers and the only files that may include them (ARCHITECTURE rule 10).
VENDORS = {
    r"microhttpd\.h": r"web/http/mhd\w*\.[ch]",
    r"gnutls/.*": r"web/http/mhd_tls\w*\.[ch]",
    r"sqlite3\.h": r"mdm/store/sqlite\w*\.[ch]",
    r"libpq-fe\.h": r"mdm/store/pg\w*\.[ch]",
    r"plist/.*": r"mdm/wire/plist\w*\.[ch]",
    r"libxml/.*": r"mdm/wire/xml_guard\.[ch]",
    r"jansson\.h": r"mdm/wire/json\.c",
    r"cbor\.h": r"acme/attest/cbor\.c",
    r"qrencode\.h": r"profiles/enroll/qr\.c",
    r"seccomp\.h": r"acme/signer/sandbox\.c",
    r"p11-kit/.*": r"acme/signer/pkcs11\.c",
    r"ini\.h": r"mdm/base/conf\.c",
    r"openssl/.*": r"mdm/crypt/\w+\.[ch]",
    r"(nettle/.*|gmp\.h)": r"mdm/crypt/p384\.c",
    r"curl/.*": r"web/hook/post\.c",
    r"nghttp2/.*": r"apns/h2\.c",
}

# First words of a room's global symbols beside the stems of its files.
PREFIXES = {
    "base": {"b64url", "resp", "version"},
    "crypt": {"cert", "csr", "trust", "key", "crypt", "digest", "x509", "cms", "ocsp", "crl", "ber", "ossl"},
    "store": {"store", "tx", "cur", "audit", "attempt", "migrations", "migration", "sqlite", "stmt"},
    "core": {"core", "command", "push"},
    "inventory": {"inv", "inventory", "csv"},
    "posture": {"posture"},
    "wire": {"plist", "json", "xml", "wire"},
    "ca": {"ca", "signer", "client"},
    "signer_msg": {"signer", "msg"},
    "attest": {"attest", "cbor"},
    "acme": {"acme"},
    "apns": {"record", "apns"},
    "enroll": {"enroll", "qr"},
    "http": {"http", "mhd", "router", "deadlines"},
    "auth": {"token"},
    "api": {"api"},
    "device": {"device"},
    "hook": {"hook"},
    "profiles": {"payload", "profile"},
}


class Tree:
    """The files of a checkout (git's, else all below root)."""

    def __init__(self, root, build=None):
        self.root, self.build = root, build
        listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                                capture_output=True, text=True)
        if listed.returncode == 0 and os.path.isdir(os.path.join(root, ".git")):
            names = listed.stdout.split("\n")
        else:
            names = [os.path.relpath(os.path.join(d, f), root)
                     for d, _, fs in os.walk(root) for f in fs]
        self.files = sorted({n for n in names if n and os.path.isfile(os.path.join(root, n))})

    def c_files(self):
        return [f for f in self.files if f.endswith((".c", ".h"))]

    def text(self, name):
        with open(os.path.join(self.root, name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def rooms(self):
        """name -> (folder, what it may include), from the td_room and td_program lines."""
        rooms = {}
        lines = self.text("CMakeLists.txt")
        for name, folder, deps in re.findall(
                r'td_(?:room|program)\(([\w-]+)\s+([\w/]+)\s+"([^"]*)"', lines):
            rooms[name] = (folder, set(filter(None, deps.split(";"))))
        return rooms

    def allowed(self, rule):
        """Names that contrib/ci/allow.txt excepts from a rule, each with its reason there."""
        path = "contrib/ci/allow.txt"
        if path not in self.files:
            return set()
        return {line.split()[1] for line in self.text(path).splitlines()
                if line.startswith(rule + " ")}


def gate_layout(tree):
    have = {f.split("/")[0] for f in tree.files if not f.startswith(".")}
    for name in sorted(have ^ TOP_LEVEL):
        yield f"{name}: {'not one of the agreed names' if name in have else 'is missing'}"


def gate_includes(tree):
    rooms = tree.rooms()
    folders = sorted(((folder, name) for name, (folder, _) in rooms.items()),
                     key=lambda r: -len(r[0]))

    def room_of(path):
        return next((name for folder, name in folders if path.startswith(folder + "/")), None)

    for path in tree.c_files():
        room = room_of(path)
        if room is None:
            continue
        for header in re.findall(r'^\s*#\s*include\s+"([^"]+)"', tree.text(path), re.M):
            other = room_of(header)
            if other is None:
                if header not in tree.files:
                    yield f"{path}: includes {header}, which is in no room"
            elif other != room and other not in rooms[room][1]:
                yield f"{path}: {room} may not include {other} ({header})"


def gate_vendors(tree):
    for path in tree.c_files():
        if path.startswith("tests/"):
            continue
        for header in re.findall(r"^\s*#\s*include\s+<([^>]+)>", tree.text(path), re.M):
            for vendor, where in VENDORS.items():
                if re.fullmatch(vendor, header) and not re.fullmatch(where, path):
                    yield f"{path}: <{header}> is confined to {where}"


def gate_banned(tree):
    """banned.h reaches every file; clocks and randomness have one door each."""
    doors = {r"\btime\s*\(NULL\)|\bgettimeofday\s*\(": {"mdm/base/clock.c"},
             r"\bRAND_bytes\s*\(|\bgetrandom\s*\(|\brandom\s*\(": {"mdm/base/rng.c"},
             r"\busleep\s*\(|\bnanosleep\s*\(|[^_\w]sleep\s*\(": set()}
    for path in tree.c_files():
        if path.startswith("tests/"):
            continue
        for pattern, where in doors.items():
            found = re.search(pattern, tree.text(path))
            if found and path not in where:
                yield f"{path}: calls {found.group(0).strip()}"
    if tree.build:
        with open(os.path.join(tree.build, "compile_commands.json"), encoding="utf-8") as f:
            for entry in json.load(f):
                if "banned.h" not in entry["command"]:
                    yield f"{entry['file']}: compiled without banned.h"


def gate_sizes(tree):
    allow = tree.allowed("size")
    for path in tree.c_files():
        if "_gen." in path or path in allow:
            continue
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES:
            yield f"{path}: {lines} lines, at most {FILE_LINES}"


def gate_functions(tree):
    allow = tree.allowed("function")
    # unit tests and fuzz targets are tables of cases
    sources = [f for f in tree.c_files() if f.endswith(".c") and "_gen." not in f
               and not f.startswith(("tests/unit/", "tests/fuzz/"))]
    done = subprocess.run(["pmccabe", *sources], cwd=tree.root, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) < 6:
            continue
        complexity, length, where = int(fields[0]), int(fields[4]), fields[5]
        name = where.split(": ")[-1]
        if name in allow:
            continue
        if complexity > COMPLEXITY:
            yield f"{where}: complexity {complexity}, at most {COMPLEXITY}"
        if length > FUNCTION_LINES:
            yield f"{where}: {length} lines, at most {FUNCTION_LINES}"


def gate_prefixes(tree):
    if not tree.build:
        return
    for room, (folder, _) in tree.rooms().items():
        archive = os.path.join(tree.build, f"libtd_{room}.a")
        if not os.path.exists(archive):
            continue
        allowed = PREFIXES.get(room, {room}) | {
            os.path.basename(f).split(".")[0] for f in tree.files
            if os.path.dirname(f) == folder and f.endswith((".c", ".h"))}
        table = subprocess.run(["nm", "-g", "--defined-only", archive], capture_output=True,
                               text=True, check=True).stdout
        for symbol in re.findall(r"^[0-9a-f]+ [A-Z] (\w+)$", table, re.M):
            if not any(symbol == a or symbol.startswith(a + "_") for a in allowed):
                yield f"{room}: global symbol {symbol} has no prefix of its room"


def gate_words(tree):
    """No unfinished work, no machine's paths."""
    marks = re.compile(r"\b(TO" "DO|FIX" "ME|X" "XX|HA" r"CK)\b|/(?:work|farm|root)/")
    for path in tree.files:
        if path.startswith("contrib/ci/gates") or path.startswith("tests/fuzz/corpus"):
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if marks.search(line):
                yield f"{path}:{number}: {line.strip()[:80]}"


def each(tree, files, command, passed=None):
    """Runs a checker on each file, two at a time; its complaint is the finding. `passed` remembers
    the files without one."""
    def run(path):
        if passed and passed.has(path):
            return path, 0, ""
        done = subprocess.run([*command, path], cwd=tree.root, capture_output=True, text=True)
        return path, done.returncode, done.stdout + done.stderr
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, status, output in pool.map(run, files):
            if status == 0 and passed:
                passed.add(path)
            if status != 0:
                lines = [x for x in output.splitlines() if re.search(r"error|warning", x)]
                yield f"{path}: " + "\n    ".join(lines[:6] or output.splitlines()[:3])


class Passed:
    """Which files a checker found nothing in, by the digest of all it looked at: its version and
    rules, the file and, where it follows the compile commands, the command and every header of the
    tree that the file includes. Only clean verdicts are kept: a finding stays until it is gone."""

    def __init__(self, tree, folder, tool, rules, commands=None):
        version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
        # not the whole text, which names the processor
        salt = "\n".join([*re.findall(r"version .*", version), tree.text(rules)])
        self.tree, self.salt, self.commands = tree, salt, commands
        self.folder = os.path.join(tree.build, folder)
        os.makedirs(self.folder, exist_ok=True)
        self.have = set(os.listdir(self.folder))
        self.known = set(tree.files)
        self.direct, self.keys = {}, {}

    def includes(self, path):
        """Digest of one file, and the files of the tree it includes (named from the root)."""
        if path not in self.direct:
            text = self.tree.text(path)
            found = re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M)
            self.direct[path] = (hashlib.sha256(text.encode()).hexdigest(),
                                 [f for f in found if f in self.known])
        return self.direct[path]

    def key(self, path):
        if path not in self.keys:
            command = self.commands[path] if self.commands else ""
            forced = re.findall(r"-include (\S+)", command)
            todo = [path, *(os.path.relpath(f, self.tree.root) for f in forced)]
            seen = {}
            while todo:
                name = todo.pop()
                if name not in seen:
                    seen[name], more = self.includes(name)
                    todo += more if self.commands else []
            whole = "\n".join([self.salt, command, *(f"{n} {seen[n]}" for n in sorted(seen))])
            self.keys[path] = hashlib.sha256(whole.encode()).hexdigest()
        return self.keys[path]

    def has(self, path):
        return self.key(path) in self.have

    def add(self, path):
        with open(os.path.join(self.folder, self.key(path)), "w", encoding="utf-8"):
            pass

    def drop_old(self):
        for name in self.have - set(self.keys.values()):
            os.unlink(os.path.join(self.folder, name))


def gate_format(tree):
    passed = None
    if tree.build:
        passed = Passed(tree, "format-cache", "clang-format-14", ".clang-format")
    yield from each(tree, [f for f in tree.c_files() if "_gen." not in f],
                    ["clang-format-14", "--dry-run", "-Werror"], passed)
    if passed:
        passed.drop_old()


def gate_tidy(tree):
    if not tree.build:
        tidy = ["clang-tidy-14", "--quiet", "--checks=-*,bugprone-*", "--warnings-as-errors=*"]
        files = [f for f in tree.c_files() if f.endswith(".c")]
        for path in files:
            done = subprocess.run([*tidy, path, "--", "-std=gnu17"], cwd=tree.root,
                                  capture_output=True, text=True)
            if done.returncode:
                yield f"{path}: {done.stdout[:300]}"
        return
    with open(os.path.join(tree.build, "compile_commands.json"), encoding="utf-8") as f:
        commands = {os.path.relpath(e["file"], tree.root): e["command"] for e in json.load(f)}
    files = [f for f in tree.c_files() if f in commands and not f.startswith("tests/")]
    passed = Passed(tree, "tidy-cache", "clang-tidy-14", ".clang-tidy", commands)
    yield from each(tree, files, ["clang-tidy-14", "--quiet", "-p", tree.build,
                                  "--warnings-as-errors=*"], passed)
    passed.drop_old()


def gate_cppcheck(tree):
    files = [f for f in tree.c_files() if f.endswith(".c") and not f.startswith("tests/")]
    kept = []
    if tree.build:  # what did not change is not looked at again
        os.makedirs(os.path.join(tree.build, "cppcheck"), exist_ok=True)
        kept = ["--cppcheck-build-dir=" + os.path.join(tree.build, "cppcheck")]
    done = subprocess.run(
        ["cppcheck", "--quiet", "--enable=warning,portability", "--inline-suppr", "-I.",
         "-D_GNU_SOURCE", "--suppress=missingIncludeSystem", "--suppress=unknownMacro",
         "--error-exitcode=1", "--std=c11", *kept, f"-j{os.cpu_count()}", *files],
        cwd=tree.root, capture_output=True, text=True)
    for line in done.stderr.splitlines():
        if re.search(r": (error|warning|portability):", line):
            yield line


GATES = {name.removeprefix("gate_"): gate for name, gate in list(globals().items())
         if name.startswith("gate_")}

# For each gate a small tree that breaks it.
ROOMS = 'td_room(base mdm/base "")\ntd_room(wire mdm/wire "base")\n'
BROKEN = {
    "layout": {"CMakeLists.txt": ROOMS, "extra.txt": ""},
    "includes": {"CMakeLists.txt": ROOMS, "mdm/base/a.c": '#include "mdm/wire/b.h"\n',
                 "mdm/wire/b.h": ""},
    "vendors": {"CMakeLists.txt": ROOMS, "web/api/a.c": "#include <sqlite3.h>\n"},
    "banned": {"CMakeLists.txt": ROOMS, "mdm/base/a.c": "long f(void) { return time(NULL); }\n"},
    "sizes": {"CMakeLists.txt": ROOMS, "mdm/base/a.c": "int x;\n" * (FILE_LINES + 1)},
    "functions": {"CMakeLists.txt": ROOMS,
                  "mdm/base/a.c": "int f(int x)\n{\n" + "    x++;\n" * FUNCTION_LINES +
                                  "    return x;\n}\n"},
    "prefixes": {"CMakeLists.txt": ROOMS, "mdm/base/a.c": "int stray;\n"},
    "words": {"CMakeLists.txt": ROOMS, "mdm/base/a.c": "/* TO" + "DO */\n"},
    "format": {"CMakeLists.txt": ROOMS, "mdm/base/a.c": "int  f( void ){return 1 ;}\n"},
    "tidy": {"CMakeLists.txt": ROOMS,
             "mdm/base/a.c": "int f(int a)\n{\n    if (a = 1)\n        return 2;\n    return 0;\n}\n"
                             "int g(char *p)\n{\n    return sizeof(sizeof(p));\n}\n"},
    "cppcheck": {"CMakeLists.txt": ROOMS,
                 "mdm/base/a.c": "int f(void)\n{\n    int a[2];\n    return a[2];\n}\n"},
}


def self_test(name, gate):
    """True when the gate finds fault with the tree made to break it."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in BROKEN[name].items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        tree = Tree(root)
        if name == "prefixes":
            tree.build = root
            subprocess.run("cc -c mdm/base/a.c -o a.o && ar rc libtd_base.a a.o", shell=True,
                           cwd=root, check=True)
        if name == "format":
            subprocess.run(["cp", os.path.join(TOP, ".clang-format"), root], check=True)
        return any(True for _ in gate(tree))


TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    tree = Tree(TOP, os.path.abspath(sys.argv[1]))
    passed = failed = 0
    for name, gate in GATES.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        findings = list(gate(tree))
        works = self_test(name, gate)
        print(f"{'ok' if not findings and works else 'FAILED':7} {name}")
        for finding in findings:
            print(f"        {finding}")
        if not works:
            print("        the gate did not see the fault made for it")
        passed += (not findings) + works
        failed += bool(findings) + (not works)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
