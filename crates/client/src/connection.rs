//! The way to a running master: root key, request port, event bus.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use saltern_config::MasterOptions;
use saltern_event::{BusPaths, client::Subscriber};
use saltern_transport::zeromq::{Requester, RequesterOptions};
use saltern_value::{Map, Value, msgpack};

use crate::ClientError;

/// A local tool's connection to its master.
pub struct Connection {
    requester: Requester,
    bus: PathBuf,
    cachedir: PathBuf,
    master_user: String,
    /// The id under which the master keeps the returns of its own functions.
    pub(crate) master_id: String,
    user: String,
}

impl Connection {
    /// Prepares a connection for `user` (the login name; `sudo_<name>` under sudo). Nothing is
    /// sent yet.
    #[must_use]
    pub fn new(opts: &MasterOptions, user: &str) -> Self {
        let address = request_address(opts);
        Connection {
            requester: Requester::new(address, RequesterOptions::default()),
            bus: BusPaths::master(&opts.sock_dir).publish,
            cachedir: opts.cachedir.clone(),
            master_user: opts.user.clone(),
            master_id: opts.id.clone(),
            user: user.to_owned(),
        }
    }

    /// Subscribes to the master's event bus.
    ///
    /// # Errors
    /// [`ClientError::Bus`] when no master serves it.
    pub async fn events(&self) -> Result<Subscriber, ClientError> {
        Subscriber::connect(&self.bus)
            .await
            .map_err(|source| ClientError::Bus { path: self.bus.clone(), source })
    }

    /// Sends a clear command that needs the local key, and returns the answer. A master that was
    /// restarted has a new key, so a refusal is tried once more with the file read again.
    ///
    /// # Errors
    /// When the key is not readable, the master does not answer in time, or refuses.
    pub async fn command(&self, load: Map, timeout: Duration) -> Result<Value, ClientError> {
        let answer = self.send(&load, timeout).await?;
        if !answer.truthy() || is_authentication_error(&answer) {
            return refusal(self.send(&load, timeout).await?);
        }
        refusal(answer)
    }

    /// Asks the master whether it answers requests; needs no key.
    ///
    /// # Errors
    /// When it does not answer in time, or something else does.
    pub async fn ping(&self, timeout: Duration) -> Result<(), ClientError> {
        let answer = self.exchange(Map::from([("cmd", "ping")]), timeout).await?;
        match answer.get("cmd").and_then(Value::as_str) {
            Some("ping") => Ok(()),
            _ => Err(ClientError::Protocol("the answer to a ping is none".into())),
        }
    }

    async fn send(&self, load: &Map, timeout: Duration) -> Result<Value, ClientError> {
        let mut load = load.clone();
        load.insert("key", self.key()?);
        // Wheel functions get every other member of the load as an argument (wire-protocol §8.2).
        if load.get_str("cmd") != Some("wheel") {
            load.insert("user", self.user.as_str());
        }
        self.exchange(load, timeout).await
    }

    async fn exchange(&self, load: Map, timeout: Duration) -> Result<Value, ClientError> {
        let envelope = Map::from([
            ("enc", Value::from("clear")),
            ("load", Value::Map(load)),
            ("version", Value::Int(3)),
        ]);
        let body = msgpack::encode_map(&envelope, msgpack::Encoding::OldRaw);
        let reply = self.requester.request(body, timeout).await.map_err(|source| {
            ClientError::Request { address: self.requester.address().to_owned(), source }
        })?;
        msgpack::from_network(&reply).map_err(|e| ClientError::Protocol(e.to_string()))
    }

    /// The key of the user's own file, else (as root or the master's user) of the master's.
    fn key(&self) -> Result<String, ClientError> {
        let plain = self.user.strip_prefix("sudo_").map_or(self.user.as_str(), |_| "root");
        let own = self.cachedir.join(format!(".{plain}_key"));
        let masters = self.cachedir.join(format!(".{}_key", self.master_user));
        let candidates = if plain == "root" { [&masters, &own] } else { [&own, &masters] };
        let mut failure = None;
        for path in candidates {
            match fs::read_to_string(path) {
                Ok(key) => return Ok(key.trim_end().to_owned()),
                Err(source) => {
                    failure.get_or_insert(ClientError::Key { path: path.clone(), source });
                }
            }
        }
        Err(failure.unwrap_or(ClientError::MasterEnded))
    }
}

/// Where the request port answers locally: the wildcard addresses listen on loopback too.
fn request_address(opts: &MasterOptions) -> String {
    let ip = match opts.interface.parse::<IpAddr>() {
        Ok(ip) if ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Ok(ip) if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Ok(ip) => ip,
        Err(_) => return format!("{}:{}", opts.interface, opts.ret_port),
    };
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{}", opts.ret_port),
        IpAddr::V6(ip) => format!("[{ip}]:{}", opts.ret_port),
    }
}

fn is_authentication_error(answer: &Value) -> bool {
    error_of(answer).is_some_and(|(name, _)| name.contains("Authentication"))
}

fn refusal(answer: Value) -> Result<Value, ClientError> {
    match error_of(&answer) {
        Some((name, message)) => Err(ClientError::Refused { name, message }),
        None if answer.as_str() == Some("bad load") => Err(ClientError::Protocol(
            "it refused the request as malformed; is something else listening on its port?".into(),
        )),
        None => Ok(answer),
    }
}

fn error_of(answer: &Value) -> Option<(String, String)> {
    match answer.get("error")? {
        Value::Map(error) => Some((
            error.get_str("name").unwrap_or("Error").to_owned(),
            error.get_str("message").unwrap_or("The master gave no reason").to_owned(),
        )),
        Value::Str(text) => Some(("Error".to_owned(), text.clone())),
        _ => None,
    }
}
