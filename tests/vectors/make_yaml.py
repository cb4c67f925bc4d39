"""Writes yaml.json: what real Salt reads and prints. Run with the Python of a venv that has salt==3006.24.

What is read is given as Python's repr (tuples and sets as lists), what is printed as MessagePack in hex."""

import json
import pathlib

import salt.utils.msgpack
import salt.utils.yaml
import yaml

SCALARS = """
~ null Null NULL nULL none None yes Yes YES yEs no No NO true True TRUE tRue false False FALSE on On ON off Off OFF y Y n N
0 1 -1 +1 00 000 01 007 0644 0755 00644 -0644 +0644 0o644 0o7 08 09 089 0_7 0_ 1_000 1__0 _1 1_ -1_0 +1_0 12e3 0b101 0b 0b2 -0b11 0b1_0 0B1
0x1F 0xff 0xFF 0XFF 0x_f 0x -0x1f 0x1_0 0xg 190:20:30 1:30 1:60 01:30 0:30 1:5 1:05:9 -1:30 22:22 3:0_0 1:2:3:4 1:1:
9223372036854775807 9223372036854775808 -9223372036854775808 -9223372036854775809 18446744073709551616 0x8000000000000000
0xffffffffffffffffffffffffffffffffff 123456789012345678901234567890123456789012345678901234567890 0777777777777777777777777
1.0 1. .5 0.5 -.5 +.5 -0.5 +0.5 1.5e3 1.5e+3 1.5e-3 1.5E+03 1e5 1e+5 1.e+5 .5e+1 1_000.5 1.5_5 ._5 1._5 0.1 1.10 -0.0 1:30.5 1:30. 190:20:30.15
1:60.5 .inf .Inf .INF -.inf +.inf .iNf inf .nan .NaN .NAN -.nan nan . .. ... - -- + ++ +- = == << <<< < > 0.0 00.5 0644.5 1.2.3 10.1.2.3 1-2
1e16 1.0e+16 1.0e+400 123456789012345680.0 0.00001 1.0e-5 0.30000000000000004
2024-01-01 2024-1-1 2024-01-01T10:00:00Z 2024-1-1T1:00:00 2024-01-01t10:00:00.5+01:00 2001-12-14 12:30 2024-13-45 99-01-01
!!str=1 a:b http://x:80/ C:\\x *.sls a#b #x @x `x %x 'x' "x" "\\x41\\u00e9\\n" '' "" 'it''s' "tab\\there" $x a*b a&b
""".split()

MORE_SCALARS = [
    "2001-12-14 21:59:43.10 -5", "2001-12-14 21:59:43", "2024-01-01 ", "a b c", "a: b", "a # comment", "a #", "- x", "? x", ": x",
    "!!int 5", "!!int '5'", "!!int 0644", "!!int x", "!!int ''", "!!float 1", "!!float '1.5'", "!!float x", "!!float nan", "!!bool yes", "!!bool x",
    "!!null x", "!!null ''", "!!str 5", "!!str true", "!!str", "!!str 2024-01-01", "!!timestamp 2024-01-01", "!!timestamp x", "! 5", "! yes", "! '5'",
    "!!binary aGVsbG8=", "!!binary 'aGVs bG8='", "!!binary aA==", "!!binary aGk=", "!!binary é", "!!binary a", "!!python/unicode hello",
    "!!python/unicode 5", "!!python/object:os.system x", "!!python/object/apply:os.system ['id']", "!!python/tuple [1, 2]", "!!python/name:os.system",
    "!!python/str x", "!!python/none", "!foo x", "!!foo x", "!<tag:yaml.org,2002:int> 7", "!<x> 7", "!!set {a, b}", "!!set {a: null}", "!!set [a]",
    "!!omap [a: 1, b: 2]", "!!omap [a, b]", "!!omap {a: 1}", "!!pairs [a: 1, a: 2]", "!!pairs [{a: 1, b: 2}]", "!!seq [a]", "!!seq {a: 1}", "!!map {a: 1}",
    "!!map [a]", "!!map x", "!!seq x", "!!str [a]", "!!str {=: x}", "!!str {a: x}", "!!int {=: 5}", "!!merge x", "!!value x", "!!yaml x", "&a 5", "*a", "&a", "&a *a",
    "é", "日本", "😀", "\u2028", "a\u0085b", "a\u00a0b", "\ufeffa", "a\x00b", "a\x07b", "\x1b[0m", "a\x7fb", "\ud7ff", "\ufffe",
]

