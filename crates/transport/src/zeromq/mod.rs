//! ZeroMQ sockets of a master ([`Router`], [`Publisher`]) and of a minion or a tool
//! ([`Requester`], [`Subscriber`]).

mod budget;
mod client;
mod counters;
mod link;
mod places;
mod publisher;
mod requester;
mod router;
mod server;
mod subscriber;
mod timer;
mod topics;

pub use counters::{CloseReason, Counters};
pub use places::Places;
pub use publisher::{Audience, PublishReport, Publisher, PublisherOptions, SubscriberInfo};
pub use requester::{RequestError, Requester, RequesterOptions};
pub use router::{AnswerAtOnce, Reply, Request, Router, RouterOptions};
pub use subscriber::{Heartbeat, Lost, LostReason, Pulse, Subscriber, SubscriberOptions};
