"""What a stranger can throw at a master: an independent client (pyzmq, msgpack) that owns no key.

Usage: strangers.py ADDRESS CASE; prints one JSON document with the replies.
"""

import json
import os
import socket
import struct
import sys

import msgpack
import zmq

ADDRESS = sys.argv[1]
CONTEXT = zmq.Context()

AES_COMMANDS = (
    "verify_minion _master_tops _ext_nodes _master_opts _mine_get _mine _mine_delete _mine_flush "
    "_file_recv _pillar _minion_event _return _syndic_return minion_runner pub_ret minion_pub "
    "minion_publish revoke_auth _serve_file _file_find _file_hash _file_hash_and_stat _file_list "
    "_file_list_emptydirs _dir_list _symlink_list _file_envs _register_resources"
).split()
INTERNAL = "_prep_auth_info _send_pub __init__ __class__ get_method run_func _auth_impl clear_load".split()
BAD_IDS = ["../x", "a/b", "a\\b", "..", ".", "", "/etc/x", "a\0b", "x" * 300, 5, None, ["a"], {"a": 1}, ".hidden"]


def show(value):
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, dict):
        return {str(k): show(v) for k, v in value.items()}
    if isinstance(value, list):
        return [show(v) for v in value]
    return value


def ask(body, wait=10000):
    """One request; the reply, or None when there is none in time."""
    sock = CONTEXT.socket(zmq.REQ)
    sock.linger = 0
    sock.connect(f"tcp://{ADDRESS}:4506")
    try:
        sock.send(body)
        if not sock.poll(wait):
            return "no reply"
        reply = sock.recv()
        return show(msgpack.unpackb(reply, raw=False, strict_map_key=False, unicode_errors="replace"))
    finally:
        sock.close()


def pack(value):
    return msgpack.packb(value, use_bin_type=False)


def clear(load, version=3, enc="clear", **more):
    return pack({"enc": enc, "load": load, "version": version, **more})


def auth(id_, **more):
    load = {"cmd": "_auth", "id": id_, "nonce": "0" * 32, "enc_algo": "OAEP-SHA1",
            "sig_algo": "PKCS1v15-SHA1", "pub": PUB}
    load.update(more)
    return load


PUB = sys.argv[3] if len(sys.argv) > 3 else "nonsense"


def malformed():
    bodies = {
        "empty": b"", "text": b"hello", "truncated": b"\x83\xa3enc", "number": pack(5), "list": pack([1]),
        "no enc": pack({"load": {}, "version": 3}), "no load": pack({"enc": "clear", "version": 3}),
        "load text": clear("x"), "load list": clear([1]), "aes map load": clear({"cmd": "x"}, enc="aes"),
        "deep": b"\x91" * 5000 + b"\xc0", "huge announced": b"\xdd\x7f\xff\xff\xff",
    }
    return {name: ask(body) for name, body in bodies.items()}


def enc():
    event = {"cmd": "_minion_event", "id": "min", "tag": "evil/event", "data": {"x": 1}}
    return {repr(e): ask(clear(event, enc=e, id="min")) for e in ("aes2", "pickle", "CLEAR", "", None, 1, "clear ")}


def versions():
    ping = {"cmd": "ping"}
    out = {repr(v): ask(clear(ping, version=v)) for v in (0, 1, 2, -1, "2", "x", None, 2.9, [3])}
    out["missing"] = ask(pack({"enc": "clear", "load": ping}))
    out["3"] = ask(clear(ping))
    return out


def names():
    """Every method name there is, unauthenticated."""
    return {cmd: ask(clear({"cmd": cmd, "id": "min", "fun": "test.ping", "path": "/etc/passwd", "saltenv": "base"}))
            for cmd in AES_COMMANDS + INTERNAL}


def sealed():
    """Every method with a sealed load that nobody can open, for known and unknown ids."""
    return {f"{id_} {cmd}": ask(clear(os.urandom(64), enc="aes", id=id_, cmd=cmd))
            for id_ in ("min", "ghost") for cmd in ("_return", "_pillar")}


