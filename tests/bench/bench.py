#!/usr/bin/env python3
"""Figures beside the bound computed from `openssl speed` in the same run, one line a figure:
bench <name> <value> <unit> bound=<value> ratio=<value/bound>

usage: bench.py BIN_DIR [--long]

Client and server share the machine; what the client's own cryptography costs is in the bound."""
import json
import os
import re
import subprocess
import sys

os.environ["TESTUDO_BIN"] = os.path.abspath(sys.argv[1])
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../e2e"))
from testudo import Server  # noqa: E402

LONG = "--long" in sys.argv
CORES = os.cpu_count()
COUNT = 2000 if LONG else 400
SECONDS = 10 if LONG else 3
lines = 0


def speed():
    """Operations per second of one core: {'ecdsap256 sign': ...}."""
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


def peak(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024


def main():
    rates = speed()
    for name in sorted(rates):
        report("openssl-" + name.replace(" ", "-"), rates[name], "op/s")
    with Server() as server:
        # Server: 7 JWS, leaf (P-384), CSR, CA sign; TLS: 3 handshakes (enrol, ACME, device), each
        # one sign and one ECDH, the device's also two verifications and its CertificateVerify;
        # profile signature. Client: 7 JWS signs, attestation leaf sign (P-384), CSR sign, 3 chains
        # of 2 and CertificateVerify of 3 handshakes, ECDH, key generations (about one sign each).
        serving = cost(rates, p256_verify=7 + 1 + 3, p384_verify=1, p256_sign=1 + 3 + 1, x25519=6)
        client = cost(rates, p256_sign=7 + 1 + 2 + 1, p384_sign=1, p256_verify=9 + 2, x25519=6)
        summary = server.fleet(COUNT, None, "--threads", "64")
        if summary["failed"]:
            sys.exit(f"{summary}")
        report("enrolments", summary["enrolments_per_second"], "1/s", CORES / (serving + client))
        report("enrolments-server-bound", CORES / serving, "1/s")
        args = ["--state", server.fleet_dir, "--cacert", server.root, "--json",
                "--duration", str(SECONDS), "--threads", "32"]
        got = json.loads(server.sim("connect", "--bench", *args).stdout)
        report("connects-keepalive", got["per_second"], "1/s")
        got = json.loads(server.sim("connect", "--bench", "--fresh", *args).stdout)
        handshake = cost(rates, p256_sign=2, p256_verify=2 + 3, x25519=4)
        report("connects-new-mtls", got["per_second"], "1/s", CORES / handshake)
        ocsp = ["--url", server.status + "/ocsp", "--issuer",
                os.path.join(server.dir, "ca/issuing.crt"), "--state", server.fleet_dir,
                "--duration", str(SECONDS), "--threads", "16", "--json"]
        static = json.loads(server.sim("http-bench", "--url", server.status + "/healthz",
                                       "--duration", str(SECONDS), "--threads", "16",
                                       "--json").stdout)["per_second"]
        report("static", static, "1/s")
        got = json.loads(server.sim("ocsp-bench", *ocsp).stdout)
        report("ocsp-cached", got["per_second"], "1/s", static)
        got = json.loads(server.sim("ocsp-bench", "--nonce", *ocsp).stdout)
        report("ocsp-live", got["per_second"], "1/s", CORES * rates["p256 sign"])
        report("peak-memory", peak(server), "MiB")
    print(f"{lines} passed, 0 failed, 0 skipped")


main()
