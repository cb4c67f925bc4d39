//! Who is connected where, live: a table that is redrawn on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The display.
pub(super) struct Board {
    silent: bool,
    terminal: bool,
    start: Instant,
    masters: Vec<(String, bool)>,
    places: BTreeMap<String, String>,
    drawn: usize,
}

impl Board {
    pub(super) fn new(silent: bool, masters: impl IntoIterator<Item = String>) -> Self {
        Board {
            silent,
            terminal: io::stdout().is_terminal(),
            start: Instant::now(),
            masters: masters.into_iter().map(|name| (name, true)).collect(),
            places: BTreeMap::new(),
            drawn: 0,
        }
    }

    /// Tells what happens.
    pub(super) fn say(&mut self, text: &str) {
        if self.silent {
            return;
        }
        self.wipe();
        let at = self.start.elapsed();
        print(&format!("{:>6.2}s  {text}\n", at.as_secs_f64()));
        self.draw();
    }

    /// A minion is connected to that master now.
    pub(super) fn moved(&mut self, minion: &str, master: &str, after: Option<Duration>) {
        let before = self.places.insert(minion.to_owned(), master.to_owned());
        if before.as_deref() == Some(master) {
            return;
        }
        match after {
            Some(took) => self.say(&format!(
                "{minion} is on {master} now, {:.0} ms after the kill",
                took.as_secs_f64() * 1e3
            )),
            None => self.say(&format!("{minion} is connected to {master}")),
        }
    }

    /// A master is dead; its minions are nowhere until they say otherwise.
    pub(super) fn died(&mut self, master: &str) {
        for (_, alive) in self.masters.iter_mut().filter(|(name, _)| name == master) {
            *alive = false;
        }
        self.places.retain(|_, place| place != master);
    }

    /// Minions connected to a master.
    pub(super) fn on(&self, master: &str) -> Vec<String> {
        self.places.iter().filter(|(_, m)| *m == master).map(|(id, _)| id.clone()).collect()
    }

    fn draw(&mut self) {
        if !self.terminal || self.places.is_empty() {
            return;
        }
        let mut text = String::new();
        for (name, alive) in &self.masters {
            let ids = self.on(name);
            let state =
                if *alive { format!("{:>3} minions", ids.len()) } else { "dead".to_owned() };
            let shown = ids.iter().take(8).cloned().collect::<Vec<_>>().join(" ");
            let more = if ids.len() > 8 { " ..." } else { "" };
            text.push_str(&format!("  {name:<4} {state:<12} {shown}{more}\n"));
        }
        self.drawn = self.masters.len();
        print(&text);
    }

    fn wipe(&mut self) {
        if self.drawn > 0 {
            print(&format!("\x1b[{}A\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }
}

/// A closed terminal must not end the demonstration.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
