//! A job in batches: never more than so many minions at work on it at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use saltern_value::Value;
use tokio::sync::mpsc;

use crate::local::not_connected;
use crate::{Answer, ClientError, JobRequest, LocalClient};

/// How many at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BatchSize {
    /// That many minions.
    Count(usize),
    /// That share of them, in percent.
    Percent(f64),
}

impl BatchSize {
    /// Reads `3`, `10%` or `%10`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!("Invalid batch data sent: {text}\nData must be in the form of %10, 10% or 3")
        };
        match text.strip_suffix('%').or_else(|| text.strip_prefix('%')) {
            Some(share) => match share.trim().parse::<f64>() {
                Ok(share) if share > 0.0 => Ok(BatchSize::Percent(share)),
                _ => Err(invalid()),
            },
            None => match text.trim().parse::<usize>() {
                Ok(count) if count > 0 => Ok(BatchSize::Count(count)),
                _ => Err(invalid()),
            },
        }
    }

    /// The number for a fleet of `total`: at least one.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            BatchSize::Count(count) => count,
            BatchSize::Percent(share) => ((total as f64 * share / 100.0) as usize).max(1),
        }
    }
}

/// Runs `request` on `minions`, at most `size` of them at a time, and hands each answer to
/// `on_answer` (`false` stops the batch: no further minion is started). `on_start` is told which
/// minions begin.
///
/// # Errors
/// When the master cannot be reached or refuses.
pub async fn run_batch(
    client: &LocalClient,
    request: &JobRequest,
    minions: Vec<String>,
    size: usize,
    waits: (Duration, Duration),
    mut on_start: impl FnMut(&[String]),
    mut on_answer: impl FnMut(Answer) -> bool,
) -> Result<(), ClientError> {
    let (timeout, pause) = waits;
    let mut waiting = minions.into_iter().rev().collect::<Vec<_>>();
    let mut free = size.max(1);
    let mut stopped = false;
    // A slot is given back by each answer, after the pause asked for (`--batch-wait`).
    let (slots, mut freed) = mpsc::unbounded_channel::<()>();
    let (answers, mut arrived) = mpsc::unbounded_channel();
    let mut at_work = 0usize;
    let mut jobs = Vec::new();
    loop {
        if free > 0 && !waiting.is_empty() && !stopped {
            let begin: Vec<_> =
                (0..free.min(waiting.len())).filter_map(|_| waiting.pop()).collect();
            free -= begin.len();
            at_work += begin.len();
            on_start(&begin);
            jobs.push(Box::pin(collect(client, request, begin, timeout, answers.clone())));
        }
        if at_work == 0 && (waiting.is_empty() || stopped) {
            return Ok(());
        }
        tokio::select! {
            finished = any(&mut jobs) => finished?,
            Some(answer) = arrived.recv() => {
                // Answers that came together make room for one job, not for one each.
                let mut next = Some(answer);
                while let Some(answer) = next {
                    at_work -= 1;
                    stopped |= !on_answer(answer);
                    if pause.is_zero() {
                        free += 1;
                    } else {
                        let slots = slots.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(pause).await;
                            let _ = slots.send(());
                        });
                    }
                    next = arrived.try_recv().ok();
                }
            }
            Some(()) = freed.recv() => free += 1,
        }
    }
}

/// Waits until one of the jobs ends, and forgets it; for ever when there are none.
async fn any<F: Future<Output = Result<(), ClientError>>>(
    jobs: &mut Vec<std::pin::Pin<Box<F>>>,
) -> Result<(), ClientError> {
    std::future::poll_fn(|context| {
        for index in 0..jobs.len() {
            if let std::task::Poll::Ready(result) = jobs[index].as_mut().poll(context) {
                drop(jobs.swap_remove(index));
                return std::task::Poll::Ready(result);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

async fn collect(
    client: &LocalClient,
    request: &JobRequest,
    ids: Vec<String>,
    timeout: Duration,
    answers: mpsc::UnboundedSender<Answer>,
) -> Result<(), ClientError> {
    let mut open: BTreeSet<String> = ids.iter().cloned().collect();
    let request = JobRequest { tgt: Value::from(ids), tgt_type: "list".into(), ..request.clone() };
    if let Some(mut running) = client.run(&request, timeout).await? {
        while let Some(answer) = running.next().await? {
            open.remove(&answer.id);
            let _ = answers.send(answer);
        }
    }
    for id in open {
        let _ = answers.send(not_connected(id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_the_tool_takes_them() {
        assert_eq!(BatchSize::parse("3"), Ok(BatchSize::Count(3)));
        assert_eq!(BatchSize::parse("10%").map(|s| s.of(25)), Ok(2));
        assert_eq!(BatchSize::parse("%10").map(|s| s.of(5)), Ok(1));
        for bad in ["0", "x", "%", "-1", ""] {
            assert!(BatchSize::parse(bad).is_err(), "{bad}");
        }
    }
}
