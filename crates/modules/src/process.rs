//! Running programs: in their own process group, with bounded output and a deadline, as another
//! user when asked, and always known to the job, so that ending the job ends them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_uid};

use crate::jobs::Job;

/// More output than this is read and thrown away, so that no program can fill our memory.
pub(crate) const MAX_OUTPUT: usize = 128 << 20;

/// How often an ended job looks whether it still has to wait for its pipes.
const TICK: Duration = Duration::from_secs(1);

/// Who a program runs as.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, the own one included.
    pub(crate) groups: Vec<u32>,
}

/// A program to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) argv: Vec<String>,
    /// `argv[0]` as the program sees it, when it differs.
    pub(crate) shown_as: Option<String>,
    pub(crate) cwd: PathBuf,
    /// The whole environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) stdin: Option<Vec<u8>>,
    /// Both outputs go into one pipe, in the order they were written.
    pub(crate) merge_stderr: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) umask: Option<u32>,
    pub(crate) identity: Option<Identity>,
}

/// What a program left behind.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    pub(crate) pid: u32,
    /// Exit code, or minus the signal that ended it.
    pub(crate) code: i64,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) timed_out: bool,
}

/// Runs a program to its end (or the deadline, or the job's end) and reads its output.
pub(crate) fn run(program: &Program, job: &Job) -> io::Result<Finished> {
    let deadline = program.timeout.map(|t| Instant::now() + t);
    let mut pipes = Pipes::default();
    let mut child = {
        let mut command = command(program);
        command.stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let (out, out_writer) = io::pipe()?;
        pipes.stdout.source = Some(out.into());
        if program.merge_stderr {
            command.stderr(out_writer.try_clone()?);
        } else {
            let (err, err_writer) = io::pipe()?;
            pipes.stderr.source = Some(err.into());
            command.stderr(err_writer);
        }
        command.stdout(out_writer);
        spawn(command, program.identity.as_ref())?
    };
    let group = Pid::from_child(&child);
    let registered = job.register(group);
    if let (Some(stdin), Some(data)) = (child.stdin.take(), &program.stdin) {
        pipes.stdin = Some((stdin.into(), data.as_slice()));
    }
    let in_time = pipes.pump(deadline, job)? && wait_exit(group, deadline, job)?;
    if !in_time {
        let _ = kill_process_group(group, Signal::KILL);
    }
    // The child is not reaped before the job has forgotten it: its number may be used again.
    drop(registered);
    let status = child.wait()?;
    Ok(Finished {
        pid: child.id(),
        code: status.code().map_or_else(|| -i64::from(status.signal().unwrap_or(0)), i64::from),
        stdout: pipes.stdout.finish(),
        stderr: pipes.stderr.finish(),
        timed_out: !in_time && job.ended_by().is_none(),
    })
}

