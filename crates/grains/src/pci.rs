//! Graphics cards: the devices of the PCI bus with the names `lspci` has for them.

use std::fs::File;
use std::io::{BufRead, BufReader};

use saltern_value::{Map, Value};

use crate::sysroot::Sysroot;

/// Display controllers (VGA, 3D, other) and processing accelerators.
const CLASSES: [&str; 4] = ["0x0300", "0x0302", "0x0380", "0x1200"];
/// Vendors Salt has a word for, by the word that must stand in their name.
const VENDORS: [&str; 7] = ["nvidia", "amd", "ati", "intel", "vmware", "matrox", "aspeed"];
const ID_FILES: [&str; 3] =
    ["/usr/share/hwdata/pci.ids", "/usr/share/misc/pci.ids", "/usr/share/pci.ids"];

struct Card {
    vendor: String,
    device: String,
}

/// The grain `gpus`: a mapping of vendor and model for each card.
pub(crate) fn gpus(sysroot: &Sysroot) -> Vec<Value> {
    let cards: Vec<Card> = sysroot
        .names("/sys/bus/pci/devices")
        .iter()
        .filter_map(|name| {
            let read =
                |file: &str| sysroot.read_line(&format!("/sys/bus/pci/devices/{name}/{file}"));
            let class = read("class")?;
            CLASSES.iter().any(|c| class.starts_with(c)).then_some(())?;
            let id = |text: String| text.trim_start_matches("0x").to_lowercase();
            Some(Card { vendor: id(read("vendor")?), device: id(read("device")?) })
        })
        .collect();
    cards.iter().map(|card| describe(sysroot, card)).collect()
}

fn describe(sysroot: &Sysroot, card: &Card) -> Value {
    let (vendor, model) = names(sysroot, card);
    let words: Vec<String> = vendor
        .to_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(str::to_owned)
        .collect();
    let known = VENDORS.iter().find(|v| words.iter().any(|word| word == *v));
    Value::Map(Map::from([("vendor", *known.unwrap_or(&"unknown")), ("model", model.as_str())]))
}

/// Vendor and device out of the list of PCI ids, or what stands for a missing name.
fn names(sysroot: &Sysroot, card: &Card) -> (String, String) {
    let well_known = match card.vendor.as_str() {
        "10de" => "NVIDIA Corporation",
        "1002" => "Advanced Micro Devices, Inc. [AMD/ATI]",
        "8086" => "Intel Corporation",
        "15ad" => "VMware",
        "102b" => "Matrox Electronics Systems Ltd.",
        "1a03" => "ASPEED Technology, Inc.",
        _ => "Vendor",
    };
    let mut vendor = well_known.to_owned();
    let mut device = format!("Device {}", card.device);
    let Some(file) = ID_FILES.iter().find_map(|path| File::open(sysroot.path(path)).ok()) else {
        return (vendor, device);
    };
    let mut inside = false;
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if line.starts_with('#') || line.trim().is_empty() || line.starts_with("\t\t") {
            continue;
        }
        let name_of = |text: &str, id: &str| {
            text.strip_prefix(id).and_then(|rest| rest.strip_prefix("  ")).map(str::to_owned)
        };
        match line.strip_prefix('\t') {
            Some(entry) if inside => {
                if let Some(name) = name_of(entry, &card.device) {
                    device = name;
                    break;
                }
            }
            Some(_) => {}
            None if inside => break,
            None => {
                if let Some(name) = name_of(&line, &card.vendor) {
                    (vendor, inside) = (name, true);
                }
            }
        }
    }
    (vendor, device)
}