DOCS = [
    "", "\n", "# only a comment\n", "---\n", "--- \n...\n", "---\na: 1\n", "a: 1\n---\nb: 2\n", "---\n---\n", "...\n", "%YAML 1.1\n---\na: 1\n", "%YAML 1.2\n---\na: 1\n",
    "%FOO x\n---\na: 1\n", "%TAG !e! tag:yaml.org,2002:\n---\na: !e!int 5\n", "a: 1\nb: 2\n", "a: 1\na: 2\n", "a: 1\n'a': 2\n", "x:\n  a: 1\n  a: 2\n", "1: a\n1.0: b\n", "1: a\ntrue: b\n", "0: a\nfalse: b\n", "1: a\n'1': b\n",
    "null: a\n~: b\n", "null: 1\n", "? a\n: b\n", "? [a, b]\n: c\n", "? {a: b}\n: c\n", "[a]: b\n", "{a: b}: c\n", "{{ x }}: y\n", "a: {{ x }}\n", "a: b: c\n", "a: [1, 2\n", "a: {b: 1\n", "a: ]\n",
    "a:\n  - 1\n  - 2\n", "a:\n- 1\n- 2\n", "- - 1\n  - 2\n- 3\n", "- a: 1\n  b: 2\n- c\n", "a:\n\tb: 1\n", "a: \tb\n", "a:\tb\n", "\ta: 1\n", "a:b\n", "a :b\n", "a : b\n", "a:\nb:\n", "a: 'x\n  y'\n", 'a: "x\n\n  y"\n', 'a: "x\\\n  y"\n', "a: x\n  y\n  z\n", "a: x\ny\n",
    "a: |\n  x\n  y\n", "a: |-\n  x\n  y\n", "a: |+\n  x\n\n\nb: 1\n", "a: >\n  x\n  y\n\n  z\n", "a: >-\n  x\n  y\n", "a: |2\n   x\n  y\n", "a: |\n", "a: |\n\n\n", "a: >+\n\n", "a: |\n  x\n z\n",
    "base: &b {x: 1, y: 2}\nd:\n  <<: *b\n  y: 3\n", "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc:\n  <<: [*a, *b]\n", "a: &a {x: 1}\nb: &b {z: 3}\nc:\n  <<: [*a, *b]\n  q: 1\n", "c:\n  <<: {x: 1}\n  <<: {y: 2}\n",
    "c:\n  <<: x\n", "c:\n  <<: [x]\n", "c:\n  <<: null\n", "c:\n  <<: []\n  a: 1\n", "c:\n  '<<': {x: 1}\n", "a: &a {<<: *a, x: 1}\n", "a: &x 1\nb: *x\n", "a: &x [1, 2]\nb: *x\nc: *x\n", "a: &x 1\nb: &x 2\n", "a: *x\n", "&a [*a]\n", "&a {k: *a}\n", "a: &a\n  b: *a\n",
    "a: &x\nb: *x\n", "&k key: v\n*k : w\n", "&k key: v\nb: *k\n", "a: =\n", "=: a\n", "a: <<\n", "<<: {a: 1}\nb: 2\n", "{a: 1, b}\n", "{a, b: }\n", "[a, b: c]\n", "[a, ]\n", "[, a]\n", "{}\n", "[]\n", "[[], {}]\n", "{? a : b}\n", "{a: 1, a: 2}\n",
    "{'a':1}\n", "{a:1}\n", '{"a":1}\n', "[a:1]\n", "a: - b\n", "a: ? b\n", "a: *b c\n", "a: @b\n", "a: `b\n", "a: %b\n", "a: !\n", "a: &\n", "a: |x\n", "'a\n", '"a\n', '"\\q"\n', '"\\x4"\n', "a: 'b' c\n", "a: \"b\" c\n", "a: [b] c\n", "- a\nb: c\n", "a: 1\n- b\n", "a: 1\n b: 2\n", "  a: 1\nb: 2\n", "a:\n  b: 1\n c: 2\n", "a:\n    b: 1\n  c: 2\n",
    "master:\n  - m1\n  - m2\nmaster_type: failover\nretry_dns: 0\n", "file_roots:\n  base:\n    - /srv/salt\n", "base:\n  '*':\n    - x\n  'G@os:Debian':\n    - match: compound\n    - y\n", "interface: 0.0.0.0\nipv6: False\n", "mode: 0644\ndate: 2024-01-01\nver: 1.10\nyes: no\n", "a: 1 # c\nb: '#'\n", "a: b#c\n", "key with space: v\n", "a: |\n  {% if x %}\n  y\n  {% endif %}\n",
    "a:\r\n  b: 1\r\n", "a: 1\rb: 2\r", "a: 'x\r\n  y'\n", "a: \u2028b\n", "a\u0085b: 1\n", "a: " + "x" * 2000 + "\n", "x" * 1025 + ": 1\n", "x" * 1024 + ": 1\n", "? " + "x" * 1025 + "\n: 1\n", "'" + "x" * 1025 + "': 1\n",
    "a: !!python/unicode x\n", "!!python/unicode a: 1\n", "? !!python/unicode a\n: 1\n", "a: !!str\nb: !!null\n", "a: !!set\n  ? x\n  ? y\n", "- !!omap\n  - a: 1\n", "!!map\na: 1\n", "a: !include x\n", "a: !!python/object/new:x.y {}\n", "!!python/object/apply:time.sleep [1]\n",
    "a: {b: {c: {d: [1, [2, [3]]]}}}\n", "- \n- \n", "-\n  a\n-\n  - b\n", "a: ''\nb: \"\"\nc:\n", "? \n: \n", "? a\n? b\n", ": a\n", "a:   \n  b\n", "a: \n\n\n  b: 1\n", "#c\n\na: 1\n#d\n", "a: '\n\n  b\n'\n", "{a: {b: c}, d: [e, f]}\n", "a: [\n1,\n2\n]\n", "a: {\nb: 1\n}\n", "a: 'b\nc'\n", "a: \"b\nc\"\n",
    "a: 12:30:45\nb: 1_000\n", "a: -\n", "a: - \n", "- -\n", "a: ---\n", "---a\n", "--- a\n", "--- |\n x\n", "a: b\n...\n", "a: b\n...\nc: d\n", "a: b\n... # x\n", "!!binary |\n  aGVs\n  bG8=\n", "a: 'b'\n'c': d\n", "a: {b: *c}\n", "[*a]\n", "a: \"b\\", "a: b\\", "a: |\n  x", "a: |\n  x\n  ", "a: |\n  x\n    ", "a: |+\n  x\n\n  ", "a: |-\n  x", "a: |-\n  x\n\n ", "a: >\n  x\n  y", "a: |\n  x\n# c", "a: |\n  x\n  # c", "a: |", "a: >+", "- |\n x\n- >\n y", "a: |\n  x\nb: c", "a: |+\n  x\n", "a: |\n\n", "a: |\n  x\r\n  y", "a: [x, |\n", "a > b", "a: |\n  x\n\u2028", "a: |\n  b\\", "\uff01: \uff01\n", "&a a: 1\n&b b: *a\n",
]

