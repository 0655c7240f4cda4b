"""The demo behind contrib/demo: a server, a fleet, and with --check each promise verified."""
import json
import os
import re
import signal
import subprocess
import sys
import time

from testudo import Server, program, run, wait_for

DEVICES = 20
MDM_FAULTS = {"notnow", "repeated-uuid", "unknown-uuid", "undecodable-result"}
REASONS = {
    "wrong-key": "csr-key-mismatch", "csr-other-key": "csr-key-mismatch",
    "stale-freshness": "freshness-mismatch", "missing-freshness": "freshness-missing",
    "foreign-ca": "chain-untrusted", "wrong-serial": "serial-mismatch",
    "unlisted-serial": "device-not-listed", "replayed-client-identifier": "client-id-used",
    "empty-x5c": "attestation-missing", "reused-invitation": "invitation-used",
}


def inventory(path):
    """Twenty devices of a small company, as HR would export them."""
    models = ["iPhone15,2", "iPhone16,1", "Mac15,3", "Mac14,2"]
    people = ["ada", "grace", "edsger", "barbara", "donald"]
    with open(path, "w", encoding="utf-8") as f:
        f.write("serial,name,model,owner\n")
        for i in range(DEVICES):
            owner = people[i % len(people)]
            f.write(f'DEMO{i:06d},{owner}-{i},"{models[i % len(models)]}",{owner}@example.org\n')


