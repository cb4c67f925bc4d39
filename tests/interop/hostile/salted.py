"""The wire of Salt in the hands of somebody who misuses it: keys, seals and envelopes, made with
the installed Salt's own library, so that nothing of the programs under test is used."""

import json
import os
import secrets

import msgpack
import salt.crypt
import zmq
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from salt.utils.rsax931 import RSAX931Signer

CONTEXT = zmq.Context()


def pack(value):
    return msgpack.packb(value, use_bin_type=False)


def unpack(data):
    return msgpack.unpackb(data, raw=False, strict_map_key=False, unicode_errors="surrogateescape")


def raw(value):
    """Bytes of something that `unpack` may have taken for text."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def seal(key, value, nonce=None):
    return salt.crypt.Crypticle({}, key).dumps(value, nonce=nonce)


def open_sealed(key, data, nonce=None):
    return salt.crypt.Crypticle({}, key).loads(raw(data), nonce=nonce)


def new_key():
    return salt.crypt.Crypticle.generate_key_string()


class Private:
    """An RSA key pair, in a file when it has a name."""

    def __init__(self, path=None):
        if path and os.path.exists(path):
            with open(path, "rb") as file:
                self.key = serialization.load_pem_private_key(file.read(), None)
        else:
            self.key = rsa.generate_private_key(65537, 2048)
            if path:
                with open(path, "wb") as file:
                    file.write(self.pem())
        self.public = self.key.public_key()

    def pem(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )

    def public_pem(self):
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.public.public_bytes(serialization.Encoding.PEM, form).decode().strip()

    def sign(self, data):
        return _with(salt.crypt.PrivateKey, self.key).sign(data)

    def decrypt(self, data):
        return _with(salt.crypt.PrivateKey, self.key).decrypt(raw(data)).decode()

    def x931(self, data):
        return RSAX931Signer(self.pem()).sign(data)


def _with(kind, key):
    made = kind.__new__(kind)
    made.key = key
    return made


def encrypt_to(pem, data):
    key = serialization.load_pem_public_key(pem.encode())
    return _with(salt.crypt.PublicKey, key).encrypt(data)


def ask(address, body, wait=10000):
    """One request; the reply as it came, or None."""
    sock = CONTEXT.socket(zmq.REQ)
    sock.linger = 0
    sock.connect(f"tcp://{address}:4506")
    try:
        sock.send(body)
        return sock.recv() if sock.poll(wait) else None
    finally:
        sock.close()


def auth_load(id_, public_pem):
    return {
        "cmd": "_auth", "id": id_, "nonce": secrets.token_hex(16), "enc_algo": "OAEP-SHA1",
        "sig_algo": "PKCS1v15-SHA1", "pub": public_pem,
    }


def sign_in(address, id_, public_pem):
    """The inner map of the master's answer to a sign-in."""
    load = auth_load(id_, public_pem)
    reply = unpack(ask(address, pack({"enc": "clear", "load": load, "version": 3})))
    return unpack(raw(reply["load"]))


def show(value):
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, dict):
        return {str(k): show(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [show(v) for v in value]
    return value


def say(value):
    print(json.dumps(show(value)), flush=True)