/// Starts a program that goes on alone: no pipes, no deadline, reaped when it ends.
pub(crate) fn run_in_background(program: &Program) -> io::Result<u32> {
    let mut command = command(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawn(command, program.identity.as_ref())?;
    let pid = child.id();
    thread::Builder::new().name(format!("reap-{pid}")).stack_size(64 * 1024).spawn(move || {
        drop(child.wait());
    })?;
    Ok(pid)
}

fn command(program: &Program) -> Command {
    let mut argv: Vec<&str> = program.argv.iter().map(String::as_str).collect();
    let with_umask;
    if let Some(umask) = program.umask {
        // The mask belongs to the whole process, so only a process of its own can have another.
        with_umask = format!("umask {umask:04o} && exec \"$@\"");
        argv.splice(0..0, ["/bin/sh", "-c", &with_umask, "sh"]);
    }
    let mut words = argv.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(&program.cwd).process_group(0);
    command.env_clear().envs(program.env.iter().map(|(k, v)| (k, v)));
    if let Some(name) = program.shown_as.as_ref().filter(|_| program.umask.is_none()) {
        command.arg0(name);
    }
    if let Some(identity) = &program.identity {
        command.uid(identity.uid).gid(identity.gid);
    }
    command
}

/// Spawns, with the supplementary groups of `identity`.
///
/// The standard library sets user and group of a child, and clears its groups when the real user
/// is root. Linux keeps identities per thread and a child inherits those of the thread that makes
/// it, so a thread of its own takes the groups first, and a real user other than root; its
/// effective user stays root, so it may still do all this. That real user is one nobody runs as:
/// were it the target user, that user could send this thread signals.
fn spawn(mut command: Command, identity: Option<&Identity>) -> io::Result<Child> {
    let Some(identity) = identity else { return command.spawn() };
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::from(rustix::io::Errno::PERM));
    }
    let groups: Vec<Gid> = identity.groups.iter().map(|g| Gid::from_raw(*g)).collect();
    let spawned = thread::Builder::new().name("runas".to_owned()).spawn(move || {
        set_thread_groups(&groups)?;
        let root = Some(Uid::ROOT);
        // The second is for user namespaces that do not map the first.
        [0xffff_fffe, 65_534]
            .into_iter()
            .find(|uid| set_thread_res_uid(Some(Uid::from_raw(*uid)), root, root).is_ok())
            .ok_or(rustix::io::Errno::PERM)?;
        command.spawn()
    })?;
    spawned.join().map_err(|_| io::Error::other("the thread that starts the program failed"))?
}

