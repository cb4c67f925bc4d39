//! What happens, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use saltern_event::{BusPaths, Event, client::Subscriber};
use saltern_value::{Value, json};
use tokio::sync::mpsc;

use super::Args;
use super::board::Board;
use super::fleet::{Daemon, tool};
use super::layout::{self, MasterSite, MinionSite};
use super::report::Report;
use crate::exit::Failure;
use crate::printer::line;

/// How long any step may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the job runs during which the master is killed.
const JOB: &str = "sleep 2; echo done on $(hostname)";

/// Tells the whole story; `false` when something promised did not happen.
pub(super) async fn tell(args: &Args) -> Result<bool, Failure> {
    let root = layout::make_root()?;
    let told = Story::begin(args, &root).await;
    let kept = match told {
        Ok(mut story) => {
            let report = story.play().await?;
            if args.json {
                line(&report.json())?;
            } else {
                line(&format!("\n{}", report.text()))?;
                story.look_around(args.keep)?;
            }
            if args.keep {
                story.leave_running();
            }
            Ok(report.good())
        }
        Err(failure) => Err(failure),
    };
    if !args.keep {
        let _ = fs::remove_dir_all(&root);
    }
    kept
}

struct Story {
    root: PathBuf,
    masters: Vec<(MasterSite, Daemon)>,
    minions: Vec<(MinionSite, Daemon)>,
    board: Board,
    events: mpsc::UnboundedReceiver<(String, Event)>,
    sign_in: Duration,
    dead: usize,
}

impl Story {
    /// The recipe: masters with one signing key, minions that trust it, keys accepted.
    async fn begin(args: &Args, root: &Path) -> Result<Self, Failure> {
        let names = (1..=args.masters).map(|n| format!("m{n}"));
        let mut board = Board::new(args.json, names);
        board.say(&format!("everything is below {}", root.display()));
        let (sender, events) = mpsc::unbounded_channel();
        let mut masters: Vec<(MasterSite, Daemon)> = Vec::new();
        for number in 1..=args.masters {
            let site = layout::master(root, number)?;
            if let Some((first, _)) = masters.first() {
                layout::share_signing_pair(first, &site)?;
            }
            let mut daemon = Daemon::start("master", &site.conf, false)?;
            let bus = wait_ready(&site, &mut daemon).await?;
            tokio::spawn(listen(site.name.clone(), bus, sender.clone()));
            board.say(&format!(
                "{} serves on ports {} and {}{}",
                site.name,
                site.publish_port,
                site.ret_port,
                if number == 1 { ", and made master_sign.pem" } else { ", with m1's signing key" }
            ));
            masters.push((site, daemon));
        }
        let sites: Vec<_> = masters.iter().map(|(site, _)| site.clone()).collect();
        let mut minions = Vec::new();
        for number in 1..=args.minions {
            let site = layout::minion(root, number, &sites)?;
            layout::trust(&site, &sites[0])?;
            let daemon = Daemon::start("minion", &site.conf, false)?;
            minions.push((site, daemon));
        }
        board.say(&format!("{} minions started, with master_sign.pub only", minions.len()));
        let root = root.to_path_buf();
        Ok(Story { root, masters, minions, board, events, sign_in: Duration::ZERO, dead: 0 })
    }

    async fn play(&mut self) -> Result<Report, Failure> {
        self.accept_keys().await?;
        self.all_connected().await?;
        let victim = self.busiest();
        self.dead = victim;
        let (site, name) = (self.masters[victim].0.clone(), self.masters[victim].0.name.clone());
        let ids: BTreeSet<String> = self.board.on(&name).into_iter().collect();
        let ping = ping(&site, &ids).await?;
        self.board.say(&format!("salt -L ... test.ping on {name}: {}", one_line(&ping)));
        let jid = self.publish(&site, &ids).await?;
        self.board.say(&format!("{name} published job {jid}: cmd.run '{JOB}'"));
        self.wait_begun(&site, &jid, &ids).await?;
        self.masters[victim].1.kill()?;
        let killed = Instant::now();
        self.board.died(&name);
        self.board.say(&format!("kill -9 {name}, while the job runs"));
        let (switched, returned) = self.watch_switch(&ids, &jid, killed).await?;
        let answering = self.count_answers(victim).await?;
        Ok(Report {
            killed: name,
            switched,
            jid,
            minions: self.minions.len(),
            expected: ids.len(),
            returned,
            answering,
            sign_in: self.sign_in,
        })
    }

