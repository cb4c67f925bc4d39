"""Writes targets_more.json: what the minion matchers of real Salt answer, beyond targets.json.
Run with the Python of a venv that has salt==3006.24."""

import json
import pathlib

import salt.loader
import salt.utils.minions

MINION = {
    "id": "web-01.example.com",
    "grains": {
        "os": "Ubuntu", "osrelease": 22.04, "osmajor": 22, "role": ["web", "cache"], "ipv4": ["127.0.0.1", "10.1.2.3"], "ipv6": ["::1", "fd00::5"],
        "a": {"b": {"c": "deep:val", "d": ["l1", {"m": "n", "o": ["p"]}]}}, "num": 5, "Case": "MiXed", "empty": "", "none": None, "flag": True, "off": False, "nested": {"x": {"y": {"z": "end"}}},
        "list": [{"k": "v1"}, {"k": "v2", "j": {"i": "h"}}, "plain", 7], "colon:key": "val", "emptymap": {}, "emptylist": [], "fqdn": "web-01.example.com", "pipe|x": "y", "uml": "Ärger", "multi": "a\nb", "sp ace": "b c", "ip_interfaces": {"eth0": ["10.1.2.3", "fe80::1"]}, "star": "*", "br": "[x]", "1": "one", "ver": "1.10",
    },
    "pillar": {"app": {"tier": "front", "list": ["x", "y"], "ports": {"http": 80}}, "k": "v:w", "secret": "S3cret", "globby": "f*"},
    "nodegroups": {"g1": "L@web-01.example.com,foo", "g2": "N@g1 and G@os:Ubuntu", "g3": ["web-*", "or", "db*"], "loop": "N@loop", "plain": "web-01.example.com db", "rx": "web-0[0-9].* zz", "neg": "not N@g1", "deep": "N@g2 or N@plain", "half": "N@none or web-*", "int": [1, 2], "bad": 5},
}

CASES = []
for t in """* ? web-01.example.com web-0?.* web-[!1]* web-[0-9]1.* web-[!a-z]1.* *.com *.COM w*e*b*m [w]eb* [] [ [!] web-01* w**m web-01.example.com* ?* web-[] ]1 web-\\01*""".split():
    CASES.append(("glob", t))
for t in ["web", "web-01.example.com$", "web-01.example.co$", ".*example", "example", "(web|db)-\\d\\d", "^web", "(?i)WEB", "WEB", "web-\\d{2}\\.", "web-\\d{3}", "[w]eb", "web-[[0]", "(", "*", "web.{,3}", "web\\Z", ".*\\.com\\Z", "(?P<x>w)eb", "(?=web)", "(?!web)", "w|x", "x|w", "", "\\w+-\\d+", "web-01|db$", "[^d]", "web-01\\.example\\.com\\b", "\\web"]:
    CASES.append(("pcre", t))
for t in ["web-01.example.com", "a,b", "web-01.example.com,b", " web-01.example.com", "a, web-01.example.com", "", ",", "web-01*", ["web-01.example.com"], [], ["a", 5], "a,web-01.example.com,b", "web-01.example.comm"]:
    CASES.append(("list", t))
PATHS = """os:Ubuntu os:ubuntu os:UBUNTU os:u* os:*u os: os:* os os:[uU]buntu OS:Ubuntu osrelease:22.04 osrelease:22* osmajor:22 osmajor:2? role:web role:cach? role:[wx]eb role:0 role:0:web role:1:cache role:-1:cache role:5:x role:web:x
a:b:c a:b:c:deep a:b:c:deep:val a:b:c:deep:* a:b a:* a:*:c a:b:* a:b:d:l1 a:b:d:m a:b:d:m:n a:b:d:o:p a:b:d:0:l1 a:b:d:1:m:n a:b:d:* a:x a:b:x a:*:x *:Ubuntu *:nothing *:b:c *:*:c *:*:*:deep* *:b *:y *:x:y:z:end *:x:*:z:end nested:*:*:z:end nested:*:y:z:end nested:*:*:end nested:*:end nested:x:y:z:END
list:k list:k:v1 list:k:v2 list:plain list:7 list:j:i:h list:j list:*:h list:0:k:v1 list:1:k:v2 list:2:plain list:9:x list:zz colon:key:val colon:key colon:* emptymap:* emptymap: emptylist:* emptylist: none:None none:none none:* none: flag:True flag:true flag:1 off:False num:5 num:5.0 num:* empty: empty:* Case:mixed Case:MIXED case:mixed uml:ärger uml:ÄRGER uml:*rger multi:a* multi:a?b ip_interfaces:eth0:fe80::1 ip_interfaces:eth0:10.1.2.3 ip_interfaces:*:fe80::1 ip_interfaces:eth0 ip_interfaces:eth*
star:* star:[*] br:[x] br:[[]x] 1:one ver:1.10 ver:1.1 :x : :: x: *: *:* *:*:*""".split()
for t in PATHS:
    CASES.append(("grain", t))
    CASES.append(("grain_pcre", t))
for t in ["os:^ubuntu$", "os:bun", "os:U.*", "os:(ubuntu|debian)", "os:(", "role:^w", "role:(web|x)$", "num:\\d", "num:\\D", "a:b:c:deep:v.l", "ver:1\\.10", "br:\\[x\\]", "*:^ubuntu$", "list:k:v[12]", "osrelease:22\\.0[0-9]", "multi:a.b", "multi:(?s)a.b", "os:\\Ubuntu", "os:Ubuntu\\Z"]:
    CASES.append(("grain_pcre", t))
