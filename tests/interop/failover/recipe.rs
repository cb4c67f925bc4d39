//! The operator's page, docs/failover.md, followed word for word: its own code blocks, line by line,
//! on three hosts that are directories here. Only the names of places are put in: where a host's
//! `/etc/salt` is, where `m1.example.org` is, and who starts a service.

use std::fs;
use std::path::Path;
use std::process::Command;

use saltern_interop::{Fleet, Master, Minion, Output, Peer, wait};

/// A code block of the page: its language and its lines.
struct Block {
    language: String,
    lines: Vec<String>,
}

/// The blocks of one section.
fn section(title: &str) -> Vec<Block> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/failover.md");
    let page = fs::read_to_string(page).unwrap();
    let start = page.find(&format!("### {title}")).expect("the section");
    let text = &page[start + 4..];
    let text = &text[..text.find("\n### ").unwrap_or(text.len())];
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block { language: language.to_owned(), lines: Vec::new() });
            }
            (None, Some(block)) => block.lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    blocks
}

/// The places of the page on this machine.
struct Places {
    names: Vec<(String, String)>,
    first: Vec<(String, String)>,
}

fn of_host(role: &str, root: &Path) -> Vec<(String, String)> {
    let at = |part: &str| root.join(part).display().to_string();
    vec![
        (format!("/etc/salt/pki/{role}"), at("pki")),
        (format!("/etc/salt/{role}.d"), at(&format!("conf/{role}.d"))),
    ]
}

fn replaced(text: &str, places: &[(String, String)]) -> String {
    places.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

impl Places {
    /// A line as it is to be run on a host.
    fn line(&self, line: &str, host: &[(String, String)]) -> String {
        let line = line.split("   #").next().unwrap_or(line);
        let line = match line.strip_prefix("scp m1:") {
            // What is fetched lies in the first master's places.
            Some(copied) => {
                let (from, to) = copied.split_once(' ').expect("scp FROM TO");
                format!("cp {} {to}", replaced(from, &self.first))
            }
            None => line.to_owned(),
        };
        replaced(&replaced(&line, host), &self.names)
    }
}

/// Runs a line of the page with a master's own tools in the way of Salt's names.
fn run(line: &str, master: Option<&Master>) -> Output {
    let mut script = String::new();
    if let Some(master) = master {
        for tool in ["salt-key", "salt-run", "salt"] {
            let command = master.tool(tool);
            let words: Vec<_> = std::iter::once(command.get_program())
                .chain(command.get_args())
                .map(|word| word.to_string_lossy().into_owned())
                .collect();
            script.push_str(&format!(
                "{}() {{ {} \"$@\"; }}\n",
                tool.replace('-', "_"),
                words.join(" ")
            ));
        }
    }
    let words = line.split(' ').map(|word| match word {
        "salt-key" | "salt-run" => word.replace('-', "_"),
        other => other.to_owned(),
    });
    script.push_str(&words.collect::<Vec<_>>().join(" "));
    let mut command = Command::new("sh");
    command.args(["-ec", &script]);
    Output::of(command)
}

fn must(line: &str, master: Option<&Master>) -> Output {
    let output = run(line, master);
    assert_eq!(output.code, 0, "{line}: {output:?}");
    output
}

fn set_up_master(master: &mut Master, places: &Places, block: &Block) {
    fs::create_dir_all(master.pki()).unwrap();
    let host = of_host("master", master.root());
    for line in &block.lines {
        match line.as_str() {
            "systemctl restart salt-master" => master.start(),
            line => drop(must(&places.line(line, &host), None)),
        }
    }
}

fn set_up_minion(minion: &mut Minion, places: &Places, blocks: &[Block]) {
    let host = of_host("minion", minion.root());
    for block in blocks {
        if block.language == "yaml" {
            let file = block.lines[0].strip_prefix("# ").expect("the file's name");
            let file = replaced(file, &host);
            fs::write(file, replaced(&block.lines.join("\n"), &places.names)).unwrap();
            continue;
        }
        for line in &block.lines {
            match line.as_str() {
                "systemctl restart salt-minion" => minion.start(),
                line => drop(must(&places.line(line, &host), None)),
            }
        }
    }
}

#[test]
fn the_page_leads_to_a_fleet_that_survives_its_master() {
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let mut first = fleet.master("m1", "");
    let mut second = fleet.master("m2", "");
    let mut minion = fleet.minion("web1", &[&first, &second], "");
    let places = Places {
        names: vec![
            ("m1.example.org".to_owned(), first.address.to_string()),
            ("m2.example.org".to_owned(), second.address.to_string()),
        ],
        first: of_host("master", first.root()),
    };
    let blocks = section("Distinct keys, one signing pair");
    let [one, two, minion_sh, minion_yaml, minion_start, keys, check] =
        <[Block; 7]>::try_from(blocks).unwrap_or_else(|b| panic!("{} blocks", b.len()));
    set_up_master(&mut first, &places, &one);
    set_up_master(&mut second, &places, &two);
    set_up_minion(&mut minion, &places, &[minion_sh, minion_yaml, minion_start]);
    for master in [&first, &second] {
        master.wait_key("minions_pre", "web1");
        for line in &keys.lines {
            must(&places.line(line, &[]), Some(master));
        }
    }
    // Drawn by random_master; the one that is asked first is the one to die.
    let here = wait::until("the minion answers somewhere", || {
        [&first, &second].iter().position(|master| {
            let output = run("salt -t 3 --out json --static web1 test.ping", Some(master));
            output.stdout.contains("true")
        })
    });
    let (mut dying, survivor) = if here == 0 { (first, second) } else { (second, first) };
    let line = &check.lines[0];
    wait::until("the fleet is ready", || (run(line, Some(&dying)).code == 0).then_some(()));
    let table = must(line, Some(&dying)).stdout;
    assert!(table.contains("web1"), "{table}");
    dying.process().kill();
    survivor.wait_ping("web1");
    // With one master left, everybody would be lost with it.
    wait::until("the table says so", || (run(line, Some(&survivor)).code == 1).then_some(()));
}

#[test]
fn every_command_of_the_page_is_known() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/failover.md");
    let page = fs::read_to_string(page).unwrap();
    let fleet = Fleet::new(Peer::Saltern, Peer::Saltern);
    let (master, minion) = fleet.pair("", "");
    let runners = master.run("salt-run", &["doc.runner", "--out", "json"]).stdout;
    let functions = minion.call(&["--local", "sys.list_functions", "--out", "json"]).stdout;
    let mut seen = 0;
    for line in page.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (list, name) = match words.as_slice() {
            // Reads the bus in the tool itself.
            ["salt-run", "state.event", ..] => continue,
            ["salt-run", name, ..] => (&runners, *name),
            ["salt-call", "--local", name, ..] | ["salt", _, name, ..] => (&functions, *name),
            _ => continue,
        };
        assert!(list.contains(&format!("\"{name}\"")), "{line}: {name} does not exist");
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}