    /// `salt-key -A` on every master, once every minion has shown its key there.
    async fn accept_keys(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let expected = self.minions.len();
        for (site, _) in &self.masters {
            until(&format!("{expected} keys on {}", site.name), async || {
                let keys = tool(&site.conf, &["key", "-l", "un", "--out", "json"]).await?;
                let list = json::parse(&keys).unwrap_or_default();
                let found = list.get("minions_pre").and_then(Value::as_list).map_or(0, <[_]>::len);
                Ok((found == expected).then_some(()))
            })
            .await?;
        }
        for (site, _) in &self.masters {
            tool(&site.conf, &["key", "-y", "-A"]).await?;
            self.board.say(&format!("salt-key -A on {}: {expected} keys accepted", site.name));
        }
        self.sign_in = start.elapsed();
        Ok(())
    }

    async fn all_connected(&mut self) -> Result<(), Failure> {
        let mut open: BTreeSet<String> = self.minions.iter().map(|(m, _)| m.id.clone()).collect();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !open.is_empty() {
            let (master, event) = self.next_event(deadline, "minions to connect").await?;
            if let Some(id) = started(&event) {
                open.remove(id);
                self.board.moved(id, &master, None);
            }
        }
        Ok(())
    }

    fn busiest(&self) -> usize {
        let count = |index: &usize| self.board.on(&self.masters[*index].0.name).len();
        (0..self.masters.len()).max_by_key(count).unwrap_or(0)
    }

    async fn publish(&self, site: &MasterSite, ids: &BTreeSet<String>) -> Result<String, Failure> {
        let text = tool(&site.conf, &["salt", "--async", "-L", &list(ids), "cmd.run", JOB]).await?;
        text.split_whitespace()
            .last()
            .map(str::to_owned)
            .ok_or_else(|| Failure::generic("salt --async printed no job id"))
    }

    /// The master may only die when the job has begun everywhere, else there is nothing to save.
    async fn wait_begun(
        &self,
        site: &MasterSite,
        jid: &str,
        ids: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        until("the job to begin everywhere", async || {
            let names = list(ids);
            let args =
                ["salt", "-L", &names, "saltutil.find_job", jid, "--out", "json", "--static"];
            let found = json::parse(&tool(&site.conf, &args).await?).unwrap_or_default();
            let begun = ids.iter().all(|id| found.get(id).is_some_and(Value::truthy));
            Ok(begun.then_some(()))
        })
        .await
    }

    async fn watch_switch(
        &mut self,
        ids: &BTreeSet<String>,
        jid: &str,
        killed: Instant,
    ) -> Result<(BTreeMap<String, Duration>, usize), Failure> {
        let mut switched = BTreeMap::new();
        let mut returned = BTreeSet::new();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while switched.len() < ids.len() || returned.len() < ids.len() {
            let Ok((master, event)) = self.next_event(deadline, "returns").await else { break };
            if let Some(id) = started(&event).filter(|id| ids.contains(*id)) {
                let took = killed.elapsed();
                switched.entry(id.to_owned()).or_insert(took);
                self.board.moved(id, &master, Some(took));
            }
            let id = event.data.get_str("id").unwrap_or_default();
            if event.tag == format!("salt/job/{jid}/ret/{id}") && returned.insert(id.to_owned()) {
                let text = event.data.get_str("return").unwrap_or("?");
                self.board.say(&format!("{id} returned the job to {master}: {text}"));
            }
        }
        Ok((switched, returned.len()))
    }

    async fn count_answers(&mut self, victim: usize) -> Result<usize, Failure> {
        let mut answering = 0;
        let alive = self.masters.iter().enumerate().filter(|(index, _)| *index != victim);
        for (site, _) in alive.map(|(_, master)| master) {
            let ids: BTreeSet<String> = self.board.on(&site.name).into_iter().collect();
            if ids.is_empty() {
                continue;
            }
            let text = ping(site, &ids).await?;
            let reply = json::parse(&text).unwrap_or_default();
            answering += reply.as_map().map_or(0, |m| m.values().filter(|v| v.truthy()).count());
            self.board.say(&format!("salt -L ... test.ping on {}: {}", site.name, one_line(&text)));
        }
        Ok(answering)
    }