VALUES = [
    None, True, False, 0, -5, 2**63, 2**64 - 1, 1.0, 1e16, 1e17, 1.5e-7, 1e300, float("inf"), float("-inf"), float("nan"), 0.1, -0.0, "", " ", "a", "a b", " a", "a ", "\n", "a\n", "a\nb", "a\nb\n", "\na", "a\n\nb\n\n", "true", "yes", "y", "null", "~", "1", "0644", "1.5", "1e5", "2024-01-01", "2024-01-01 10:00:00", "=", "<<", "-", "- a", "?", "? a", ":", ": a", "a:", "a: b", "a:b", "#", "a #b", "a#b",
    "'", '"', "it's", 'say "x"', "'\"", "\\", "a\\b", "\t", "a\tb", "\x00", "\x1b[0m", "\x7f", "é", "日本", "😀", "\u2028", "\u00a0", "\ufeff", "\u200b", "%a", "@a", "`a", "!a", "&a", "*a", "*", "|", ">", "{a", "[a", "]", "}", ",", "a,b", "a, b", "[]", "{}", "---", "...", "--- a", "x" * 100, "word " * 30, "word " * 30 + "\nline two " * 10, "a" * 79 + " b", "long: " * 20, " lead\nline", "trail \nline", "é" * 60 + " " + "é" * 60, "a\r\nb", "\u0085", "a\u2029b", "1_000", "12:30:45", "0x1f", "0b1", "0o17", ".5", "-.5", "+1", "1.", ".inf", "on", "Off", "NO", "n", "None", "True",
    b"", b"abc", b"\xff\xfe" * 40, [], {}, [[]], [{}], [[], [[]]], {"a": []}, {"a": {}}, {"a": {"b": {}}}, [1, "a", None, True, 2.5], [[1, 2], [3, [4]]], [{"a": 1, "b": 2}, {"c": [1]}], {"b": 1, "a": 2}, {"a": {"c": [1, {"d": "e"}], "b": "x"}}, {1: "a", 2: "b"}, {10: 1, 9: 2}, {1: "a", "b": 2}, {None: 1}, {None: 1, "a": 2}, {True: 1, False: 0}, {True: 1, 0.5: 2, 3: 4}, {1.5: "x"}, {"": 1}, {" ": 1}, {"a b": 1}, {"a: b": 1}, {"x" * 130: 1}, {"x" * 120: 1}, {"a\nb": 1}, {"é": "é"}, {"a": "line1\nline2\n", "b": "x"}, {"yes": "no", "1": "2"}, {b"k": b"v"}, {"a": "x" * 200}, {"a": "word " * 40}, ["word " * 40], {"k": ["word " * 40, {"z": "a\nb"}]}, [["a"], "b"], {"a": [["x", "y"], {"m": 1, "n": [2, 3]}]}, {"a": None, "b": [None]}, {"a": "'"}, {"a": "- b"}, {"?": "!"}, {"-": "-"},
    {"*": ["a"]}, {"web-1": True, "db-1": False}, {"b": {"z": 1, "y": 2}, "a": [{"q": 1, "p": 2}]}, {"B": 1, "a": 2, "C": 3, "_": 4}, {"é": 1, "e": 2, "z": 3},
]


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, set):
        return sorted(plain(v) for v in value)
    return value


