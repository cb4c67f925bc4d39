"""Programs that pretend to be a master, or are one that means ill.

Usage: impostor.py KEY_PEM JOURNAL ATTACK ADDRESS... [-- REAL_ADDRESS MINION_PUB]

Listens on Salt's ports of each address; every thing worth knowing becomes a JSON line in JOURNAL.
"""

import base64
import json
import os
import secrets
import sys
import threading
import time

import zmq

from salted import (CONTEXT, Private, encrypt_to, new_key, open_sealed, pack, raw, seal, sign_in, show, unpack)

ARGS = sys.argv[1:]
REAL = ARGS[ARGS.index("--") + 1:] if "--" in ARGS else []
KEY_FILE, JOURNAL, ATTACK, *ADDRESSES = ARGS[:ARGS.index("--")] if REAL else ARGS
OWN = Private(KEY_FILE)
OTHER = Private()
LOCK = threading.Lock()
MEGABYTE = "A" * 1_000_000


def note(**what):
    with LOCK, open(JOURNAL, "a", encoding="utf-8") as file:
        file.write(json.dumps(show(what)) + "\n")


def accepted(load, **changes):
    """The inner map of a right answer to a sign-in, of a master that is not trusted."""
    aes, session = new_key(), new_key()
    inner = {
        "enc": "pub", "pub_key": OWN.public_pem(), "publish_port": 4505,
        "aes": encrypt_to(load["pub"], aes.encode()), "session": encrypt_to(load["pub"], session.encode()),
        "sig": OWN.x931(hash_of(aes)), "nonce": load["nonce"],
    }
    if "token" in load:
        try:
            inner["token"] = encrypt_to(load["pub"], OWN.decrypt(load["token"]).encode())
        except ValueError:  # sealed for another master
            pass
    inner.update(changes)
    return {k: v for k, v in inner.items() if v is not ...}, aes, session


def hash_of(aes):
    import hashlib

    return hashlib.sha256(aes.encode()).hexdigest().encode()


def signed(inner, key=OWN, **outer):
    data = pack(inner)
    return pack({"enc": "clear", "load": data, "sig": key.sign(data), **outer})


def pub_sig(key=OTHER, text=None):
    return base64.encodebytes(key.sign((text or OWN.public_pem()).encode())).decode()


def answer(load, **changes):
    return signed(accepted(load, **changes)[0])


def of_real():
    """What the real master tells everybody: its key and the signature over it."""
    with open(REAL[1], encoding="utf-8") as file:
        inner = sign_in(REAL[0], "min", file.read().strip())
    return {"pub_key": inner["pub_key"], "pub_sig": inner["pub_sig"]}


# Refusals nobody has to believe (CVE-2022-22935), and answers that are none.
REFUSALS = {
    "unsigned rejected": lambda load: pack({"enc": "clear", "load": {"ret": False}}),
    "unsigned pending": lambda load: pack({"enc": "clear", "load": {"ret": True}}),
    "unsigned full": lambda load: pack({"enc": "clear", "load": {"ret": "full"}}),
    "bytes unsigned": lambda load: pack({"enc": "clear", "load": pack({"ret": False, "nonce": load["nonce"]})}),
    "bytes sig empty": lambda load: pack({"enc": "clear", "load": pack({"ret": False, "nonce": load["nonce"]}), "sig": b""}),
    "wrong nonce": lambda load: signed({"ret": False, "nonce": "0" * 32}),
    "signed by another": lambda load: signed({"ret": False, "nonce": load["nonce"]}, OTHER),
    "bad algorithms": lambda load: pack({"enc": "clear", "load": {"ret": "bad sig algo"}}),
    "cluster": lambda load: pack({"enc": "clear", "load": {"ret": False, "cluster_retry": True}}),
    "empty": lambda load: b"",
    "bad load": lambda load: pack("bad load"),
    "number": lambda load: pack(7),
    "truncated": lambda load: b"\x83\xa3enc",
    "announces much": lambda load: b"\xdd\x7f\xff\xff\xff",
    "deep": lambda load: b"\x91" * 100_000 + b"\xc0",
    "five megabytes": lambda load: os.urandom(5_000_000),
}