    async fn next_event(
        &mut self,
        deadline: tokio::time::Instant,
        what: &str,
    ) -> Result<(String, Event), Failure> {
        match tokio::time::timeout_at(deadline, self.events.recv()).await {
            Ok(Some(event)) => Ok(event),
            _ => Err(Failure::generic(format!("waited {PATIENCE:?} in vain for {what}"))
                .hint(format!("the logs are below {}; --keep leaves them", self.root.display()))),
        }
    }

    fn look_around(&self, keep: bool) -> std::io::Result<()> {
        let exe = std::env::current_exe()?.display().to_string();
        let conf = |index: usize| self.masters[index].0.conf.display().to_string();
        let alive = usize::from(self.dead == 0);
        if !keep {
            return line("\nRun it with --keep to leave the fleet running and look around.");
        }
        let minion = self.minions[0].0.conf.display();
        let masters = self.masters.iter().enumerate().filter(|(index, _)| *index != self.dead);
        let masters = masters.map(|(_, (_, daemon))| daemon.pid());
        let pids = masters.chain(self.minions.iter().map(|(_, daemon)| daemon.pid()));
        let pids: Vec<_> = pids.map(|pid| pid.to_string()).collect();
        line(&format!(
            "\nLook around:\n  {exe} salt -c {m} '*' test.ping\n  {exe} run -c {m} manage.status\n  \
             {exe} run -c {m} jobs.list_jobs\n  {exe} run -c {m} state.event\n  \
             {exe} call -c {minion} test.ping\nStart the dead master again:\n  \
             {exe} master -c {dead} -d\nEnd it all:\n  kill {}; rm -r {}",
            pids.join(" "),
            self.root.display(),
            m = conf(alive),
            dead = conf(self.dead),
        ))
    }

    fn leave_running(&mut self) {
        self.masters.iter_mut().for_each(|(_, daemon)| daemon.leave_running());
        self.minions.iter_mut().for_each(|(_, daemon)| daemon.leave_running());
    }
}

/// Waits for a master's ports and bus; returns its bus.
async fn wait_ready(site: &MasterSite, daemon: &mut Daemon) -> Result<Subscriber, Failure> {
    let socket = BusPaths::master(&site.sock_dir).publish;
    let deadline = Instant::now() + PATIENCE;
    loop {
        daemon.check(&site.conf)?;
        let ports = [site.ret_port, site.publish_port];
        let open = ports.iter().all(|p| std::net::TcpStream::connect(("127.0.0.1", *p)).is_ok());
        if open && let Ok(bus) = Subscriber::connect(&socket).await {
            return Ok(bus);
        }
        if Instant::now() > deadline {
            return Err(Failure::generic(format!("{} did not start in time", site.name)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn listen(master: String, mut bus: Subscriber, to: mpsc::UnboundedSender<(String, Event)>) {
    while let Ok(Some(event)) = bus.next().await {
        if to.send((master.clone(), event)).is_err() {
            return;
        }
    }
}

/// The minion whose start event this is.
fn started(event: &Event) -> Option<&str> {
    event.tag.strip_prefix("salt/minion/")?.strip_suffix("/start")
}

async fn until<F>(what: &str, mut probe: impl FnMut() -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<Option<()>, Failure>>,
{
    let deadline = Instant::now() + PATIENCE;
    while probe().await?.is_none() {
        if Instant::now() > deadline {
            return Err(Failure::generic(format!("waited {PATIENCE:?} in vain for {what}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn ping(site: &MasterSite, ids: &BTreeSet<String>) -> Result<String, Failure> {
    tool(&site.conf, &["salt", "-L", &list(ids), "test.ping", "--out", "json", "--static"]).await
}

fn list(ids: &BTreeSet<String>) -> String {
    ids.iter().cloned().collect::<Vec<_>>().join(",")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
