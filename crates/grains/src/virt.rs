//! Whether this host is a container or a virtual machine: the findings of `systemd-detect-virt`
//! from the same files, then Salt's own looks, in Salt's order and words.

use std::os::unix::fs::MetadataExt;

use saltern_value::Map;

use crate::sysroot::Sysroot;

/// How processes of an OpenVZ host are listed without those of its guests.
pub(crate) const OPENVZ_PS: &str = "ps -fH -p $(grep -l \"^envID:[[:space:]]*0\\$\" \
     /proc/[0-9]*/status | sed -e \"s=/proc/\\([0-9]*\\)/.*=\\1=\")  \
     | awk '{ $7=\"\"; print }'";

/// What was found out so far.
struct Found {
    kind: String,
    subtype: Option<String>,
}

impl Found {
    fn set(&mut self, kind: &str, subtype: Option<&str>) {
        kind.clone_into(&mut self.kind);
        if let Some(subtype) = subtype {
            self.subtype = Some(subtype.to_owned());
        }
    }
}

/// `virtual` and, when there is one, `virtual_subtype`.
pub(crate) fn grains(sysroot: &Sysroot, cpuinfo: &str, product: Option<&str>) -> Map {
    let mut found = Found { kind: "physical".to_owned(), subtype: None };
    if !container(sysroot, &mut found) {
        hypervisor(sysroot, cpuinfo, &mut found);
    }
    if other_root(sysroot) {
        found.subtype = Some("chroot".to_owned());
    }
    openvz(sysroot, &mut found);
    xen(sysroot, product, &mut found);
    if cpuinfo.contains("QEMU Virtual CPU") {
        found.set("kvm", None);
    }
    product_name(sysroot, &mut found);
    control_groups(sysroot, &mut found);
    if found.subtype.is_some() && found.kind == "physical" {
        found.set("virtual", None);
    }
    amazon(sysroot, &mut found);
    let mut grains = Map::from([("virtual", found.kind)]);
    if let Some(subtype) = found.subtype {
        grains.insert("virtual_subtype", subtype);
    }
    grains
}

/// Containers, by what their managers leave inside.
fn container(sysroot: &Sysroot, found: &mut Found) -> bool {
    let manager = sysroot.read("/run/host/container-manager");
    let manager = manager.or_else(|| sysroot.read("/run/systemd/container"));
    let environment = sysroot.read("/proc/1/environ").unwrap_or_default();
    let named = environment.split('\0').find_map(|v| v.strip_prefix("container="));
    let manager = named.map(str::to_owned).or(manager).unwrap_or_default();
    let file = |path: &str, name: &'static str| sysroot.exists(path).then_some(name);
    let by_file = || file("/run/.containerenv", "podman").or_else(|| file("/.dockerenv", "docker"));
    let manager = manager.trim().to_lowercase();
    let manager = if manager.is_empty() { by_file().unwrap_or("") } else { manager.as_str() };
    match manager {
        "systemd-nspawn" => found.set("systemd-nspawn", None),
        name if name.contains("lxc") => found.set("container", Some("LXC")),
        name if name.contains("podman") => found.set("container", Some("Podman")),
        name if name.contains("docker") => found.set("container", Some("Docker")),
        _ => return false,
    }
    true
}

/// Virtual machines, by their firmware's names.
fn hypervisor(sysroot: &Sysroot, cpuinfo: &str, found: &mut Found) {
    const NAMES: [(&str, &str); 17] = [
        ("KVM", "kvm"),
        ("OpenStack", "kvm"),
        ("KubeVirt", "kvm"),
        ("Amazon EC2", "Nitro"),
        ("QEMU", "kvm"),
        ("VMware", "VMware"),
        ("VMW", "VMware"),
        ("innotek GmbH", "oracle"),
        ("VirtualBox", "oracle"),
        ("Oracle Corporation", "oracle"),
        ("Xen", "xen"),
        ("Bochs", "kvm"),
        ("Parallels", "Parallels"),
        ("BHYVE", "bhyve"),
        ("oVirt", "kvm"),
        ("Google", "kvm"),
        ("SeaBIOS", "kvm"),
    ];
    const FILES: [&str; 5] =
        ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"];
    let texts: Vec<String> = FILES
        .iter()
        .filter_map(|file| sysroot.read_line(&format!("/sys/class/dmi/id/{file}")))
        .collect();
    let virtual_flag = flags(cpuinfo).any(|flag| flag == "hypervisor");
    // Machines of Oracle and of Xen's makers are sold as metal too.
    let sure = |name: &str| virtual_flag || !matches!(name, "Oracle Corporation" | "SeaBIOS");
    let hit = NAMES
        .iter()
        .find(|(name, _)| sure(name) && texts.iter().any(|text| text.starts_with(name)));
    let microsoft = texts.iter().any(|t| t.starts_with("Microsoft"))
        && texts.iter().any(|t| t.starts_with("Virtual Machine") || t.starts_with("Hyper-V"));
    match hit {
        Some((_, "Nitro")) => found.set("Nitro", Some("Amazon EC2")),
        Some((_, kind)) => found.set(kind, None),
        None if microsoft => found.set("VirtualPC", None),
        None if sysroot.read_line("/sys/hypervisor/type").as_deref() == Some("xen") => {
            found.set("xen", None);
        }
        // Small virtual machines have no firmware to ask, only the flag of their processor.
        None if virtual_flag && texts.is_empty() => found.set("kvm", None),
        None => {}
    }
}

