//! Minion and masters in one process, over real sockets on loopback: sign-in, jobs, and what
//! happens when a master goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use saltern_config::{load_master, load_minion};
use saltern_event::Subscription;
use saltern_master::{Master, MasterHandle};
use saltern_minion::{Caller, Minion, MinionHandle};
use saltern_modules::Call;
use saltern_transport::zeromq::{Requester, RequesterOptions};
use saltern_value::msgpack::{self, Encoding};
use saltern_value::{Map, Value};

/// Nothing here takes long; this only keeps a failure from hanging.
const LIMIT: Duration = Duration::from_secs(120);

type Any<T> = Result<T, Box<dyn std::error::Error>>;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Any<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("saltern-mm-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir)?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

struct TestMaster {
    handle: MasterHandle,
    root: PathBuf,
}

impl TestMaster {
    /// A master of its own directory; the signing pair is that of `like`, or its own.
    fn start(dir: &Scratch, name: &str, like: Option<&TestMaster>, more: &str) -> Any<Self> {
        Self::start_at(dir, name, like, more, (0, 0))
    }

    /// The same on these ports (publications, requests).
    fn start_at(
        dir: &Scratch,
        name: &str,
        like: Option<&TestMaster>,
        more: &str,
        ports: (u16, u16),
    ) -> Any<Self> {
        let root = dir.0.join(name);
        let pki = root.join("pki");
        fs::create_dir_all(&pki)?;
        if let Some(other) = like {
            for file in ["master_sign.pem", "master_sign.pub"] {
                fs::copy(other.root.join("pki").join(file), pki.join(file))?;
            }
        }
        let file = root.join("master");
        let text = format!(
            "root_dir: /\ninterface: 127.0.0.1\npublish_port: {}\nret_port: {}\n\
             master_sign_pubkey: True\npki_dir: {r}/pki\ncachedir: {r}/cache\nsock_dir: {r}/run\n\
             log_file: {r}/log\npidfile: {r}/pid\npillar_roots: {{base: [{r}/pillar]}}\n{more}\n",
            ports.0,
            ports.1,
            r = root.display()
        );
        fs::write(&file, text)?;
        let handle = Master::start(load_master(&file)?).map_err(|e| e.to_string())?;
        Ok(TestMaster { handle, root })
    }

    fn address(&self) -> String {
        self.handle.request_address().to_string()
    }

    fn events(&self, prefix: &str) -> Subscription {
        self.handle.bus().subscribe(prefix)
    }

    /// Publishes a job as the tools of the master's host do; gives the job id.
    async fn publish(&self, tgt: &str, fun: &str, arg: &[&str]) -> Any<String> {
        let key = fs::read_dir(self.root.join("cache"))?
            .flatten()
            .find(|e| e.file_name().to_string_lossy().ends_with("_key"))
            .ok_or("no local key")?;
        let user = key.file_name().to_string_lossy().trim_matches(['.']).replace("_key", "");
        let load = Map::from([
            ("cmd", Value::from("publish")),
            ("tgt", Value::from(tgt)),
            ("tgt_type", Value::from("glob")),
            ("fun", Value::from(fun)),
            ("arg", Value::List(arg.iter().map(|a| Value::from(*a)).collect())),
            ("key", Value::from(fs::read_to_string(key.path())?)),
            ("user", Value::from(user)),
            ("ret", Value::from("")),
            ("jid", Value::from("")),
            ("kwargs", Value::Map(Map::new())),
        ]);
        let body = Map::from([
            ("enc", Value::from("clear")),
            ("load", Value::Map(load)),
            ("version", Value::Int(3)),
        ]);
        let requester = Requester::new(self.address(), RequesterOptions::default());
        let body = msgpack::encode_map(&body, Encoding::OldRaw);
        let answer = msgpack::from_network(&requester.request(body, LIMIT).await?)?;
        let jid = answer.get("load").and_then(|l| l.get("jid")).and_then(Value::as_str);
        Ok(jid.ok_or_else(|| format!("not published: {answer:?}"))?.to_owned())
    }

    fn keys(&self, state: &str) -> Vec<String> {
        let dir = self.root.join("pki").join(state);
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    }
}

fn minion_file(dir: &Scratch, masters: &[&TestMaster], signer: &Path, more: &str) -> Any<PathBuf> {
    let root = dir.0.join("minion");
    fs::create_dir_all(root.join("pki"))?;
    fs::copy(signer, root.join("pki/master_sign.pub"))?;
    let list: Vec<String> = masters.iter().map(|m| format!("'{}'", m.address())).collect();
    let file = root.join("minion");
    let text = format!(
        "root_dir: /\nid: web1\npki_dir: {r}/pki\ncachedir: {r}/cache\nsock_dir: {r}/run\n\
         log_file: {r}/log\npidfile: {r}/pid\nmaster: [{list}]\nverify_master_pubkey_sign: True\n\
         retry_dns: 0\nacceptance_wait_time: 1\nenable_gpu_grains: False\n{more}\n",
        r = root.display(),
        list = list.join(", ")
    );
    fs::write(&file, text)?;
    Ok(file)
}

async fn start(file: &Path) -> Any<MinionHandle> {
    Ok(Minion::start(load_minion(file)?).await?)
}

fn signer(master: &TestMaster) -> PathBuf {
    master.root.join("pki/master_sign.pub")
}

async fn event(events: &mut Subscription, tag_end: &str) -> Any<Map> {
    let wait = async {
        while let Some(event) = events.next().await {
            if event.tag.ends_with(tag_end) {
                return Ok(event.data.clone());
            }
        }
        Err("the bus is gone".into())
    };
    tokio::time::timeout(LIMIT, wait).await.map_err(|_| format!("no event {tag_end}"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minion_signs_in_runs_jobs_and_says_so() -> Any<()> {
    let dir = Scratch::new()?;
    let m1 = TestMaster::start(&dir, "m1", None, "auto_accept: True")?;
    let mut events = m1.events("");
    let file = minion_file(&dir, &[&m1], &signer(&m1), "start_event_grains: [id]")?;
    let minion = start(&file).await?;
    let started = event(&mut events, "salt/minion/web1/start").await?;
    assert_eq!(started.get("grains").and_then(|g| g.get("id")), Some(&Value::from("web1")));
    assert_eq!(minion.masters(), [m1.address()]);

    let jid = m1.publish("web*", "test.ping", &[]).await?;
    let returned = event(&mut events, &format!("{jid}/ret/web1")).await?;
    assert_eq!(returned.get("return"), Some(&Value::Bool(true)));
    assert_eq!(returned.get("retcode"), Some(&Value::Int(0)));

    let jid = m1.publish("web1", "no.such", &[]).await?;
    let returned = event(&mut events, &format!("{jid}/ret/web1")).await?;
    assert_eq!(returned.get("return"), Some(&Value::from("'no.such' is not available.")));
    assert_eq!(returned.get("success"), Some(&Value::Bool(false)));

    let called = Call::new("test.ping", Vec::new(), Map::new());
    let outcome = Caller::new(load_minion(&file)?).call(called).await?;
    assert_eq!(outcome.value, Value::Bool(true));
    minion.shutdown().await;
    m1.handle.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_return_of_a_job_arrives_although_its_master_died_meanwhile() -> Any<()> {
    let dir = Scratch::new()?;
    let m1 = TestMaster::start(&dir, "m1", None, "auto_accept: True")?;
    let m2 = TestMaster::start(&dir, "m2", Some(&m1), "auto_accept: True")?;
    let (mut on1, mut on2) = (m1.events(""), m2.events(""));
    let file = minion_file(&dir, &[&m1, &m2], &signer(&m1), "master_type: failover")?;
    let minion = start(&file).await?;
    event(&mut on1, "salt/minion/web1/start").await?;

    // The job waits for a file that appears only when its master is gone.
    let gate = dir.0.join("gate");
    let wait = format!("while [ ! -e {} ]; do sleep 0.05; done; echo done", gate.display());
    let jid = m1.publish("web1", "cmd.run", &[&wait]).await?;
    let proc_file = dir.0.join("minion/cache/proc").join(&jid);
    while !proc_file.exists() {
        tokio::task::yield_now().await;
    }
    drop(m1);
    event(&mut on2, "salt/minion/web1/start").await?;
    assert_eq!(minion.masters(), [m2.address()]);
    fs::write(&gate, "")?;
    let returned = event(&mut on2, &format!("{jid}/ret/web1")).await?;
    assert_eq!(returned.get("return"), Some(&Value::from("done")));
    assert!(!proc_file.exists());
    minion.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_failback_the_minion_goes_home_and_misses_no_job() -> Any<()> {
    let dir = Scratch::new()?;
    let m1 = TestMaster::start(&dir, "m1", None, "auto_accept: True")?;
    let m2 = TestMaster::start(&dir, "m2", Some(&m1), "auto_accept: True")?;
    let (mut on1, mut on2) = (m1.events(""), m2.events(""));
    let more = "master_type: failover\nmaster_alive_interval: 1\nmaster_failback: True";
    let file = minion_file(&dir, &[&m1, &m2], &signer(&m1), more)?;
    let minion = start(&file).await?;
    event(&mut on1, "salt/minion/web1/start").await?;
    let ports = (m1.handle.publish_address().port(), m1.handle.request_address().port());
    m1.handle.shutdown().await;
    event(&mut on2, "salt/minion/web1/start").await?;
    // The bus goes with the last thread of its master.
    let bus = m1.root.join("run/master_event_pull.ipc");
    let gone = async {
        while bus.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await?;

    let m1 = TestMaster::start_at(&dir, "m1", None, "auto_accept: True", ports)?;
    let mut on1 = m1.events("");
    event(&mut on1, "salt/minion/web1/start").await?;
    assert_eq!(minion.masters(), [m1.address()]);
    let jid = m1.publish("web1", "test.ping", &[]).await?;
    event(&mut on1, &format!("{jid}/ret/web1")).await?;
    minion.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_pending_on_the_first_master_does_not_keep_from_the_second() -> Any<()> {
    let dir = Scratch::new()?;
    let m1 = TestMaster::start(&dir, "m1", None, "auto_accept: False")?;
    let m2 = TestMaster::start(&dir, "m2", Some(&m1), "auto_accept: True")?;
    let mut on2 = m2.events("");
    let file = minion_file(&dir, &[&m1, &m2], &signer(&m1), "master_type: failover")?;
    let minion = start(&file).await?;
    event(&mut on2, "salt/minion/web1/start").await?;
    assert_eq!(m1.keys("minions_pre"), ["web1"]);
    assert_eq!(minion.masters(), [m2.address()]);
    minion.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_masters_are_connected_at_the_same_time_and_do_not_block_each_other() -> Any<()> {
    let dir = Scratch::new()?;
    let m1 = TestMaster::start(&dir, "m1", None, "auto_accept: False")?;
    let m2 = TestMaster::start(&dir, "m2", Some(&m1), "auto_accept: True")?;
    let (mut on1, mut on2) = (m1.events(""), m2.events(""));
    let file = minion_file(&dir, &[&m1, &m2], &signer(&m1), "")?;
    let minion = start(&file).await?;
    event(&mut on2, "salt/minion/web1/start").await?;
    assert_eq!(minion.masters(), [m2.address()]);
    let pki = m1.root.join("pki");
    fs::rename(pki.join("minions_pre/web1"), pki.join("minions/web1"))?;
    event(&mut on1, "salt/minion/web1/start").await?;
    for (master, events) in [(&m1, &mut on1), (&m2, &mut on2)] {
        let jid = master.publish("web1", "test.ping", &[]).await?;
        event(events, &format!("{jid}/ret/web1")).await?;
    }
    minion.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_nobody_vouches_for_gets_no_minion_until_the_key_is_right() -> Any<()> {
    let dir = Scratch::new()?;
    let m1 = TestMaster::start(&dir, "m1", None, "auto_accept: True")?;
    let other = TestMaster::start(&dir, "other", None, "auto_accept: True")?;
    let mut on1 = m1.events("");
    let file = minion_file(&dir, &[&m1], &signer(&other), "")?;
    let minion = start(&file).await?;
    let signed_in = event(&mut on1, "salt/auth").await?;
    assert_eq!(signed_in.get("act"), Some(&Value::from("accept")));
    assert!(minion.masters().is_empty());
    assert!(!dir.0.join("minion/pki/minion_master.pub").exists(), "nothing is stored");
    fs::copy(signer(&m1), dir.0.join("minion/pki/master_sign.pub"))?;
    event(&mut on1, "salt/minion/web1/start").await?;
    assert_eq!(minion.masters(), [m1.address()]);
    minion.shutdown().await;
    Ok(())
}
