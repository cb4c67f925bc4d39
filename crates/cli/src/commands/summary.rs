//! The summary after a command (`--summary`), and whether all went well.

use saltern_client::Answer;

use crate::printer::line;

/// Who answered how.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    returned: usize,
    silent: Vec<String>,
    unreachable: Vec<String>,
    failed: Vec<String>,
}

impl Summary {
    /// Counts one answer, or the lack of one.
    pub(crate) fn add(&mut self, answer: &Answer) {
        if answer.failed {
            let not_connected =
                answer.ret.as_str().is_some_and(|text| text.contains("[Not connected]"));
            let list = if not_connected { &mut self.unreachable } else { &mut self.silent };
            list.push(answer.id.clone());
            return;
        }
        self.returned += 1;
        if answer.retcode != 0 {
            self.failed.push(answer.id.clone());
        }
    }

    /// Whether there was nobody at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.returned == 0 && self.silent.is_empty() && self.unreachable.is_empty()
    }

    /// Whether all answered, and well.
    pub(crate) fn all_good(&self) -> bool {
        self.silent.is_empty() && self.unreachable.is_empty() && self.failed.is_empty()
    }

    /// Prints it as Salt does.
    pub(crate) fn print(&self, verbose: bool) -> std::io::Result<()> {
        const RULE: &str = "-------------------------------------------";
        let missing = self.silent.len() + self.unreachable.len();
        line(&format!("\n\n{RULE}\nSummary\n{RULE}"))?;
        line(&format!("# of minions targeted: {}", self.returned + missing))?;
        line(&format!("# of minions returned: {}", self.returned))?;
        line(&format!("# of minions that did not return: {missing}"))?;
        line(&format!("# of minions with errors: {}", self.failed.len()))?;
        let lists = [
            ("Minions not connected", &self.unreachable),
            ("Minions not responding", &self.silent),
            ("Minions with failures", &self.failed),
        ];
        for (title, ids) in lists.iter().filter(|(_, ids)| verbose && !ids.is_empty()) {
            line(&format!("{title}: {}", ids.join(" ")))?;
        }
        line(RULE)
    }
}
