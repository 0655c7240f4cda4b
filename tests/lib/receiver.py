"""An endpoint for webhooks: records what comes, answers as it is told to."""
import base64
import hashlib
import hmac
import http.server
import json
import ssl
import subprocess
import threading


class Receiver:
    """`answer(n, event)` is called for each request, n counting from 0, and gives (status, headers,
    body), where body may be a function that writes to the connection itself."""

    def __init__(self, cert=None, key=None, port=0, answer=None):
        self.answer = answer or (lambda n, event: (204, {}, b""))
        self.got, self.lock = [], threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.handle(self)

            do_GET = do_PUT = do_POST

            def log_message(self, *args):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # a client that goes away, or does not like the certificate

        self.server = Quiet(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.scheme = "https" if cert else "http"
        if cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"{self.scheme}://localhost:{self.port}/hook?x=1"

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        with self.lock:
            n = len(self.got)
            event = json.loads(body)
            self.got.append({"method": request.command, "path": request.path,
                             "headers": dict(request.headers.items()), "body": body, "event": event})
        status, headers, answer = self.answer(n, event)
        request.send_response(status)
        for k, v in headers.items():
            request.send_header(k, v)
        if callable(answer):
            request.end_headers()
            answer(request.wfile)
            request.close_connection = True
            return
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def events(self, *types):
        with self.lock:
            return [g["event"] for g in self.got if not types or g["event"]["type"] in types]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def header(got, name):
    return next(v for k, v in got["headers"].items() if k.lower() == name)


def verified(got, secret):
    """As a receiver in Python would."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{header(got, 'webhook-id')}.{header(got, 'webhook-timestamp')}.".encode() + got["body"]
    wanted = "v1," + base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
    return any(hmac.compare_digest(wanted, s) for s in header(got, "webhook-signature").split(" "))


# Another reader of the same description: the signature header is a list of VERSION,BASE64, the key
# is what follows "whsec_", the text is ID.TIMESTAMP.BODY, five minutes of tolerance.
NODE = r"""
const crypto = require("crypto");
const lines = require("fs").readFileSync(0, "utf8").trim().split("\n");
for (const line of lines) {
  const m = JSON.parse(line);
  const key = Buffer.from(m.secret.slice("whsec_".length), "base64");
  const stamp = Number(m.headers["webhook-timestamp"]);
  if (!Number.isInteger(stamp) || Math.abs(Date.now() / 1000 - stamp) > 300) {
    console.log("stale");
    continue;
  }
  const text = Buffer.concat([Buffer.from(`${m.headers["webhook-id"]}.${stamp}.`),
                              Buffer.from(m.body, "base64")]);
  const mine = crypto.createHmac("sha256", key).update(text).digest();
  const good = m.headers["webhook-signature"].split(" ").some((one) => {
    const [version, value] = one.split(",");
    const theirs = Buffer.from(value, "base64");
    return version === "v1" && theirs.length === mine.length &&
           crypto.timingSafeEqual(theirs, mine);
  });
  console.log(good ? "good" : "bad");
}
"""


def verified_by_node(requests, secret):
    """What Node's crypto says of each."""
    lines = "\n".join(json.dumps({
        "secret": secret, "headers": {k.lower(): v for k, v in got["headers"].items()},
        "body": base64.b64encode(got["body"]).decode()}) for got in requests)
    done = subprocess.run(["node", "-e", NODE], input=lines, capture_output=True, text=True,
                          timeout=60, check=True)
    return done.stdout.split()
