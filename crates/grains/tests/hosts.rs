//! Grains of made-up hosts: the release files of many distributions with the answers of
//! Salt 3006.24, and machines of several kinds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use saltern_grains::{Group, Inputs, collect_fast, collect_groups};
use saltern_value::{Map, Value, json};

fn inputs<'a>(root: &'a Path, set: &'a Map) -> Inputs<'a> {
    Inputs {
        root,
        id: "web1",
        master: Value::from("salt"),
        conf_dir: root,
        set,
        blacklist: &[],
        deep_merge: false,
        gpus: true,
        fqdns: false,
        append_domain: None,
    }
}

fn groups(root: &Path, groups: &[Group]) -> Map {
    collect_groups(&inputs(root, &Map::new()), groups)
}

/// A host made of files, gone with the test.
struct Host(PathBuf);

impl Host {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("saltern-host-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Host(root)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn distributions_are_called_as_salt_calls_them() {
    let distros = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/distros");
    let mut seen = 0;
    for entry in fs::read_dir(distros).unwrap() {
        let root = entry.unwrap().path();
        let expected = fs::read_to_string(root.join("expected.json")).unwrap();
        let expected = json::parse(&expected).unwrap().into_map().unwrap();
        let mut grains = groups(&root, &[Group::Os]);
        grains.retain(|name, _| {
            let name = name.as_str().unwrap();
            (name.starts_with("os") && name != "osarch") || name.starts_with("lsb_")
        });
        for (name, value) in &expected {
            assert_eq!(grains.get_value(name), Some(value), "{} {name:?}", root.display());
        }
        assert_eq!(grains.len(), expected.len(), "{} {grains:?}", root.display());
        seen += 1;
    }
    assert!(seen > 20);
}

#[test]
fn machines_and_containers() {
    let dmi = |vendor: &'static str, product: &'static str| {
        vec![
            ("sys/class/dmi/id/sys_vendor", vendor),
            ("sys/class/dmi/id/product_name", product),
            ("sys/devices/virtual/dmi/id/product_name", product),
        ]
    };
    type Files = Vec<(&'static str, &'static str)>;
    let cases: Vec<(Files, &str, Option<&str>)> = vec![
        (vec![], "physical", None),
        (dmi("Dell Inc.", "PowerEdge R640"), "physical", None),
        (dmi("QEMU", "Standard PC (Q35 + ICH9, 2009)"), "kvm", None),
        (dmi("VMware, Inc.", "VMware Virtual Platform"), "VMware", None),
        (dmi("innotek GmbH", "VirtualBox"), "VirtualBox", None),
        (dmi("Microsoft Corporation", "Virtual Machine"), "VirtualPC", None),
        (dmi("Google", "Google Compute Engine"), "gce", None),
        (dmi("Amazon EC2", "t3.micro"), "Nitro", Some("Amazon EC2")),
        (dmi("Xen", "HVM domU"), "xen", None),
        (vec![(".dockerenv", "")], "container", Some("Docker")),
        (vec![("run/.containerenv", "")], "container", Some("Podman")),
        (vec![("proc/1/environ", "A=1\0container=lxc\0")], "container", Some("LXC")),
        (vec![("proc/1/cgroup", "4:cpu:/docker/abc\n")], "container", Some("Docker")),
        (vec![("proc/1/cgroup", "4:cpu:/kubepods/x\n")], "virtual", Some("kubernetes")),
        (vec![("proc/cpuinfo", "flags\t: fpu hypervisor\n")], "kvm", None),
        (vec![("proc/xen/xsd_kva", "")], "xen", Some("Xen Dom0")),
        (vec![("proc/vz/veinfo", "")], "openvzve", None),
    ];
    for (files, kind, subtype) in cases {
        let host = Host::new("virt", &files);
        let grains = groups(&host.0, &[Group::Hardware]);
        assert_eq!(grains.get_str("virtual"), Some(kind), "{files:?}");
        assert_eq!(grains.get_str("virtual_subtype"), subtype, "{files:?}");
    }
}

#[test]
fn hardware_is_read_from_files() {
    let host = Host::new(
        "hardware",
        &[
            ("proc/meminfo", "MemTotal:       16384000 kB\nSwapTotal:  2048000 kB\n"),
            ("sys/class/dmi/id/product_uuid", "ABCD-1\n"),
            ("sys/class/dmi/id/bios_version", " 1.2 \n"),
            ("sys/block/sda/queue/rotational", "1\n"),
            ("sys/block/nvme0n1/queue/rotational", "0\n"),
            ("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n"),
            ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
            ("sys/bus/pci/devices/0000:01:00.0/device", "0x2204\n"),
            ("sys/bus/pci/devices/0000:02:00.0/class", "0x020000\n"),
            (
                "usr/share/misc/pci.ids",
                "1002  AMD\n\t2204  Wrong\n10de  NVIDIA Corporation\n\t2204  GA102 [RTX 3090]\n",
            ),
            ("etc/machine-id", "abc\n"),
            ("sys/firmware/efi/efivars/SecureBoot-8be4", "\u{6}\0\0\0\u{1}"),
        ],
    );
    let grains = groups(&host.0, &[Group::Hardware]);
    let shown = |name: &str| json::to_string(grains.get(name).unwrap_or(&Value::Nil), None);
    assert_eq!((shown("mem_total"), shown("swap_total")), ("16000".into(), "2000".into()));
    assert_eq!((shown("uuid"), shown("biosversion")), ("\"abcd-1\"".into(), "\"1.2\"".into()));
    assert_eq!((shown("disks"), shown("ssds")), ("[\"sda\"]".into(), "[\"nvme0n1\"]".into()));
    assert_eq!(shown("gpus"), r#"[{"vendor": "nvidia", "model": "GA102 [RTX 3090]"}]"#);
    assert_eq!((shown("num_gpus"), shown("machine_id")), ("1".into(), "\"abc\"".into()));
    assert_eq!((shown("efi"), shown("efi-secure-boot")), ("true".into(), "true".into()));
}

#[test]
fn init_systems() {
    let systemd = Host::new("systemd", &[("run/systemd/system/x", "")]);
    assert_eq!(groups(&systemd.0, &[Group::Os]).get_str("init"), Some("systemd"));
    let sysv = Host::new(
        "sysv",
        &[("proc/1/cmdline", "/sbin/init\0splash\0"), ("sbin/init", "..\0SysVinit 3\0")],
    );
    assert_eq!(groups(&sysv.0, &[Group::Os]).get_str("init"), Some("sysvinit"));
    let runit = Host::new("runit", &[("proc/1/cmdline", "runit\0")]);
    assert_eq!(groups(&runit.0, &[Group::Os]).get_str("init"), Some("runit"));
    let none = Host::new("none", &[]);
    assert_eq!(groups(&none.0, &[Group::Os]).get_str("init"), Some("unknown"));
}

#[test]
fn static_grains_win_and_the_blacklist_takes_away() {
    let host = Host::new("static", &[("grains", "roles: [web]\nshell: /bin/own\nrack: {a: 1}\n")]);
    let set = Map::from([("rack", Value::from("b")), ("os", Value::from("Own"))]);
    let blacklist = ["cpu*".to_owned(), "roles".to_owned()];
    let mut inputs = inputs(&host.0, &set);
    inputs.blacklist = &blacklist;
    let grains = collect_fast(&inputs);
    assert_eq!(grains.get_str("shell"), Some("/bin/own"));
    assert_eq!((grains.get_str("rack"), grains.get_str("os")), (Some("b"), Some("Own")));
    for gone in ["cpu_model", "cpu_flags", "cpuarch", "roles", "fqdn"] {
        assert!(!grains.contains_key(gone), "{gone}");
    }
    let broken = Host::new("broken", &[("grains", "a: [")]);
    assert!(groups(&broken.0, &[Group::Static]).is_empty());
}
