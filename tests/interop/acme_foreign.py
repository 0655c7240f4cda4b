"""Run by test_acme_clients.py with the interpreter that has certbot's library (python3-acme): drives an
ACME server by that library alone and prints what came of each step as JSON.

usage: acme_foreign.py DIRECTORY CA_FILE ALG EAB_KID EAB_HMAC IDENTIFIER [CERT_PEM KEY_PEM]"""
import json
import sys

import josepy as jose
import OpenSSL
from acme import client, errors, jws, messages
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

directory_url, ca_file, alg, kid, hmac_key, identifier = sys.argv[1:7]
ALGS = {"RS256": jose.RS256, "ES256": jose.ES256, "ES384": jose.ES384}


def new_key(name):
    if name == "RS256":
        return jose.JWKRSA(key=rsa.generate_private_key(65537, 2048, default_backend()))
    curve = ec.SECP256R1() if name == "ES256" else ec.SECP384R1()
    return jose.JWKEC(key=ec.generate_private_key(curve, default_backend()))


def connect(key, name):
    net = client.ClientNetwork(key, alg=ALGS[name], verify_ssl=ca_file, user_agent="interop")
    return net, client.ClientV2(client.ClientV2.get_directory(directory_url, net), net)


def refusal(call, *args):
    try:
        call(*args)
    except messages.Error as e:
        return e.code
    except errors.ConflictError as e:
        return "conflict " + e.location
    return None


out = {}
key = new_key(alg)
net, acme = connect(key, alg)
out["eab_required"] = acme.external_account_required()
binding = messages.ExternalAccountBinding.from_data(key.public_key(), kid, hmac_key, acme.directory)
ask = messages.NewRegistration.from_data(email="one@example.test", terms_of_service_agreed=True,
                                         external_account_binding=binding)
account = acme.new_account(ask)
out["account"] = account.uri
out["contact"] = list(account.body.contact)
out["again"] = refusal(connect(key, alg)[1].new_account, messages.NewRegistration.from_data())
account = acme.query_registration(account)
out["status"] = account.body.status
account = acme.update_registration(
    account, messages.Registration.from_data(email="two@example.test"))
out["updated"] = list(account.body.contact)
out["bad_contact"] = refusal(acme.update_registration, account,
                             messages.Registration(contact=("tel:+491",)))

# key change: the library has no call for it, but makes both signatures
turn = {"RS256": "ES384", "ES384": "ES256", "ES256": "RS256"}[alg]
fresh = new_key(turn)
url = acme.directory["keyChange"]
inner = jws.JWS.sign(
    json.dumps({"account": account.uri, "oldKey": key.public_key().to_partial_json()}).encode(),
    fresh, ALGS[turn], None, url)


class Inner(jose.JSONDeSerializable):
    def to_partial_json(self):
        return inner.to_partial_json()

    @classmethod
    def from_json(cls, jobj):
        raise NotImplementedError


acme._post(url, Inner())
out["old_key"] = refusal(acme.query_registration, account)
net, acme = connect(fresh, turn)
net.account = account
out["new_key"] = acme.query_registration(account).body.status

# orders: a name is refused, one of our identifiers is taken, listed and given up
request = OpenSSL.crypto.X509Req()
request.set_pubkey(OpenSSL.crypto.PKey.from_cryptography_key(
    rsa.generate_private_key(65537, 2048, default_backend())))
request.add_extensions([OpenSSL.crypto.X509Extension(b"subjectAltName", False, b"DNS:a.example")])
request.sign(OpenSSL.crypto.PKey.from_cryptography_key(
    rsa.generate_private_key(65537, 2048, default_backend())), "sha256")
out["dns"] = refusal(acme.new_order, OpenSSL.crypto.dump_certificate_request(
    OpenSSL.crypto.FILETYPE_PEM, request))
kind = messages.IdentifierType("permanent-identifier")
answer = acme._post(acme.directory["newOrder"], messages.NewOrder(
    identifiers=[messages.Identifier(typ=kind, value=identifier)]))
order = messages.Order.from_json(answer.json())
out["order"] = str(order.status)
listed = acme._post_as_get(account.uri + "/orders").json()["orders"]
out["listed"] = listed == [answer.headers["Location"]]
where = order.authorizations[0]
got = acme._authzr_from_response(acme._post_as_get(where), uri=where)
out["authz"] = str(got.body.status)
out["challenges"] = len(got.body.challenges)
out["deactivated"] = acme.deactivate_authorization(got).body.status.name

if len(sys.argv) > 7:
    with open(sys.argv[7], "rb") as f:
        cert = OpenSSL.crypto.load_certificate(OpenSSL.crypto.FILETYPE_PEM, f.read())
    with open(sys.argv[8], "rb") as f:
        own = serialization.load_pem_private_key(f.read(), None, default_backend())
    wrap = jose.ComparableX509(cert)
    out["revoke_foreign"] = refusal(acme.revoke, wrap, 0)
    name = "ES256" if own.curve.key_size == 256 else "ES384"
    _, by_key = connect(jose.JWKEC(key=own), name)
    out["revoke_reason"] = refusal(by_key.revoke, wrap, 6)
    out["revoke"] = refusal(by_key.revoke, wrap, 1)
    out["revoke_again"] = refusal(by_key.revoke, wrap, 1)

out["unregistered"] = acme.deactivate_registration(account).body.status
out["behind"] = refusal(acme.query_registration, account)
print(json.dumps(out))