# Sign-ins of somebody who is not one of ours (N-1, N-3, N-4, N-5, N-11).
CLAIMS = {
    "own key": lambda load: answer(load),
    "own signature": lambda load: answer(load, pub_sig=pub_sig(OWN)),
    "other signature": lambda load: answer(load, pub_sig=pub_sig(OTHER)),
    "signature of the real key": lambda load: answer(load, pub_sig=of_real()["pub_sig"]),
    "real key, own outer signature": lambda load: answer(load, **of_real()),
    "real key, no outer signature": lambda load: pack({"enc": "clear", "load": pack(accepted(load, **of_real())[0])}),
    "real key, outer algorithm": lambda load: signed(accepted(load, **of_real())[0], sig_algo="none"),
    "malformed base64": lambda load: answer(load, pub_sig="%%% no base64 %%%"),
    "pub_sig number": lambda load: answer(load, pub_sig=5),
    "pub_sig list": lambda load: answer(load, pub_sig=["x"]),
    "pub_sig megabyte": lambda load: answer(load, pub_sig=MEGABYTE),
    "pub_sig empty": lambda load: answer(load, pub_sig=""),
    "pub_key megabyte": lambda load: answer(load, pub_key=MEGABYTE, pub_sig=pub_sig()),
    "pub_key number": lambda load: answer(load, pub_key=5, pub_sig=pub_sig()),
    "pub_key private": lambda load: answer(load, pub_key=OTHER.pem().decode(), pub_sig=pub_sig()),
    "pub_key missing": lambda load: answer(load, pub_key=..., pub_sig=pub_sig()),
    "aes number": lambda load: answer(load, aes=1, pub_sig=pub_sig()),
    "aes megabyte": lambda load: answer(load, aes=MEGABYTE.encode(), pub_sig=pub_sig()),
    "aes missing": lambda load: answer(load, aes=..., pub_sig=pub_sig()),
    "session list": lambda load: answer(load, session=[1], pub_sig=pub_sig()),
    "sig missing": lambda load: answer(load, sig=..., pub_sig=pub_sig()),
    "nonce missing": lambda load: answer(load, nonce=..., pub_sig=pub_sig()),
    "port text": lambda load: answer(load, publish_port="x" * 100, pub_sig=pub_sig()),
    "port huge": lambda load: answer(load, publish_port=1 << 40, pub_sig=pub_sig()),
    "bad sig algo": lambda load: pack({"enc": "clear", "load": {"ret": "bad sig algo"}}),
    "bad enc algo": lambda load: pack({"enc": "clear", "load": {"ret": "bad enc algo"}}),
}


def serve_variants(variants):
    """One wrong answer on each address, in their order."""
    poller, served = zmq.Poller(), {}
    for address, (name, make) in zip(ADDRESSES, variants.items(), strict=True):
        pub = CONTEXT.socket(zmq.PUB)
        pub.bind(f"tcp://{address}:4505")
        sock = CONTEXT.socket(zmq.ROUTER)
        sock.bind(f"tcp://{address}:4506")
        poller.register(sock)
        served[sock] = (name, make, pub)
    note(ready=True)
    while True:
        for sock, _ in poller.poll():
            name, make, _ = served[sock]
            peer, _, body = sock.recv_multipart()
            envelope = unpack(body)
            load = envelope["load"]
            note(variant=name, asked=load.get("cmd") if isinstance(load, dict) else "sealed")
            if isinstance(load, dict) and load.get("cmd") == "_auth":
                sock.send_multipart([peer, b"", make(load)])
            else:
                sock.send_multipart([peer, b"", pack("bad load")])


