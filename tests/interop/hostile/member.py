"""A minion whose key is accepted and which means ill (or was deleted meanwhile).

Usage: member.py ADDRESS ID MINION_PEM STATE_FILE CASE; prints one JSON document with the replies.
"""

import json
import os
import secrets
import sys
import time

from salted import Private, ask, open_sealed, pack, raw, say, seal, sign_in, unpack

ADDRESS, ID, PEM, STATE, CASE = sys.argv[1:6]
KEY = Private(PEM)
TOKEN = KEY.x931(b"salt")
JID = "20260102030405000678"


def session():
    """The session of a sign-in that may have been in another life."""
    if not os.path.exists(STATE):
        inner = sign_in(ADDRESS, ID, KEY.public_pem())
        keys = {"session": KEY.decrypt(inner["session"]), "aes": KEY.decrypt(inner["aes"])}
        with open(STATE, "w", encoding="utf-8") as file:
            json.dump(keys, file)
    with open(STATE, encoding="utf-8") as file:
        return json.load(file)


def sealed(load, outer=ID, inner=ID, key=None, token=TOKEN, **more):
    """A sealed request, right unless told otherwise, and its nonce."""
    nonce = secrets.token_hex(16)
    load = {**load, "id": inner, "nonce": nonce, "ts": int(time.time()), "tok": token, **more}
    body = {"enc": "aes", "load": seal(key or session()["session"], load), "version": 3, "id": outer,
            "enc_algo": "OAEP-SHA1", "sig_algo": "PKCS1v15-SHA1"}
    return pack(body), nonce


def send(body, nonce):
    reply = ask(ADDRESS, body)
    if reply is None:
        return "no reply"
    value = unpack(reply)
    if not isinstance(value, (bytes, str)) or value in ("", "bad load"):
        return value
    try:
        return {"sealed": open_sealed(session()["session"], value, nonce)}
    except Exception as error:  # not for us
        return {"unreadable": str(error)}


def request(load, **more):
    return send(*sealed(load, **more))


def envs():
    return request({"cmd": "_file_envs"})


def impersonate():
    """Each command in the name of another minion."""
    out = {}
    keys = session()
    for cmd in ("_return", "_pillar", "_minion_event", "_mine", "_mine_get", "_mine_delete", "_mine_flush",
                "_master_opts", "_file_envs", "_serve_file", "_file_recv", "revoke_auth", "_ext_nodes",
                "minion_pub", "minion_publish", "pub_ret", "minion_runner", "_syndic_return"):
        load = {"cmd": cmd, "jid": JID, "fun": "test.ping", "return": "forged", "tag": "my/forged", "data": {},
                "grains": {}, "path": "x", "loc": 0}
        out[f"{cmd} inner"] = request(load, inner="min")
        out[f"{cmd} both"] = request(load, inner="min", outer="min")
        out[f"{cmd} outer"] = request(load, outer="min")
        out[f"{cmd} no token"] = request(load, token=b"")
        out[f"{cmd} text token"] = request(load, token="salt")
        out[f"{cmd} shared key"] = request(load, key=keys["aes"])
    return out


MASTERS_TAGS = [
    f"salt/job/{JID}/new", f"salt/job/{JID}/ret/min", f"salt/job/{JID}/ret/evil", f"salt/run/{JID}/ret",
    f"salt/wheel/{JID}/new", "salt/auth", "salt/key", "key", "salt/presence/change", "salt/presence/present",
    "salt/minion/min/start", "salt/beacon/min/load/", "salt/cluster/peer/x", "cluster/peer", "salt/cloud/x/created",
    "salt/netapi/hook/x", "salt/stats/x", "salt/batch/1/new", "minion/refresh/min", JID, "syndic/x", "",
]


def events():
    out = {}
    for tag in MASTERS_TAGS:
        out[tag] = request({"cmd": "_minion_event", "tag": tag, "data": {"forged": True}})
        out["list " + tag] = request({"cmd": "_minion_event", "events": [{"tag": tag, "data": {"forged": True}}]})
    start, _, end = "salt/job/x/new".partition("/")
    out["pretag"] = request({"cmd": "_minion_event", "pretag": start, "events": [{"tag": end, "data": {"forged": "tail"}}]})
    out["good"] = request({"cmd": "_minion_event", "tag": "my/own", "data": {"forged": False}})
    return out


BAD_PATHS = ["../../../../../../tmp/evil", "/tmp/evil", "a/../../../evil", "..\\evil", "a\0b", "", ".", "/", 5, None]


def returns():
    """Job ids that are paths, pipes or nothing of the kind."""
    out = {}
    for jid in ["../../evil", "/tmp/evil", "x", "2026", JID + "/x", JID + "/../../x", "|id", 5, None, ["a"], JID + "\0",
                "9" * 21, "+" + JID[1:], " " + JID[1:]]:
        out[repr(jid)[:30]] = request({"cmd": "_return", "jid": jid, "fun": "test.ping", "return": 1, "retcode": 0, "success": True})
    return out


def files():
    out = {}
    for path in BAD_PATHS + ["salt://../../conf/master", "link", "link/passwd", "../pki/master.pem"]:
        for cmd in ("_serve_file", "_file_find", "_file_hash"):
            load = {"cmd": cmd, "path": path, "saltenv": "base", "env": "base", "loc": 0, "gzip": None}
            out[f"{cmd} {path!r:.40}"] = request(load)
        out[f"recv {path!r:.40}"] = request({"cmd": "_file_recv", "path": path, "data": b"evil", "loc": 0, "size": 4})
        out[f"recv list {path!r:.40}"] = request({"cmd": "_file_recv", "path": ["x", "..", "..", "evil"], "data": b"evil", "loc": 0, "size": 4})
    for env in ("../..", "/", "base/../..", 7):
        out[f"env {env}"] = request({"cmd": "_serve_file", "path": "conf/master", "saltenv": env, "loc": 0})
        out[f"list {env}"] = request({"cmd": "_file_list", "saltenv": env})
    return out


def record():
    """Sends an event, keeps the bytes, sends them again."""
    body, nonce = sealed({"cmd": "_minion_event", "tag": "my/recorded", "data": {"n": 1}})
    with open(STATE + ".bytes", "wb") as file:
        file.write(body)
    return {"first": send(body, nonce), "second": send(body, nonce), "third": send(body, nonce)}


def replay():
    with open(STATE + ".bytes", "rb") as file:
        body = file.read()
    reply = unpack(ask(ADDRESS, body))
    return {"again": reply if reply == "bad load" else "served"}


def old():
    """The same day's request, but from an hour ago (a ttl is set)."""
    return {"old": request({"cmd": "_file_envs"}, ts=int(time.time()) - 3600),
            "none": request({"cmd": "_file_envs"}, ts=None), "new": envs()}


say({f.__name__: f for f in (envs, impersonate, events, returns, files, record, replay, old)}[CASE]())