def load(text):
    try:
        return {"text": text, "value": repr(plain(salt.utils.yaml.safe_load(text)))}
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None) or getattr(err, "context_mark", None)
        return {"text": text, "error_line": mark.line + 1 if mark else None}
    except RecursionError:
        return {"text": text, "error_line": None}
    except Exception:  # a ValueError and its kin: Salt fails with them too
        return {"text": text, "error_line": None}


def main():
    texts = SCALARS + MORE_SCALARS
    cases = [load(t) for t in texts]
    cases += [load(f"k: {t}\n") for t in texts]
    cases += [load(f"- {t}\n") for t in texts[:300]]
    cases += [load(f"[{t}]\n") for t in texts]
    cases += [load(f"{t}: v\n") for t in texts]
    cases += [load(f"'{t}'\n") for t in SCALARS[:40]]
    cases += [load(t) for t in DOCS]
    seen = set()
    cases = [c for c in cases if not (c["text"] in seen or seen.add(c["text"]))]
    dumps = []
    for value in VALUES + [[v] for v in VALUES if not isinstance(v, (list, dict))] + [{"k": v} for v in VALUES]:
        for indent in (None, 4, -1, 0):
            if indent is None:
                params = {"default_flow_style": False}
            elif indent >= 0:
                params = {"default_flow_style": False, "indent": indent}
            else:
                params = {"default_flow_style": True, "indent": 0}
            if indent is not None and not isinstance(value, (list, dict)):
                continue
            dumps.append({"value_hex": salt.utils.msgpack.packb(value, use_bin_type=True).hex(), "repr": repr(value), "indent": indent, "text": salt.utils.yaml.safe_dump(value, **params)})
    out = {"source": "salt 3006.24, PyYAML " + yaml.__version__, "load": cases, "dump": dumps}
    path = pathlib.Path(__file__).with_name("yaml.json")
    path.write_text(json.dumps(out, indent=0, ensure_ascii=True) + "\n")
    print(len(cases), len(dumps))


main()