/// Waits for the exit without reaping; `false` when the deadline came first.
fn wait_exit(pid: Pid, deadline: Option<Instant>, job: &Job) -> io::Result<bool> {
    let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    if deadline.is_none() && job.ended_by().is_none() {
        loop {
            match waitid(WaitId::Pid(pid), exited) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other.map(|_| true)?),
            }
        }
    }
    let mut pause = Duration::from_millis(1);
    loop {
        if waitid(WaitId::Pid(pid), exited | WaitIdOptions::NOHANG)?.is_some() {
            return Ok(true);
        }
        if deadline.is_some_and(|d| Instant::now() >= d) {
            return Ok(false);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

#[derive(Default)]
struct Pipes<'a> {
    stdin: Option<(OwnedFd, &'a [u8])>,
    stdout: Sink,
    stderr: Sink,
}

#[derive(Default)]
struct Sink {
    source: Option<OwnedFd>,
    data: Vec<u8>,
    cut: bool,
}

impl Sink {
    /// Reads what is there; at its end the source is closed.
    fn read(&mut self) -> io::Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        let mut chunk = [0u8; 64 * 1024];
        match rustix::io::read(source, &mut chunk[..]) {
            Ok(0) => self.source = None,
            Ok(count) => {
                let room = MAX_OUTPUT.saturating_sub(self.data.len()).min(count);
                self.data.extend_from_slice(chunk.get(..room).unwrap_or_default());
                self.cut |= room < count;
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn finish(self) -> Vec<u8> {
        let mut data = self.data;
        if self.cut {
            data.extend_from_slice(
                format!("\n[the output was cut after {MAX_OUTPUT} bytes]").as_bytes(),
            );
        }
        data
    }
}

impl Pipes<'_> {
    /// Feeds and reads until all pipes are closed. `false` when the deadline came first, or the
    /// job was ended and someone who left the process group still holds a pipe.
    fn pump(&mut self, deadline: Option<Instant>, job: &Job) -> io::Result<bool> {
        if let Some((fd, _)) = &self.stdin {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        while self.stdin.is_some() || self.stdout.source.is_some() || self.stderr.source.is_some() {
            let now = Instant::now();
            if deadline.is_some_and(|d| now >= d) {
                return Ok(false);
            }
            let wait = deadline.map_or(TICK, |d| (d - now).min(TICK));
            let ready = self.wait(wait)?;
            if !ready && job.ended_by() == Some(9) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wait(&mut self, wait: Duration) -> io::Result<bool> {
        let timeout = Timespec::try_from(wait).ok();
        let [input, output, errors] = {
            let mut fds = Vec::with_capacity(3);
            let stdin = self.stdin.as_ref().map(|(fd, _)| (fd.as_fd(), PollFlags::OUT));
            let sinks = [&self.stdout, &self.stderr]
                .map(|s| s.source.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN)));
            let wanted = [stdin, sinks[0], sinks[1]];
            fds.extend(
                wanted.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)),
            );
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let mut polled = fds.iter().map(|fd| !fd.revents().is_empty());
            wanted.map(|w| w.is_some() && polled.next().unwrap_or(false))
        };
        if input {
            self.feed();
        }
        if output {
            self.stdout.read()?;
        }
        if errors {
            self.stderr.read()?;
        }
        Ok(true)
    }

    /// Writes what fits; a program that does not read its input is no error.
    fn feed(&mut self) {
        let Some((fd, data)) = self.stdin.take() else { return };
        let chunk = data.get(..data.len().min(64 * 1024)).unwrap_or_default();
        match rustix::io::write(&fd, chunk) {
            Ok(count) if count < data.len() => {
                self.stdin = Some((fd, data.get(count..).unwrap_or_default()));
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {
                self.stdin = Some((fd, data));
            }
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(argv: &[&str]) -> Program {
        Program {
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            cwd: "/".into(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            ..Program::default()
        }
    }

    #[test]
    fn input_goes_in_and_both_outputs_come_out() {
        let mut cat = program(&["sh", "-c", "cat; echo oops >&2; exit 3"]);
        let input = vec![b'x'; 1 << 20];
        cat.stdin = Some(input.clone());
        let done = run(&cat, &Job::detached("")).unwrap();
        assert_eq!((done.code, done.stdout, done.stderr), (3, input, b"oops\n".to_vec()));
    }

    #[test]
    fn merged_outputs_keep_their_order() {
        let mut both = program(&["sh", "-c", "echo 1; echo 2 >&2; echo 3"]);
        both.merge_stderr = true;
        let done = run(&both, &Job::detached("")).unwrap();
        assert_eq!(done.stdout, b"1\n2\n3\n");
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        // The deadline may be too short for the shell to begin, on a slow machine.
        let done = [300, 3_000, 30_000, 120_000].into_iter().find_map(|deadline| {
            let mut slow = program(&["sh", "-c", "sleep 600 & echo $!; wait"]);
            slow.timeout = Some(Duration::from_millis(deadline));
            let done = run(&slow, &Job::detached("")).unwrap();
            assert!(done.timed_out);
            done.stdout.ends_with(b"\n").then_some(done)
        });
        let done = done.expect("the shell did not begin");
        let grandchild: i32 = String::from_utf8(done.stdout).unwrap().trim().parse().unwrap();
        let gone = || {
            // It may be a zombie until its new parent reaps it.
            std::fs::read_to_string(format!("/proc/{grandchild}/stat"))
                .map_or(true, |stat| stat.contains(") Z "))
        };
        while !gone() {
            thread::yield_now();
        }
    }

    #[test]
    fn ending_the_job_ends_the_program() {
        let job = Job::detached("");
        job.signal(15);
        let done = run(&program(&["sleep", "600"]), &job).unwrap();
        assert_eq!(done.code, -15);
        assert!(!done.timed_out);
    }

    #[test]
    fn the_umask_and_the_name_are_the_programs_own() {
        let mut shell = program(&["sh", "-c", "umask"]);
        shell.umask = Some(0o027);
        assert_eq!(run(&shell, &Job::detached("")).unwrap().stdout, b"0027\n");
        assert!(run(&program(&["/no/such/program"]), &Job::detached("")).is_err());
    }

    #[test]
    fn as_another_user_with_its_groups() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let mut id = program(&["id"]);
        id.identity = Some(Identity { uid: 65_534, gid: 65_534, groups: vec![65_534, 4] });
        let shown = String::from_utf8(run(&id, &Job::detached("")).unwrap().stdout).unwrap();
        assert!(shown.starts_with("uid=65534"), "{shown}");
        assert!(shown.contains("groups=65534") && shown.contains("4("), "{shown}");
        assert!(!shown.contains("euid="), "{shown}");
        assert!(rustix::process::getuid().is_root(), "only the thread changed");
    }
}
