//! Processors, memory, firmware, disks and the machine below.

use saltern_value::{Map, Value};

use crate::pci;
use crate::sysroot::Sysroot;
use crate::virt;

/// All grains about the machine.
pub(crate) fn grains(sysroot: &Sysroot, with_gpus: bool) -> Map {
    let cpuinfo = sysroot.read("/proc/cpuinfo").unwrap_or_default();
    let mut grains = processors(&cpuinfo);
    grains.extend(memory(sysroot));
    grains.extend(device_tree(sysroot));
    grains.extend(firmware(sysroot));
    grains.extend(efi(sysroot));
    grains.extend(disks(sysroot));
    let gpus = if with_gpus { pci::gpus(sysroot) } else { Vec::new() };
    grains.insert("num_gpus", Value::Int(gpus.len() as i64));
    grains.insert("gpus", gpus);
    let virt = virt::grains(sysroot, &cpuinfo, grains.get_str("productname"));
    let openvz_host = virt.get_str("virtual") == Some("openvzhn");
    grains.extend(virt);
    grains.insert("ps", if openvz_host { virt::OPENVZ_PS } else { "ps -efHww" });
    let zfs = sysroot.exists("/sys/module/zfs") && sysroot.which("zpool").is_some();
    grains.insert("zfs_support", zfs);
    grains.insert("zfs_feature_flags", zfs);
    if let Some(id) = ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| sysroot.read_line(path))
    {
        grains.insert("machine_id", id);
    }
    grains
}

fn processors(cpuinfo: &str) -> Map {
    let mut count = 0;
    let mut model = "Unknown".to_owned();
    let mut flags = "";
    for line in cpuinfo.lines() {
        let mut parts = line.split(':').map(str::trim);
        let (Some(key), Some(value)) = (parts.next(), parts.next()) else { continue };
        match key {
            "processor" => count += 1,
            // s390x
            "# processors" => count = value.parse().unwrap_or(count),
            "vendor_id" | "model name" | "cpu" => model = value.to_owned(),
            "flags" | "Features" => flags = value,
            // 32 bit ARM
            "Processor" => {
                model = value.split('-').next().unwrap_or_default().to_owned();
                count = 1;
            }
            _ => {}
        }
    }
    let flags: Vec<Value> = flags.split_whitespace().map(Value::from).collect();
    Map::from([
        ("num_cpus", Value::Int(count)),
        ("cpu_model", Value::from(model)),
        ("cpu_flags", Value::List(flags)),
    ])
}

/// Mebibytes.
fn memory(sysroot: &Sysroot) -> Map {
    let meminfo = sysroot.read("/proc/meminfo").unwrap_or_default();
    let mebibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        Value::Int(number.and_then(|n| n.parse::<i64>().ok()).unwrap_or(0) / 1024)
    };
    Map::from([("mem_total", mebibytes("MemTotal")), ("swap_total", mebibytes("SwapTotal"))])
}

/// The firmware's own words, as far as this user may read them.
fn firmware(sysroot: &Sysroot) -> Map {
    const FILES: [(&str, &str); 8] = [
        ("biosversion", "bios_version"),
        ("biosvendor", "bios_vendor"),
        ("boardname", "board_name"),
        ("productname", "product_name"),
        ("manufacturer", "sys_vendor"),
        ("biosreleasedate", "bios_date"),
        ("uuid", "product_uuid"),
        ("serialnumber", "product_serial"),
    ];
    let mut grains = Map::new();
    for (name, file) in FILES {
        if let Some(text) = sysroot.read_line(&format!("/sys/class/dmi/id/{file}")) {
            grains.insert(name, if name == "uuid" { text.to_lowercase() } else { text });
        }
    }
    grains
}

/// What boards without a BIOS tell instead.
fn device_tree(sysroot: &Sysroot) -> Map {
    let text = |name: &str| {
        let text = sysroot.read(&format!("/proc/device-tree/{name}"))?;
        Some(text.trim_end_matches('\0').to_owned()).filter(|t| !t.is_empty())
    };
    let mut grains = Map::new();
    if let Some(model) = text("model") {
        match model.split_once(',') {
            Some((maker, product)) => {
                grains.insert("manufacturer", maker);
                grains.insert("productname", product);
            }
            None => drop(grains.insert("productname", model)),
        }
    }
    if let Some(serial) = text("serial-number").or_else(|| text("system-id")) {
        grains.insert("serialnumber", serial);
    }
    grains
}

fn efi(sysroot: &Sysroot) -> Map {
    let dirs = ["/sys/firmware/efi/efivars", "/sys/firmware/efi/vars"];
    let dir = dirs.into_iter().find(|dir| sysroot.exists(dir));
    let secure = dir.is_some_and(|dir| {
        let names = sysroot.names(dir);
        let mut found = names.iter().filter(|name| name.starts_with("SecureBoot-"));
        let (Some(name), None) = (found.next(), found.next()) else { return false };
        let data = if dir.ends_with("efivars") { "" } else { "/data" };
        let bytes = std::fs::read(sysroot.path(&format!("{dir}/{name}{data}")));
        bytes.is_ok_and(|bytes| bytes.last() == Some(&1))
    });
    Map::from([("efi", dir.is_some()), ("efi-secure-boot", secure)])
}

/// Disks that turn and disks that do not.
fn disks(sysroot: &Sysroot) -> Map {
    let (mut turning, mut solid) = (Vec::new(), Vec::new());
    for name in sysroot.names("/sys/block") {
        let link = std::fs::read_link(sysroot.path(&format!("/sys/block/{name}")));
        if link.is_ok_and(|target| target.starts_with("../devices/virtual")) {
            continue;
        }
        let flag = sysroot.read(&format!("/sys/block/{name}/queue/rotational"));
        match flag.as_deref().and_then(|f| f.chars().next()) {
            Some('0') => solid.push(Value::from(name)),
            Some('1') => turning.push(Value::from(name)),
            _ => {}
        }
    }
    Map::from([("disks", Value::List(turning)), ("ssds", Value::List(solid))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_of_several_kinds() {
        let pc = processors("processor\t: 0\nmodel name : A B\nflags : x y\n\nprocessor\t: 1\n");
        assert_eq!(pc.get("num_cpus"), Some(&Value::Int(2)));
        assert_eq!(pc.get_str("cpu_model"), Some("A B"));
        let mainframe = processors("vendor_id : IBM/S390\n# processors : 4\n");
        assert_eq!(mainframe.get("num_cpus"), Some(&Value::Int(4)));
        assert_eq!(processors("").get_str("cpu_model"), Some("Unknown"));
    }
}