class Check:
    """The steps of --check; each prints one line with its figure or says what failed."""

    def __init__(self, server, csv):
        self.server, self.csv, self.began = server, csv, time.monotonic()
        self.passed = 0

    def step(self, what, action):
        began = time.monotonic()
        try:
            figure = action()
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as trouble:
            print(f"FAILED  {what}: {trouble}")
            raise SystemExit(1) from trouble
        self.passed += 1
        print(f"ok      {what}: {figure} ({time.monotonic() - began:.1f} s)", flush=True)

    # --- the steps, in order ---

    def init_again(self):
        before = {f: open(os.path.join(self.server.dir, "ca", f), "rb").read()
                  for f in sorted(os.listdir(os.path.join(self.server.dir, "ca")))
                  if f.endswith((".key", ".crt"))}
        run(program("testudo"), "init", f"--dir={self.server.dir}")
        for name, content in before.items():
            with open(os.path.join(self.server.dir, "ca", name), "rb") as f:
                assert f.read() == content, f"{name} changed"
        return f"{len(before)} files of the CA unchanged"

    def import_inventory(self):
        with open(self.csv, "rb") as f:
            answer = self.server.api("POST", "/api/v1/inventory/import", f.read(),
                                     content_type="text/csv")
        assert answer.status == 200, answer
        assert answer.json["created"] == DEVICES, answer
        return f"{DEVICES} devices created"

    def enrol(self):
        summary = self.server.fleet(None, self.csv, "--threads", "8")
        assert summary["enrolled"] == DEVICES and summary["failed"] == 0, summary
        for serial in self.serials():
            certificate = self.server.certificates(serial)
            assert len(certificate) == 1 and certificate[0]["status"] == "good", certificate
        return f"{DEVICES} devices with attested certificates"

    def serials(self):
        return [f"DEMO{i:06d}" for i in range(DEVICES)]

    def command_each(self):
        uuids = {s: self.server.command(s, request_type="DeviceInformation",
                                        queries=["SerialNumber", "OSVersion", "DeviceName"])
                 for s in self.serials()}
        self.server.connect()
        for serial, uuid in uuids.items():
            answer = self.server.api("GET", f"/api/v1/devices/{serial}/commands/{uuid}").json
            assert answer["state"] == "acknowledged", answer
            assert answer["result"]["QueryResponses"]["SerialNumber"] == serial, answer
        return f"{len(uuids)} commands acknowledged"

    def faults(self):
        """Each misbehaviour the simulator knows; what it does to an enrolled device needs one."""
        listed = self.server.sim("fault", "--list").stdout.splitlines()
        for i, kind in enumerate(line.split()[0] for line in listed):
            serial = self.serials()[2] if kind in MDM_FAULTS else f"DEMOFAULT{i:03d}"
            done = self.server.sim("fault", "--kind", kind, *self.server.sim_args,
                                   "--put-inventory", "--state", self.server.fleet_dir,
                                   "--serial", serial, check=False)
            assert done.returncode == 0, f"{kind}: {done.stdout}{done.stderr}"
            if kind in REASONS:
                got = [a["reason"] for a in self.server.attempts(serial)
                       if a["outcome"] == "refused"]
                assert REASONS[kind] in got, f"{kind}: expected {REASONS[kind]}, got {got}"
        return f"{len(listed)} answered as they must be, {len(REASONS)} with their reason on record"

    def ocsp(self, serial):
        certificate = self.server.certificates(serial)[0]
        path = os.path.join(self.server.dir, "leaf.pem")
        with open(path, "w", encoding="ascii") as f:
            f.write(certificate["pem"])
        chain = os.path.join(self.server.dir, "ca", "issuing.crt")
        done = run("openssl", "ocsp", "-issuer", chain, "-cert", path, "-url",
                   f"{self.server.status}/ocsp", "-CAfile", self.server.root, check=False)
        assert "Response verify OK" in done.stderr, done.stderr
        return re.search(r"leaf\.pem: (\w+)", done.stdout).group(1)

    def leave(self):
        serial = self.serials()[0]
        assert self.ocsp(serial) == "good"
        answer = self.server.api("DELETE", f"/api/v1/inventory/devices/{serial}")
        assert answer.status == 204, answer
        assert self.ocsp(serial) == "revoked"
        done = json.loads(self.server.connect("--serial", serial, "--json").stdout)
        assert done["commands"] == 1 and done["removed"] == 1, done
        refused = self.server.api("POST", "/api/v1/invitations", {"serial": serial})
        assert refused.status == 404, refused
        return "openssl ocsp went from good to revoked, /mdm served RemoveProfile alone"

    def crash(self):
        serial = self.serials()[1]
        first = self.server.command(serial, request_type="SecurityInfo")
        second = self.server.command(serial, request_type="ProfileList")
        self.server.kill()
        self.server.start()
        self.server.connect("--serial", serial)
        for uuid in (first, second):
            answer = self.server.api("GET", f"/api/v1/devices/{serial}/commands/{uuid}").json
            assert answer["state"] == "acknowledged", answer
        return "both commands survived a SIGKILL and were acknowledged"

    def peak(self):
        with open(f"/proc/{self.server.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) // 1024

    def all(self):
        self.step("a second init destroys nothing", self.init_again)
        self.step("inventory from CSV", self.import_inventory)
        self.step("enrolment over the air", self.enrol)
        self.step("one command each", self.command_each)
        self.step("faults", self.faults)
        self.step("a device leaves", self.leave)
        self.step("crash between two commands", self.crash)
        self.step("peak memory", lambda: f"{self.peak()} MiB")
        self.step("clean stop", lambda: f"exit status {self.server.stop()}")
        print(f"{self.passed} steps in {time.monotonic() - self.began:.0f} s")
        print(f"{self.passed} passed, 0 failed, 0 skipped")


def show(server):
    print(f"""
Testudo runs.   API, enrolment, ACME  {server.public}
                MDM (devices)         {server.device}
                OCSP                  {server.status}
Administrator's token                 {server.token}
Root certificate                      {server.root}

Try:
  export T='Authorization: Bearer {server.token}'
  curl --cacert {server.root} -H "$T" '{server.public}/api/v1/devices?limit=3'
  curl --cacert {server.root} -H "$T" {server.public}/api/v1/devices/DEMO000003
  curl --cacert {server.root} -H "$T" {server.public}/api/v1/devices/DEMO000003/commands \\
       -H 'Content-Type: application/json' -d '{{"request_type":"SecurityInfo"}}'
  curl --cacert {server.root} -H "$T" -X DELETE {server.public}/api/v1/inventory/devices/DEMO000003
  curl --cacert {server.root} -H "$T" {server.public}/api/v1/devices/DEMO000003/certificates

The devices connect every 5 seconds. Interrupt with Ctrl-C.
""", flush=True)


def main():
    checking = "--check" in sys.argv[1:]
    server = Server()
    csv = os.path.join(server.dir, "devices.csv")
    inventory(csv)
    try:
        server.init()
        server.start()
        if checking:
            print(f"ok      server ready: {server.public}", flush=True)
            Check(server, csv).all()
            return 0
        with open(csv, "rb") as f:
            server.api("POST", "/api/v1/inventory/import", f.read(), content_type="text/csv")
        fleet = subprocess.Popen([program("testudo-sim"), "run", *server.sim_args, "--inventory",
                                  csv, "--state", server.fleet_dir, "--interval", "5", "--quiet"])
        wait_for("the fleet has enrolled", lambda: all_enrolled(server) or fleet.poll() is not None)
        if fleet.poll() is not None:
            return 1
        show(server)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            fleet.wait()
        except KeyboardInterrupt:
            fleet.terminate()
            fleet.wait()
        return 0
    finally:
        server.__exit__(SystemExit if sys.exc_info()[0] else None, None, None)


def all_enrolled(server):
    devices = server.api("GET", "/api/v1/devices?limit=100").json["devices"]
    return sum(d.get("state") == "enrolled" for d in devices) == DEVICES


if __name__ == "__main__":
    sys.exit(main())
