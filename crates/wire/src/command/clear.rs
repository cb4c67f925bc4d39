//! Clear commands: sign-in, ping, and what the tools on the master's host send (wire-protocol §8).

use std::fmt;

use saltern_base::Jid;
use saltern_value::{Map, Value};

use super::fields::{FieldError, Fields};
use super::root_key::{AuthFailed, RootKeys};
use crate::Verified;
use crate::envelope::ClearRequest;
use crate::refused::{Reason, Refused};
use crate::reply;

/// A clear command. Only its name prints: some carry passwords.
pub enum ClearCommand {
    /// `ping`: the answer is the load itself.
    Ping(Map),
    /// `_auth`: for [`crate::auth::server::AuthRequest::parse`].
    Auth(Map),
    /// `publish`
    Publish(Unverified<Publish>),
    /// `runner`
    Runner(Unverified<Runner>),
    /// `wheel`
    Wheel(Unverified<Wheel>),
    /// `mk_token`
    MkToken(Map),
    /// `get_token`
    GetToken(Map),
    /// Any other name; answered with [`reply::unknown_command`].
    Unknown(String),
}

/// A job to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Target: text, or a list of ids.
    pub tgt: Value,
    /// How to read the target.
    pub tgt_type: String,
    /// Function, or a list of them.
    pub fun: Value,
    /// Arguments.
    pub arg: Vec<Value>,
    /// Returner.
    pub ret: String,
    /// The id to use; `None` when the master is to choose.
    pub jid: Option<Jid>,
    /// Time-out for syndics, in seconds.
    pub to: Option<Value>,
    /// Further options.
    pub kwargs: Map,
    /// The user that was proved, once it was.
    pub user: String,
    /// The request as it is kept in the job cache: without the key.
    pub load: Map,
}

/// A runner to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Runner {
    /// Function.
    pub fun: String,
    /// Positional arguments.
    pub arg: Vec<Value>,
    /// Named arguments.
    pub kwarg: Map,
    /// The user that was proved, once it was.
    pub user: String,
}

/// A wheel function to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Wheel {
    /// Function.
    pub fun: String,
    /// Positional arguments.
    pub arg: Vec<Value>,
    /// Named arguments: `kwarg`, and everything at the top level that is not part of the protocol.
    pub kwarg: Map,
    /// The user that was proved, once it was.
    pub user: String,
}

/// Who sends a clear command, as they say. Secrets do not print.
#[derive(Clone, Default)]
pub struct Credentials {
    user: Option<String>,
    key: Option<String>,
    token: Option<String>,
    eauth: Option<String>,
}

/// A command that nobody has proved to be allowed to send. [`Unverified::verify`] is the way to
/// its content.
#[derive(Debug)]
pub struct Unverified<T> {
    credentials: Credentials,
    command: Box<T>,
}

impl Credentials {
    /// The user named.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn eauth(&self) -> Option<&str> {
        self.eauth.as_deref()
    }

    /// Takes the credentials out of a load.
    fn take(load: &mut Map) -> Self {
        let mut text = |field| match load.remove(field) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        };
        Credentials {
            key: text("key"),
            token: text("token"),
            eauth: text("eauth"),
            user: text("user"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What carries the proved user.
trait Attributed {
    fn attribute(&mut self, user: String);
}

impl<T> Unverified<T> {
    /// Who they say they are, for the log.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

macro_rules! verifiable {
    ($($command:ty),*) => {$(
        impl Unverified<$command> {
            /// Proves the sender by the local root key.
            ///
            /// # Errors
            /// [`AuthFailed`].
            pub fn verify(self, keys: &RootKeys) -> Result<Verified<$command>, AuthFailed> {
                let mut command = *self.command;
                command.attribute(keys.user(&self.credentials)?);
                Ok(Verified::new(command))
            }
        }
    )*};
}
verifiable!(Publish, Runner, Wheel);

impl Attributed for Publish {
    fn attribute(&mut self, user: String) {
        self.load.insert("user", user.as_str());
        self.user = user;
    }
}

impl Attributed for Runner {
    fn attribute(&mut self, user: String) {
        self.user = user;
    }
}

impl Attributed for Wheel {
    fn attribute(&mut self, user: String) {
        self.user = user;
    }
}

impl ClearCommand {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            ClearCommand::Ping(_) => "ping",
            ClearCommand::Auth(_) => "_auth",
            ClearCommand::Publish(_) => "publish",
            ClearCommand::Runner(_) => "runner",
            ClearCommand::Wheel(_) => "wheel",
            ClearCommand::MkToken(_) => "mk_token",
            ClearCommand::GetToken(_) => "get_token",
            ClearCommand::Unknown(name) => name,
        }
    }

    /// Reads a clear command.
    ///
    /// # Errors
    /// [`Refused`] with Salt's answer when the command is not named or its fields are wrong.
    pub fn parse(request: ClearRequest) -> Result<Self, Refused> {
        let load = request.load;
        let Some(name) = load.get_str("cmd").map(str::to_owned) else {
            return Err(Refused { reply: reply::unknown_command(), reason: Reason::NoCommand });
        };
        Self::named(&name, load)
            .map_err(|e| Refused::text("Some exception handling minion payload", Reason::Field(e)))
    }

    fn named(name: &str, load: Map) -> Result<Self, FieldError> {
        Ok(match name {
            "ping" => ClearCommand::Ping(load),
            "_auth" => ClearCommand::Auth(load),
            "publish" => ClearCommand::Publish(Publish::parse(load)?),
            "runner" => ClearCommand::Runner(Runner::parse(load)?),
            "wheel" => ClearCommand::Wheel(Wheel::parse(load)?),
            "mk_token" => ClearCommand::MkToken(load),
            "get_token" => ClearCommand::GetToken(load),
            other => ClearCommand::Unknown(other.to_owned()),
        })
    }
}

impl fmt::Debug for ClearCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClearCommand").field(&self.name()).finish()
    }
}

