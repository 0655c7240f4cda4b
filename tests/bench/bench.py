#!/usr/bin/env python3
"""Figures beside the bound computed from `openssl speed` in the same run, one line a figure:
bench <name> <value> <unit> bound=<value> ratio=<value/bound>

usage: bench.py BIN_DIR [--long]

Client and server share the machine. A rate is bounded by what the server's cryptography takes plus
the CPU that the client was seen to take (its own account, simulator_cpu_seconds): a slow client
does not make a server look slow, nor a fast one. A cost is the server's own CPU time, the signer's
included, as the kernel accounts it; there the ratio is how many times the bound it is."""
import json
import os
import re
import subprocess
import sys

os.environ["TESTUDO_BIN"] = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from testudo import Server, program  # noqa: E402

LONG = "--long" in sys.argv
CORES = os.cpu_count()
COUNT = 2000 if LONG else 300
SECONDS = 10 if LONG else 3
TICK = os.sysconf("SC_CLK_TCK")
lines = 0


def speed():
    """Operations a second of one core, by CPU time: {'p256 sign': ...}."""
    done = subprocess.run(["openssl", "speed", "-seconds", "1", "-mr", "ecdsap256", "ecdsap384",
                           "ecdhx25519"], capture_output=True, text=True, check=True)
    rates = {}
    for bits, sign, verify in re.findall(r"^\+F4:\d+:(\d+):([\d.]+):([\d.]+)$", done.stdout, re.M):
        rates[f"p{bits} sign"], rates[f"p{bits} verify"] = float(sign), float(verify)
    for op in re.findall(r"^\+F5:\d+:253:([\d.]+):", done.stdout, re.M):
        rates["x25519"] = float(op)
    return rates


def cost(rates, **operations):
    """Core-seconds of a set of operations, named like p256_verify."""
    return sum(n / rates[name.replace("_", " ")] for name, n in operations.items())


def report(name, value, unit, bound=None):
    global lines
    lines += 1
    if bound:
        print(f"bench {name} {value:.0f} {unit} bound={bound:.0f} ratio={value / bound:.2f}",
              flush=True)
    else:
        print(f"bench {name} {value:.0f} {unit}", flush=True)


def family(pid):
    """The process and all below it: supervisor and signer."""
    pids = [pid]
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as f:
            for child in f.read().split():
                pids += family(int(child))
    return pids


def cpu(server):
    """CPU seconds of the server so far."""
    ticks = 0
    for pid in family(server.process.pid):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def peak(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


def measure(server, name, crypto, *words):
    """One load of the simulator: its rate and what a request cost the server. `crypto` is the
    cryptography of one request on the server, in core-seconds; None: there is none to speak of."""
    before = cpu(server)
    got = json.loads(server.sim(*words, "--json").stdout)
    if got["failed"]:
        sys.exit(f"{name}: {got}")
    n, client = got["requests"], got["simulator_cpu_seconds"]
    each = (cpu(server) - before) / n
    bound = CORES / (crypto + client / n) if crypto else None
    report(name, got["per_second"], "1/s", bound)
    report(f"{name}-server-cpu", each * 1e6, "us", crypto * 1e6 if crypto else None)
    return each


def issuance(server, rates):
    # The nine requests of an attested order over a new connection: 7 JWS and the CSR verified, the
    # attestation leaf (P-384; its CA is kept), the certificate signed; a handshake of a signature
    # and two X25519 operations.
    crypto = cost(rates, p256_verify=7 + 1, p384_verify=1, p256_sign=1 + 1, x25519=2)
    sim = subprocess.Popen(
        [program("testudo-sim"), "acme-bench", *server.sim_args, "--count", str(COUNT), "--prefix",
         "ORDER", "--threads", "32", "--hold", "--json"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if sim.stdout.readline() != "ready\n":
        sys.exit("acme-bench does not get ready")
    before = cpu(server)
    got = json.loads(sim.communicate("\n")[0])
    each = (cpu(server) - before) / COUNT
    if got["failed"]:
        sys.exit(f"{got}")
    client = got["simulator_cpu_seconds"] / COUNT
    report("issuance", got["per_second"], "1/s", CORES / (crypto + client))
    report("issuance-server-cpu", each * 1e6, "us", crypto * 1e6)
    report("issuance-client-cpu", client * 1e6, "us")


def enrolments(server, rates):
    # The server: 7 JWS and the CSR verified, the attestation leaf (P-384; its CA is kept), the
    # client certificate and its CertificateVerify; 3 handshakes (profile, ACME, MDM) of a
    # signature and two X25519 operations, profile and certificate signed. Nothing else is counted:
    # no hashing, no parsing, no SQLite, no fsync, no TCP.
    crypto = cost(rates, p256_verify=7 + 1 + 2, p384_verify=1, p256_sign=3 + 1 + 1, x25519=6)
    before = cpu(server)
    got = server.fleet(COUNT, None, "--threads", "64")
    if got["failed"]:
        sys.exit(f"{got}")
    client = got["simulator_cpu_seconds"] / COUNT
    report("enrolments", got["enrolments_per_second"], "1/s", CORES / (crypto + client))
    report("enrolment-server-cpu", (cpu(server) - before) / COUNT * 1e6, "us", crypto * 1e6)
    report("enrolment-client-cpu", client * 1e6, "us")


def main():
    rates = speed()
    for name in sorted(rates):
        report("openssl-" + name.replace(" ", "-"), rates[name], "op/s")
    with Server() as server:
        issuance(server, rates)
        enrolments(server, rates)
        load = ["--duration", str(SECONDS), "--threads", "16"]
        idle = ["connect", "--state", server.fleet_dir, "--cacert", server.root, *load]
        # Kept connections cost no public-key operation: the mark is what a constant answer over
        # HTTPS costs, which is the HTTP layer alone.
        measure(server, "https-static", None, "http-bench", "--url", server.public + "/healthz",
                "--cacert", server.root, *load)
        measure(server, "connects-keepalive", None, *idle)
        # A new mutual-TLS connection: CertificateVerify both ways, the client's certificate, two
        # X25519 operations.
        handshake = cost(rates, p256_sign=1, p256_verify=2, x25519=2)
        measure(server, "connects-new-mtls", handshake, *idle, "--fresh")
        static = measure(server, "http-static", None, "http-bench", "--url",
                         server.status + "/healthz", *load)
        ocsp = ["ocsp-bench", "--url", server.status + "/ocsp", "--issuer",
                os.path.join(server.dir, "ca/issuing.crt"), "--certs", server.fleet_dir, *load]
        # A kept answer cannot cost less than any answer; a live one is signed.
        measure(server, "ocsp-cached", static, *ocsp)
        measure(server, "ocsp-live", static + cost(rates, p256_sign=1), *ocsp, "--nonce")
        report("peak-memory", peak(server), "MiB")
    print(f"{lines} passed, 0 failed, 0 skipped")


main()