for t in ["app:tier:front", "app:tier:FRONT", "app:tier:f*", "app:list:x", "app:list:z", "app:ports:http:80", "app:ports:http:8?", "app:ports", "app:*:http", "app:*:http:80", "k:v:w", "k:v*", "k:v", "secret:s3cret", "globby:f*", "globby:f[*]", "*:front", "*:tier:front", "app", "none:x"]:
    for kind in ("pillar", "pillar_pcre", "pillar_exact"):
        CASES.append((kind, t))
for t in ["10.1.2.3", "10.1.2.4", "127.0.0.1", "10.0.0.0/8", "10.1.2.3/32", "10.1.2.2/31", "10.1.2.3/31", "0.0.0.0/0", "10.1.0.0/255.255.0.0", "10.1.0.0/0.0.255.255", "10.1.0.0/255.0.255.0", "::1", "fd00::/8", "fd00::/16", "fd00::5/128", "::/0", "fd00::5/64", "FD00::5", "fd00:0::5", "x", "", "10.1.2", "10.1.2.3/33", "10.1.2.0/", "/8", "010.1.2.3", "10.1.2.3 ", 5]:
    CASES.append(("ipcidr", t))
for t in ["web-*", "web-* and G@os:Ubuntu", "web-* or G@os:Debian", "db* or G@os:Ubuntu", "db* and G@os:Ubuntu", "not web-*", "not db*", "db* or web-* and G@os:Debian", "( db* or web-* ) and G@os:Debian", "( db* or web-* ) and G@os:Ubuntu", "db* and db* or web-*", "not db* and web-*", "not ( db* or web-* )", "not ( db* and web-* )", "web-* not db*", "web-* not web-*", "web-* and not not db*", "not not web-*", "not", "and", "or", "(", ")", "( )", "( web-* )", "( ( web-* ) )", "( web-*", "web-* )", "web-* db*", "web-* ( db* )", "( web-* ) ( db* )", "( and web-* )", "( or web-* )", "( not db* )", "( web-* and )", "web-* and and db*", "web-* or or db*", "web-* and or db*", "web-* or ( )", "( ) or web-*", "not ( )", "G@", "G@os", "G@os:", "G@os:Ubuntu ", "  web-*  and   G@os:Ubuntu ", "G@@os@Ubuntu", "G|@os|Ubuntu", "G|@os:Ubuntu", "P|@os|ub.*", "I/@app/tier/front", "J%@app%tier%fr.*", "L|@web-01.example.com", "S|@10.1.2.3", "E|@web", "G@colon:key:val", "P@os:^ubuntu$", "P@os:(", "P@os:( or web-*", "E@(", "web-* or E@(", "E@web", "E@eb", "L@web-01.example.com", "L@a,web-01.example.com", "L@a,b", "L@", "S@10.1.2.3", "S@10.0.0.0/8", "S@x", "S@x or web-*", "not S@x", "R@%x", "web-* or R@%x", "N@g1", "N@g2", "N@g3", "N@loop", "N@none", "N@plain", "N@rx", "N@neg", "N@deep", "N@half", "N@int", "N@bad", "not N@g1", "not N@none", "N@g1 and db*", "N@none or web-*", "web-* or N@none", "( N@none ) or web-*", "N@", "n@g1", "D@x:y", "I@app:tier:front", "I@app:tier:f*", "J@app:tier:fr", "J@app:tier:ont", "AND", "web-* AND db*", "(web-*)", "web-*,db*", "!web-*", "web-* & db*", "web-* | db*", "True", "False or web-*", "G@os:Ubuntu and G@role:web and not G@role:db and ( web-* or db-* )", "@", "X@web-*", "M@x", "E@web-.* and not E@.*-02.*", "L@web-01.example.com and not L@web-01.example.com", "G@*:Ubuntu", "I@*:tier:front", "G@ip_interfaces:eth0:fe80::1", ["web-*"], ["web-*", "and", "G@os:Ubuntu"], ["web-* and G@os:Ubuntu"], ["not", "db*"], ["G@sp ace:b c"], [], ["web-*", "and"], ["(", "web-*", ")"], 5, None]:
    CASES.append(("compound", t))
DELIMS = [("grain", "os|Ubuntu", "|"), ("grain", "os:Ubuntu", "|"), ("grain", "a|b|c|deep:val", "|"), ("grain", "a|b|c|deep*", "|"), ("grain", "a|*|c", "|"), ("grain", "a|*:c", "|"), ("grain", "colon:key|val", "|"), ("grain", "a::b::c", "::"), ("grain", "a||b||c", "||"), ("grain_pcre", "os|^ub", "|"), ("pillar", "k|v:w", "|"), ("pillar", "app|ports|http", "|"), ("pillar", "app|ports|http:80", "|"), ("pillar", "app|ports:http:80", "|"), ("grain", "*|Ubuntu", "|"), ("grain", "nested|x|y:z:end", "|"), ("grain", "nested|*:y:z:end", "|")]
CASES += DELIMS


def main():
    opts = dict(MINION, minion_id=MINION["id"], extension_modules="", __role="minion", fileserver_backend=[], file_roots={})
    import salt.config

    full = salt.config.DEFAULT_MINION_OPTS.copy()
    full.update(opts)
    matchers = salt.loader.matchers(full)
    out = []
    for case in CASES:
        tgt_type, tgt = case[0], case[1]
        kwargs = {"delimiter": case[2]} if len(case) > 2 else {}
        try:
            result = bool(matchers[f"{tgt_type}_match.match"](tgt, **kwargs))
        except Exception:  # the minion drops the job
            result = False
        entry = {"tgt_type": tgt_type, "tgt": tgt, "result": result}
        entry.update(kwargs)
        out.append(entry)
    path = pathlib.Path(__file__).with_name("targets_more.json")
    path.write_text(json.dumps(dict(MINION, source="salt 3006.24", cases=out), indent=0) + "\n")
    print(len(out), sum(c["result"] for c in out))


main()
