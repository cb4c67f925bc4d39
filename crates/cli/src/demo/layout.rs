//! The directories and files of the demonstration: exactly what an operator would write.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Where a master lives.
#[derive(Clone, Debug)]
pub(super) struct MasterSite {
    pub(super) name: String,
    pub(super) conf: PathBuf,
    pub(super) pki: PathBuf,
    pub(super) sock_dir: PathBuf,
    pub(super) ret_port: u16,
    pub(super) publish_port: u16,
}

/// Where a minion lives.
#[derive(Clone, Debug)]
pub(super) struct MinionSite {
    pub(super) id: String,
    pub(super) conf: PathBuf,
    pub(super) pki: PathBuf,
}

/// Makes a directory nobody else can look into.
pub(super) fn make_root() -> Result<PathBuf, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    // Short, because the path of a unix socket may have 107 bytes at most.
    let root = std::env::temp_dir().join(format!("saltern-demo-{}", std::process::id()));
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&root)
        .map_err(|e| Failure::generic(format!("{} cannot be made: {e}", root.display())))?;
    Ok(root)
}

/// Writes a master's configuration: its own ports, and the recipe's one option.
pub(super) fn master(root: &Path, number: u16) -> std::io::Result<MasterSite> {
    let name = format!("m{number}");
    let home = root.join(&name);
    let (ret_port, publish_port) = free_ports()?;
    let site = MasterSite {
        conf: home.join("etc"),
        pki: home.join("pki"),
        sock_dir: home.join("s"),
        ret_port,
        publish_port,
        name,
    };
    fs::create_dir_all(site.conf.join("master.d"))?;
    fs::create_dir_all(home.join("srv"))?;
    fs::write(
        site.conf.join("master"),
        format!(
            "id: {name}\nuser: {user}\ninterface: 127.0.0.1\nret_port: {ret_port}\n\
             publish_port: {publish_port}\nroot_dir: {home}\npki_dir: {home}/pki\n\
             cachedir: {home}/cache\nsock_dir: {home}/s\nlog_file: {home}/log\n\
             pidfile: {home}/pid\nlog_level: info\n\
             file_roots: {{base: [{home}/srv]}}\npillar_roots: {{base: [{home}/srv]}}\n",
            name = site.name,
            user = crate::user::current(),
            home = home.display(),
        ),
    )?;
    fs::write(site.conf.join("master.d/master_sign_pubkey.conf"), "master_sign_pubkey: True\n")?;
    Ok(site)
}

/// Writes a minion's configuration: the recipe, with all masters.
pub(super) fn minion(
    root: &Path,
    number: u16,
    masters: &[MasterSite],
) -> std::io::Result<MinionSite> {
    let id = format!("minion{number}");
    let home = root.join(&id);
    let site = MinionSite { conf: home.join("etc"), pki: home.join("pki"), id };
    fs::create_dir_all(site.conf.join("minion.d"))?;
    fs::create_dir_all(&site.pki)?;
    let list: Vec<_> = masters.iter().map(|m| format!("127.0.0.1:{}", m.ret_port)).collect();
    fs::write(
        site.conf.join("minion"),
        format!(
            "id: {id}\nmaster: [{list}]\nmaster_type: failover\n\
             verify_master_pubkey_sign: True\nmaster_alive_interval: 5\nrandom_master: True\n\
             retry_dns: 0\nacceptance_wait_time: 1\nroot_dir: {home}\npki_dir: {home}/pki\n\
             cachedir: {home}/cache\nsock_dir: {home}/s\nlog_file: {home}/log\n\
             pidfile: {home}/pid\nlog_level: info\n",
            id = site.id,
            list = list.join(", "),
            home = home.display(),
        ),
    )?;
    Ok(site)
}

/// Copies the signing pair to another master, as the recipe says.
pub(super) fn share_signing_pair(from: &MasterSite, to: &MasterSite) -> std::io::Result<()> {
    fs::create_dir_all(&to.pki)?;
    for file in ["master_sign.pem", "master_sign.pub"] {
        fs::copy(from.pki.join(file), to.pki.join(file))?;
    }
    Ok(())
}

/// Gives a minion the public half, as the recipe says.
pub(super) fn trust(minion: &MinionSite, master: &MasterSite) -> std::io::Result<()> {
    fs::copy(master.pki.join("master_sign.pub"), minion.pki.join("master_sign.pub")).map(drop)
}

/// Two ports that were free a moment ago.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let (one, two) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok((one.local_addr()?.port(), two.local_addr()?.port()))
}