fn flags(cpuinfo: &str) -> impl Iterator<Item = &str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("flags"));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, flags)| flags).split_whitespace()
}

/// Whether the first process has another root directory than we have.
fn other_root(sysroot: &Sysroot) -> bool {
    let identity = |path: &str| {
        std::fs::metadata(sysroot.path(path)).map(|meta| (meta.dev(), meta.ino())).ok()
    };
    match (identity("/"), identity("/proc/1/root/.")) {
        (Some(ours), Some(first)) => ours != first,
        _ => false,
    }
}

fn openvz(sysroot: &Sysroot, found: &mut Found) {
    if sysroot.is_file("/proc/vz/version") {
        found.set("openvzhn", None);
    } else if sysroot.is_file("/proc/vz/veinfo") {
        found.set("openvzve", None);
    }
    let status = sysroot.read("/proc/self/status").unwrap_or_default();
    let id = status.lines().find_map(|line| line.strip_prefix("envID:"));
    match id.and_then(|id| id.trim().parse::<u64>().ok()) {
        Some(0) => found.set("openvzhn", None),
        Some(_) => found.set("openvzve", None),
        None => {}
    }
}

fn xen(sysroot: &Sysroot, product: Option<&str>, found: &mut Found) {
    if !["/proc/sys/xen", "/sys/bus/xen", "/proc/xen"].iter().any(|dir| sysroot.is_dir(dir)) {
        return;
    }
    let subtype = if sysroot.is_file("/proc/xen/xsd_kva") {
        Some("Xen Dom0")
    } else if product == Some("HVM domU") {
        Some("Xen HVM DomU")
    } else if let Some(capabilities) = sysroot.read("/proc/xen/capabilities") {
        let host = capabilities.contains("control_d");
        Some(if host { "Xen Dom0" } else { "Xen PV DomU" })
    } else {
        sysroot.is_dir("/sys/bus/xen/drivers/xenconsole").then_some("Xen PV DomU")
    };
    if let Some(subtype) = subtype {
        found.set("xen", Some(subtype));
    }
}

fn product_name(sysroot: &Sysroot, found: &mut Found) {
    let product = sysroot.read("/sys/devices/virtual/dmi/id/product_name").unwrap_or_default();
    let known: [(&str, &str, Option<&str>); 5] = [
        ("VirtualBox", "VirtualBox", None),
        ("RHEV Hypervisor", "kvm", Some("rhev")),
        ("oVirt Node", "kvm", Some("ovirt")),
        ("Google", "gce", None),
        ("BHYVE", "bhyve", None),
    ];
    if let Some((_, kind, subtype)) = known.into_iter().find(|(name, ..)| product.contains(name)) {
        found.set(kind, subtype);
    }
}

/// Containers inside of virtual machines, by the first process's control group.
fn control_groups(sysroot: &Sysroot, found: &mut Found) {
    let groups = sysroot.read("/proc/1/cgroup").unwrap_or_default();
    let docker = [":/system.slice/docker", ":/docker/", ":/docker-ce/"];
    if groups.contains(":/lxc/") {
        found.set("container", Some("LXC"));
    } else if groups.contains(":/kubepods/") {
        found.subtype = Some("kubernetes".to_owned());
    } else if groups.contains(":/libpod_parent/") {
        found.subtype = Some("libpod".to_owned());
    } else if docker.iter().any(|name| groups.contains(name)) {
        found.set("container", Some("Docker"));
    }
    let environment = sysroot.read("/proc/1/environ").unwrap_or_default();
    if found.subtype.as_deref() != Some("LXC") && environment.contains("container=lxc") {
        found.set("container", Some("LXC"));
    }
}

fn amazon(sysroot: &Sysroot, found: &mut Found) {
    if !["qemu", "kvm", "xen"].contains(&found.kind.as_str()) {
        return;
    }
    let dmi = |file: &str| sysroot.read_line(&format!("/sys/class/dmi/id/{file}"));
    if dmi("sys_vendor").as_deref() == Some("Amazon EC2") {
        let subtype = match dmi("product_name") {
            Some(product) => format!("Amazon EC2 ({product})"),
            None => "Amazon EC2".to_owned(),
        };
        let kind = if found.kind == "xen" { "xen" } else { "Nitro" };
        found.set(kind, Some(&subtype));
    } else if dmi("product_version").is_some_and(|version| version.contains(".amazon")) {
        found.subtype = Some("Amazon EC2".to_owned());
    }
}