class Master:
    """A master of one minion that does everything right but what the attack says."""

    def __init__(self):
        self.requests = CONTEXT.socket(zmq.ROUTER)
        self.requests.bind(f"tcp://{ADDRESSES[0]}:4506")
        self.publications = CONTEXT.socket(zmq.PUB)
        self.publications.bind(f"tcp://{ADDRESSES[0]}:4505")
        self.aes, self.session, self.pub = new_key(), new_key(), None
        self.serial, self.starts, self.pillars, self.recorded = 0, 0, 0, []
        note(ready=True)
        note(secret=self.aes)
        note(secret=self.session)

    def run(self):
        while True:
            peer, _, body = self.requests.recv_multipart()
            envelope = unpack(body)
            load = envelope["load"]
            if isinstance(load, dict):
                reply = self.clear(load)
            else:
                load = open_sealed(self.session, load)
                reply = self.sealed(load)
            self.requests.send_multipart([peer, b"", reply])
            if isinstance(load, dict) and str(load.get("tag")).endswith("/start") and load["tag"].startswith("salt/minion/"):
                self.starts += 1
                note(start=self.starts)
                globals()["at_start_" + ATTACK](self)

    def clear(self, load):
        if load["cmd"] != "_auth":
            return pack(load)
        self.pub = load["pub"]
        inner, _, _ = accepted(
            load, aes=encrypt_to(self.pub, self.aes.encode()), session=encrypt_to(self.pub, self.session.encode()),
            sig=OWN.x931(hash_of(self.aes)))
        return signed(inner)

    def sealed(self, load):
        cmd, nonce = load["cmd"], load["nonce"]
        if cmd == "_return":
            note(returned=load["jid"], value=load["return"])
            if ATTACK == "pillars" and self.pillars > 11 and load["return"] != "good":
                time.sleep(0.1)
                self.publish(self.job("what it has", fun="pillar.get", arg=["word"]))
        if cmd == "_pillar":
            self.pillars += 1
            return self.pillar(nonce)
        return pack(seal(self.session, {} if cmd != "_file_envs" else ["base"], nonce))

    def pillar(self, nonce):
        good = {"word": "good"}
        if ATTACK != "pillars":
            return self.private_pillar(nonce, good)
        bad = {"word": "forged"}
        tries = [
            lambda: self.private_pillar(nonce, bad, signer=OTHER),
            lambda: self.private_pillar(nonce, bad, sig=b""),
            lambda: self.private_pillar(nonce, bad, sig=...),
            lambda: self.private_pillar("0" * 32, bad),
            lambda: self.private_pillar(nonce, bad, inner_key=b"x" * 256),
            lambda: self.private_pillar(nonce, ["x"]),
            lambda: pack(seal(self.session, bad, nonce)),
            lambda: pack({"pillar": bad}),
            lambda: pack({"key": b"x" * 256, "pillar": seal(new_key(), bad)}),
            lambda: pack({"key": 5, "pillar": MEGABYTE}),
            lambda: os.urandom(200),
        ]
        if self.pillars <= len(tries):
            note(pillar=self.pillars)
            return tries[self.pillars - 1]()
        note(pillar="good")
        return self.private_pillar(nonce, good)

    def private_pillar(self, nonce, pillar, signer=OWN, sig=None, inner_key=None, **changes):
        once = new_key()
        key = encrypt_to(self.pub, once.encode())
        data = pack({"key": inner_key or key, "pillar": pillar, "nonce": nonce, **changes})
        blob = {"data": data, "sig": signer.sign(data) if sig is None else sig}
        return pack({"key": key, "pillar": seal(once, {k: v for k, v in blob.items() if v is not ...})})

    def job(self, name, fun="test.ping", jid=None, serial=None, arg=()):
        """A job map with a job id of its own; the id becomes known under `name`."""
        stamp = time.gmtime()
        jid = jid or time.strftime("%Y%m%d%H%M%S", stamp) + f"{secrets.randbelow(10**6):06}"
        if serial is None:
            self.serial += 1
            serial = self.serial
        note(published=name, jid=jid)
        return {"fun": fun, "arg": list(arg), "tgt": "*", "jid": jid, "ret": "", "tgt_type": "glob", "user": "root", "serial": serial}

    def publish(self, job, aes=None, signer=OWN, enc="aes", **outer):
        load = seal(aes or self.aes, job) if isinstance(job, dict) else job
        body = {"enc": enc, "load": load}
        if signer:
            body |= {"sig_algo": "PKCS1v15-SHA1", "sig": signer.sign(load)}
        body = {k: v for k, v in (body | outer).items() if v is not ...}
        payload = pack(body)
        self.publications.send(payload)
        return payload


def at_start_publications(master):
    """What others than the master can make who know the key all minions share (CVE-2017-7893)."""
    master.publish(master.job("unsigned"), signer=None)
    master.publish(master.job("signed by another"), signer=OTHER)
    master.publish(master.job("signature empty"), sig=b"")
    master.publish(master.job("signature list"), sig=["x"])
    master.publish(master.job("no algorithm"), signer=None, sig=b"x" * 256)
    master.publish(master.job("unknown algorithm"), sig_algo="none")
    master.publish(master.job("weak algorithm"), sig_algo="PKCS1v15-MD5")
    other = seal(master.aes, master.job("signature of another job"))
    master.publish(master.job("that signature"), sig=OWN.sign(other))
    master.publish(master.job("in the clear"), enc="clear")
    master.publications.send(pack({"enc": "clear", "load": master.job("clear map")}))
    for jid in ("../../evil", "/tmp/evil", "x", "|id", "2026", 5):
        master.publish(master.job("bad jid", jid=jid))
    job = master.job("no fun")
    master.publish({k: v for k, v in job.items() if k != "fun"})
    master.publish(master.job("deep fun", fun=["x", ["y"]]))
    for body in (b"", b"\xc1", os.urandom(500), b"\x91" * 50_000, b"\xdd\x7f\xff\xff\xff", pack([1]), pack({"enc": "aes", "load": 5})):
        master.publications.send(body)
    good = master.publish(master.job("good"))
    # The same bytes, and a new seal with a serial of the past.
    master.publications.send(good)
    master.publish(master.job("old serial", serial=1))
    master.publish(master.job("last"))


def at_start_replay(master):
    """Sends again, to the next run of the minion, what was recorded in the one before."""
    for payload in master.recorded:
        master.publications.send(payload)
    if master.recorded:
        master.publish(master.job("old serial", serial=1))
    master.recorded.append(master.publish(master.job(f"of start {master.starts}")))


def at_start_pillars(master):
    master.publish(master.job("what it has at first", fun="pillar.get", arg=["word"]))
    for _ in range(12):
        master.publish(master.job("refresh", fun="saltutil.refresh_pillar"))


if ATTACK == "refusals":
    serve_variants(REFUSALS)
elif ATTACK == "claims":
    serve_variants(CLAIMS)
elif ATTACK == "count":
    note(refusals=len(REFUSALS), claims=len(CLAIMS))
else:
    Master().run()
