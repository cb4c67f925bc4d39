//! The connections of a minion: requests over them, what arrives, and how they end.

use saltern_failover::{Channel, Input, LossReason, Soft, Verdict};

use super::{Fact, Line, Pending, Step, Timer};
use crate::clock::Time;
use crate::net::{Ask, ConnId, Goal, Msg, Purpose};
use crate::world::World;

impl World {
    /// Closes a connection; requests over it have failed.
    pub(crate) fn hang_up(&mut self, m: usize, conn: ConnId, refused: bool) {
        self.minions[m].lines.remove(&conn);
        self.net.close_minion(&mut self.agenda, conn);
        let minion = &mut self.minions[m];
        let over: Vec<u64> =
            minion.requests.iter().filter(|(_, p)| p.conn == conn).map(|(n, _)| *n).collect();
        for request in over {
            if let Some(pending) = self.minions[m].requests.remove(&request) {
                self.request_failed(m, pending.goal, refused);
            }
        }
    }

    /// Asks over the link of a session, which connects anew if it has to.
    pub(crate) fn ask(&mut self, m: usize, goal: Goal, ask: Ask, deadline: Time) {
        let (Goal::SignIn(attempt)
        | Goal::Renew(attempt)
        | Goal::Prove(attempt, _)
        | Goal::Return(attempt, _)
        | Goal::Pillar(attempt)) = goal
        else {
            return;
        };
        let life = self.minions[m].life;
        let Some(session) = self.minions[m].sessions.get_mut(&attempt) else { return };
        let conn = match session.requests {
            Some(conn) => conn,
            None => {
                // The name is looked up for each connection.
                let address = self.net.names[session.master].unwrap_or(session.address);
                let to = (session.master, address);
                let purpose = Purpose::Link(attempt);
                let (agenda, channel) = (&mut self.agenda, Channel::Requests);
                let conn = self.net.connect(agenda, (m, life), to, channel, purpose);
                session.requests = Some(conn);
                self.minions[m].lines.insert(conn, Line::default());
                conn
            }
        };
        self.post(m, conn, goal, ask, deadline);
    }

    pub(super) fn ask_prober(&mut self, m: usize, master: usize, goal: Goal, deadline: Time) {
        let life = self.minions[m].life;
        let conn = match self.minions[m].probers.get(&master) {
            Some(conn) => *conn,
            None => {
                let Some(address) = self.net.names[master] else {
                    self.request_failed(m, goal, false);
                    return;
                };
                let purpose = Purpose::Prober(master);
                let (agenda, channel) = (&mut self.agenda, Channel::Requests);
                let conn = self.net.connect(agenda, (m, life), (master, address), channel, purpose);
                self.minions[m].probers.insert(master, conn);
                self.minions[m].lines.insert(conn, Line::default());
                conn
            }
        };
        self.post(m, conn, goal, Ask::Clear, deadline);
    }

    fn post(&mut self, m: usize, conn: ConnId, goal: Goal, ask: Ask, deadline: Time) {
        let request = self.number();
        self.minions[m].requests.insert(request, Pending { goal, conn });
        self.timer(m, deadline, Timer::Deadline { request });
        self.write(m, conn, Msg::Request(request, ask));
    }

    pub(super) fn write(&mut self, m: usize, conn: ConnId, msg: Msg) {
        let Some(line) = self.minions[m].lines.get_mut(&conn) else { return };
        if line.ready {
            self.net.send(&mut self.agenda, conn, crate::net::Way::Up, msg);
        } else {
            line.waiting.push(msg);
        }
    }

    pub(super) fn request_overdue(&mut self, m: usize, request: u64) {
        let Some(pending) = self.minions[m].requests.remove(&request) else { return };
        // What else waits on this connection waits in vain, too; the next request makes a new one.
        self.line_ended(m, pending.conn, false);
        self.request_failed(m, pending.goal, false);
    }

    /// A connection is gone, from here or from there.
    pub(crate) fn line_ended(&mut self, m: usize, id: ConnId, refused: bool) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let (purpose, channel) = (conn.purpose, conn.channel);
        let soft = if refused { Soft::Refused } else { Soft::Broken };
        match purpose {
            Purpose::Prober(master) => {
                self.minions[m].probers.remove(&master);
                self.hang_up(m, id, refused);
            }
            Purpose::Link(attempt) => {
                let Some(session) = self.minions[m].sessions.get_mut(&attempt) else {
                    self.hang_up(m, id, refused);
                    return;
                };
                let (step, master) = (session.step, session.master);
                match step {
                    Step::Ready if channel == Channel::Publications => {
                        session.subscription = None;
                        self.hang_up(m, id, refused);
                        let fact = Fact::Lost(attempt, LossReason::Closed);
                        self.timer(m, Time::ZERO, Timer::Tell(fact));
                    }
                    Step::Ready => {
                        session.requests = None;
                        self.hang_up(m, id, refused);
                    }
                    Step::Kept => {
                        self.drop_session(m, attempt);
                        self.timer(m, Time::ZERO, Timer::Tell(Fact::Cooled(master)));
                    }
                    _ => self.fail(m, attempt, soft),
                }
            }
        }
    }

    /// The minion's end of a connection stands.
    pub(crate) fn connected(&mut self, m: usize, id: ConnId) {
        if self.minions[m].lines.contains_key(&id) {
            self.net.send(&mut self.agenda, id, crate::net::Way::Up, Msg::Hello);
        }
    }

    /// Something arrived at the minion's end of a connection.
    pub(crate) fn minion_arrival(&mut self, m: usize, id: ConnId, msg: Msg) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let (purpose, channel, master) = (conn.purpose, conn.channel, conn.master);
        self.arrived(m, master, channel);
        if channel == Channel::Publications
            && let Purpose::Link(attempt) = purpose
            && !matches!(msg, Msg::Welcome | Msg::Fin)
        {
            self.tell(m, Input::Received { attempt });
        }
        match (msg, purpose) {
            (Msg::Fin, _) => self.line_ended(m, id, false),
            (Msg::Welcome, _) => {
                let Some(line) = self.minions[m].lines.get_mut(&id) else { return };
                line.ready = true;
                for msg in std::mem::take(&mut line.waiting) {
                    self.net.send(&mut self.agenda, id, crate::net::Way::Up, msg);
                }
                if let (Purpose::Link(attempt), Channel::Publications) = (purpose, channel) {
                    self.write(m, id, Msg::Subscribe);
                    if let Some(session) = self.minions[m].sessions.get_mut(&attempt) {
                        session.step = Step::Ready;
                        session.took = self.agenda.now().saturating_sub(session.began);
                    }
                    self.tell(m, Input::Verdict { attempt, verdict: Verdict::Ok });
                }
            }
            (Msg::Reply(request, answer), _) => {
                if let Some(pending) = self.minions[m].requests.remove(&request) {
                    self.answered(m, pending.goal, answer);
                }
            }
            (Msg::Publication(publication), Purpose::Link(attempt)) => {
                self.publication(m, attempt, publication, false);
            }
            _ => {}
        }
    }
}