impl Publish {
    fn parse(mut load: Map) -> Result<Unverified<Self>, FieldError> {
        let mut credentials = Credentials::take(&mut load);
        if let Some(kwargs) = load.get_mut("kwargs").and_then(Value::as_map_mut) {
            // Here tokens and eauth travel inside kwargs; they are no options of the job.
            let inner = Credentials::take(kwargs);
            credentials.token = credentials.token.or(inner.token);
            credentials.eauth = credentials.eauth.or(inner.eauth);
            kwargs.remove("username");
            kwargs.remove("password");
        }
        let mut rest = load.clone();
        let mut f = Fields { command: "publish", load: &mut rest };
        let fun = f.need_value("fun", "a function or a list of them")?;
        if !is_fun(&fun) {
            return Err(f.wrong("fun", "a function or a list of them", Some(&fun)));
        }
        let tgt = f.need_value("tgt", "a target")?;
        let jid = match f.text("jid")?.filter(|jid| !jid.is_empty()) {
            None => None,
            Some(text) => Some(
                Jid::parse(&text)
                    .map_err(|_| f.wrong("jid", "a job id", Some(&Value::Str(text))))?,
            ),
        };
        let command = Publish {
            tgt,
            tgt_type: f.text_or("tgt_type", "glob")?,
            fun,
            arg: f.list("arg")?.unwrap_or_default(),
            ret: f.text_or("ret", "")?,
            jid,
            to: f.value("to"),
            kwargs: f.map("kwargs")?.unwrap_or_default(),
            user: String::new(),
            load,
        };
        Ok(Unverified { credentials, command: Box::new(command) })
    }
}

fn is_fun(value: &Value) -> bool {
    match value {
        Value::Str(name) => !name.is_empty(),
        Value::List(names) => !names.is_empty() && names.iter().all(|n| n.as_str().is_some()),
        _ => false,
    }
}

impl Runner {
    fn parse(mut load: Map) -> Result<Unverified<Self>, FieldError> {
        let credentials = Credentials::take(&mut load);
        let mut f = Fields { command: "runner", load: &mut load };
        let command = Runner {
            fun: f.need_text("fun")?,
            arg: f.list("arg")?.unwrap_or_default(),
            kwarg: f.map("kwarg")?.unwrap_or_default(),
            user: String::new(),
        };
        Ok(Unverified { credentials, command: Box::new(command) })
    }
}

impl Wheel {
    fn parse(mut load: Map) -> Result<Unverified<Self>, FieldError> {
        let credentials = Credentials::take(&mut load);
        let mut f = Fields { command: "wheel", load: &mut load };
        let fun = f.need_text("fun")?;
        let arg = f.list("arg")?.unwrap_or_default();
        let mut kwarg = f.map("kwarg")?.unwrap_or_default();
        for protocol in ["cmd", "username", "password", "print_event", "full_return"] {
            load.remove(protocol);
        }
        kwarg.extend(load);
        let command = Box::new(Wheel { fun, arg, kwarg, user: String::new() });
        Ok(Unverified { credentials, command })
    }
}
