"""Writes output.json: what the outputters of real Salt print. Run with the Python of a venv that has salt==3006.24.

Data is given as MessagePack in hex, `prints` are its texts; `options` are the options the text was printed with."""

import copy
import json
import pathlib

import salt.config
import salt.output
import salt.utils.msgpack

TEXT = "first line\nsecond line\n\nfourth"
DATA = [
    None, True, False, 0, 5, -1, 2**63, 1.0, 0.1, 1e16, 1e-7, float("inf"), "", " ", "text", TEXT, "trailing\n", "  lead", "trail  ", "\n", "a\r\nb\rc", "a\x0bb\x0cc\x1cd\x85e\u2028f", "tab\tx", "\x1b[31mred\x1b[0m", "é", "日本語 😀", "quote ' and \"", "back\\slash", "x" * 200,
    "word " * 40, "a-b " * 30 + "\n" + "c" * 90 + "\nend", b"", b"bytes", b"line\nline2\r\nx", b"\xff\xfe", b"\xff" * 60, [], {}, [[]], [{}], [1, "a", None, True, 2.5], ["a", ["b", ["c", ["d"]]]], [{"a": 1}, {"b": [1, 2]}], [TEXT, "x"], [[TEXT]], ["", "x"], [None], [{"a": TEXT}],
    {"minion": True}, {"minion": None}, {"minion": ""}, {"minion": "text"}, {"minion": TEXT}, {"minion": []}, {"minion": {}}, {"minion": [1, 2]}, {"minion": {"a": 1}}, {"minion": {"b": {"z": 1, "y": [1, {"q": "r"}, ["s", "t"]]}, "a": None}}, {"minion": 5.5}, {"m2": "b", "m1": "a"}, {"minion": {"é": "ü", "a b": "c:d"}},
    {"minion": {"pid": 12, "stdout": TEXT, "stderr": "", "retcode": 0}}, {"minion": {1: "a", 2: "b"}}, {"minion": {10: 1, 9: 2}}, {"minion": {1: "a", "b": 2}}, {"minion": {None: 1, "a": 2}}, {"minion": {True: 1, "x": 2}}, {"minion": {1.5: 1}}, {"minion": {b"k": b"v"}}, {"minion": b"\xff"}, {"minion": {"k": b"ok", "l": b"\xff\xfe"}}, {"minion": {"": ""}},
    {"minion": ["a\nb", "c"]}, {"minion": [[1, 2], [3, 4]]}, {"minion": [{"a": {"b": [{"c": "d"}]}}]}, {"minion": "x" * 300}, {"minion": ["y" * 100, "z" * 50]}, {"minion": {"key" * 10: "value " * 30, "other": list(range(60))}}, {"minion": {"a": {"b": {"c": {"d": {"e": {"f": "deep " * 20}}}}}}}, {"minion": {"n": [None, [None], {"x": None}]}},
    {"minion": "Minion did not return. [No response]"}, {"minion": [True, False, None, 1.5, "s"]}, {"minion": {"list": [], "map": {}, "text": ""}}, {"minion": {"bytes": b"x" * 100}}, {"minion": {"esc": "\x1b]0;x\x07", "\x1bkey": 1}}, {"minion": 2**64 - 1}, {"k" * 90: ["", "x", None]}, {"a": 1, "b": [1], "c": {"d": 2}}, {"minion": "a\u2028b\tc"}, {"minion": {"yes": "no", "1": "2", "null": "~"}},
    {"m": {"os": "Debian", "osrelease": "12", "ipv4": ["127.0.0.1"], "mem_total": 7953, "selinux": {"enabled": False, "enforced": "Disabled"}, "num_gpus": 0, "cpu_flags": ["fpu", "vme"] * 12}},
]

KEYS = [
    {"minions": ["b", "a"], "minions_denied": [], "minions_pre": [], "minions_rejected": []},
    {"minions": [], "minions_denied": ["d"], "minions_pre": ["p1", "p2"], "minions_rejected": ["r"]},
    {"minions_pre": ["p"]}, {"minions": {"a": "aa:bb", "b": "cc:dd"}}, {"local": {"master.pem": "11:22", "master.pub": "33:44"}}, {"local": [], "minions": []}, {"minions": ["\x1b[31m"]}, {}, {"other": ["x"]},
]

NO_RETURN = [{"m1": "Minion did not return"}, {"b": "x\ny", "a": {"c": "d"}}, "text", [1]]


def state(num, result, comment="ok", changes=None, **more):
    return dict({"__run_num__": num, "result": result, "comment": comment, "changes": changes or {}, "name": "n", "start_time": "10:00:00.123456", "duration": 12.345, "__sls__": "s", "__id__": "i"}, **more)


