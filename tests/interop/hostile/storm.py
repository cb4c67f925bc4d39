"""Many sign-ins at a time, as when a master has died: storm.py ADDRESS NUMBER. Each id asks twice,
the second time without waiting for the answer to the first; prints how the ids were answered."""

import sys

import zmq
from salted import CONTEXT, Private, auth_load, pack, raw, say, unpack

WAIT = 60000


def main():
    address, number = sys.argv[1], int(sys.argv[2])
    public = Private().public_pem()
    poller, socks = zmq.Poller(), {}
    for index in range(number):
        for _ in range(2):
            sock = CONTEXT.socket(zmq.REQ)
            sock.linger = 0
            sock.connect(f"tcp://{address}:4506")
            load = auth_load(f"storm{index}", public)
            sock.send(pack({"enc": "clear", "load": load, "version": 3}))
            poller.register(sock, zmq.POLLIN)
            socks[sock] = index
    answered = {}
    while len(answered) < number:
        ready = poller.poll(WAIT)
        if not ready:
            break
        for sock, _ in ready:
            inner = unpack(raw(unpack(sock.recv())["load"]))
            answered[socks[sock]] = "accepted" if "pub_key" in inner else str(inner.get("ret"))
            poller.unregister(sock)
    verdicts = sorted(set(answered.values()))
    say({"answered": len(answered), "verdicts": verdicts})


main()