def ids():
    out = {}
    for id_ in BAD_IDS:
        out["auth " + repr(id_)[:20]] = ask(clear(auth(id_)))
        out["aes " + repr(id_)[:20]] = ask(clear(os.urandom(64), enc="aes", id=id_))
    return out


def auths():
    out = {"good pub pending": ask(clear(auth("stranger")))}
    for name, more in {
        "bad sig": {"sig_algo": "MD5"}, "bad enc": {"enc_algo": "none", "token": b"x" * 256}, "no pub": {"pub": None},
        "pub garbage": {"pub": "garbage"}, "pub huge": {"pub": "A" * 900000}, "nonce int": {"nonce": 5},
        "grains": {"autosign_grains": {"a": ["b"]}},
    }.items():
        out[name] = ask(clear(auth("stranger", **more)))
    return out


def commands():
    """Publish, runner and wheel without the key, with wrong ones, with wrong types."""
    out = {}
    for key in (None, "", "x", "A" * 76, 5, ["a"]):
        for cmd in ("publish", "runner", "wheel", "publish_batch"):
            for user in ("root", "sudo_x", "nobody", 7):
                load = {"cmd": cmd, "fun": "key.accept" if cmd == "wheel" else "test.ping", "tgt": "*", "arg": [],
                        "tgt_type": "glob", "ret": "", "jid": "", "key": key, "user": user, "match": "*",
                        "fun_args": [], "kwarg": {}}
                out[f"{cmd} {key!r:.8} {user}"] = ask(clear(load))
    out["token"] = ask(clear({"cmd": "mk_token", "eauth": "pam", "username": "root", "password": "x"}))
    out["get"] = ask(clear({"cmd": "get_token", "token": "../../../etc/passwd"}))
    return out


def flood():
    """Ten thousand malformed packets over one connection, answered or dropped, but served."""
    sock = CONTEXT.socket(zmq.DEALER)
    sock.linger = 0
    sock.connect(f"tcp://{ADDRESS}:4506")
    for number in range(10000):
        sock.send_multipart([b"", os.urandom(40) if number % 2 else clear({"cmd": "nothing"}, version=number % 3)])
    answered = 0
    while sock.poll(2000):
        sock.recv_multipart()
        answered += 1
    sock.close()
    return {"answered": answered, "ping": ask(clear({"cmd": "ping"}))}


GREETING = b"\xff" + b"\0" * 8 + b"\x7f\x03\x01NULL" + b"\0" * 48


def raw():
    """Below ZeroMQ: garbage, HTTP, announced lengths, silence."""
    out, idle = {}, []
    for port in (4505, 4506):
        for name, data in {
            "garbage": os.urandom(65536), "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "zeros": b"\0" * 4096,
            "8 GiB": GREETING + b"\x02" + struct.pack(">Q", 8 << 30) + b"x" * 100,
            "2^62": GREETING + b"\x02" + struct.pack(">Q", 1 << 62) + b"x" * 100,
            "half greeting": GREETING[:20],
        }.items():
            sock = socket.create_connection((ADDRESS, port))
            try:
                sock.sendall(data)
                sock.settimeout(45)
                while sock.recv(65536):
                    pass
                out[f"{port} {name}"] = "closed"
            except (ConnectionError, BrokenPipeError):
                out[f"{port} {name}"] = "closed"
            except TimeoutError:
                out[f"{port} {name}"] = "still open"
            finally:
                sock.close()
        idle += [socket.create_connection((ADDRESS, port)) for _ in range(50)]
    out["ping among 100 silent ones"] = ask(clear({"cmd": "ping"}))
    return out


print(json.dumps({f.__name__: f for f in (malformed, enc, versions, names, sealed, ids, auths, commands, flood, raw)}[sys.argv[2]]()))