HIGHSTATE = [
    {"minion": {"file_|-/etc/motd_|-/etc/motd_|-managed": state(0, True)}},
    {"minion": {"file_|-motd_|-/etc/motd_|-managed": state(1, True, changes={"diff": "New file"}), "cmd_|-run_|-true_|-run": state(0, False, "failed\nbadly\n", {"pid": 1, "stdout": "a\nb", "retcode": 1})}},
    {"minion": {"pkg_|-x_|-x_|-installed": state(0, None, "would", {"x": {"new": "1", "old": ""}})}},
    {"minion": {"a_|-b_|-c_|-d": state(0, True, warnings=["careful with this", "and that " * 20])}},
    {"minion": {"a_|-b_|-c_|-d": state(0, True, warnings=["the option well-known-name is out of date -- use new-well-known-name instead--please", "  two  spaces\tand a tab, " + "x" * 100 + "-y " + "long-" * 20])}},
    {"minion": {"a_|-b_|-c_|-d": state(0, True, duration=1234.5), "e_|-f_|-g_|-h": state(1, True, duration="66.1 ms"), "i_|-j_|-k_|-l": state(2, True, duration=3000.0, __parallel__=True)}},
    {"minion": {f"test_|-s{i}_|-s{i}_|-nop": state(i, True) for i in range(12)}},
    {"minion": {"a_|-b_|-c_|-d": state(0, True, data={"k": "v"}), "a_|-b2_|-c_|-d": state(1, True, data=["x", 1]), "a_|-b3_|-c_|-d": state(2, True, data="y")}},
    {"minion": {"a_|-b_|-c_|-d": {"__run_num__": 0, "result": True, "comment": "", "changes": {}}}},
    {"minion": {"a_|-b_|-c_|-d": state(0, True, changes=["odd"])}},
    {"minion": {"a_|-b_|-c_|-d": state(0, True, changes={"ret": {"m2": {"e_|-f_|-g_|-h": state(0, True, changes={"x": 1})}}, "out": "highstate"})}},
    {"minion": {"a_|-b_|-c_|-d": state(0, True, changes={"ret": {"m2": "text"}})}},
    {"minion": ["Rendering SLS failed", "line two"]}, {"minion": "a text\nof two lines"}, {"minion": 5}, {"minion": True}, {"minion": None}, {"minion": {}}, {}, "text", None, ["x"], 5, {"m1": {"a_|-b_|-c_|-d": state(0, True)}, "m2": ["bad"]},
    {"data": {"m_master": {"a_|-b_|-c_|-d": state(0, True)}}, "outputter": "highstate", "retcode": 0}, {"return": {"m": {"a_|-b_|-c_|-d": state(0, True)}}}, {"minion": {"a_|-b_|-c_|-d": state(0, True, ["a", "list"])}},
    {"m_master": {"salt_|-x_|-x_|-runner": dict(state(0, True), name="state.orch", changes={"return": {"y_master": {"a_|-b_|-c_|-d": state(0, True)}}})}, "retcode": 0},
    {"minion": {"a_|-b_|-c_|-d": {"result": True}}},
]


def options(**more):
    opts = {"color": False, "extension_modules": "", "state_verbose": True, "state_output": "full", "state_output_profile": True, "transport": "zeromq", "strip_colors": True, "outputter_dirs": [], "optimization_order": [0, 1, 2]}
    opts.update(more)
    return opts


def main():
    cases = {}

    def add(out, data, kwargs=None, **more):
        kwargs = kwargs or {}
        wire = salt.utils.msgpack.packb(data, use_bin_type=True).hex()
        try:
            text = salt.output.out_format(copy.deepcopy(data), out, options(**more), **kwargs)
        except Exception as err:  # Salt prints a traceback
            print("skipped", out, repr(data)[:80], repr(err))
            return
        entry = dict(more)
        entry.update(kwargs)
        cases.setdefault(wire, []).append({"out": out, "options": entry, "text": text or ""})

    for data in DATA:
        for out in ("nested", "json", "yaml", "txt", "raw", "quiet", "pprint", "newline_values_only"):
            add(out, data)
        add("nested", data, color=True)
        add("nested", data, {"_retcode": 1}, color=True)
        for indent in (2, 0, -1, None, "pretty"):
            for out in ("json", "yaml", "pprint"):
                # yaml takes 0 as 2; only json knows the last two, the others print nested then
                if (out == "yaml" and indent == 0) or (out != "json" and indent in (None, "pretty") and data != DATA[4]):
                    continue
                add(out, data, output_indent=indent)
    add("nested", "\x1b[31mred", strip_colors=False)
    add("text", {"m": "x"})
    add("", {"m": "x"})
    for data in KEYS:
        add("key", data)
        add("key", data, color=True)
    for data in NO_RETURN:
        add("no_return", data)
        add("no_return", data, color=True)
    for data in HIGHSTATE:
        add("highstate", data)
        add("highstate", data, color=True)
        add("highstate", data, state_verbose=False)
        add("highstate", data, state_output_diff=True)
        add("highstate", data, state_output_pct=True)
        add("highstate", data, state_output_profile=False)
        for mode in ("terse", "mixed", "changes", "full_id", "terse_id", "filter"):
            add("highstate", data, state_output=mode)
        add("highstate", data, state_output="terse", state_tabular=True)
    path = pathlib.Path(__file__).with_name("output.json")
    path.write_text(json.dumps({"source": "salt 3006.24", "cases": [{"data_hex": k, "prints": v} for k, v in cases.items()]}, indent=0) + "\n")
    print(sum(len(v) for v in cases.values()))


main()
