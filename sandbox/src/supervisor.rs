//! The process beside each command: it starts it, hears its caller and its end, and leaves nothing behind.
//!
//! It waits in one poll(2) on the control socket and a signal descriptor, without any periodic wake-up. As a subreaper it
//! is the parent of every orphan below it: no child left means that the tree is gone.

use std::{
    collections::HashSet,
    io::{ErrorKind, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{self, Pid, setsid},
};

use crate::{
    Cgroup, Ending, Error, Event, Report, Request, SUBCOMMAND, Spec, Started,
    course::{Action, Course, Input},
    launcher::take_standard_input,
    processes::{descendants, kill_own_tree, own_tree},
    protocol::{line, parse, take_line},
    setup::{Setup, clean_up, launch, prepare_cgroup, prepare_loopback, read_spec},
};

/// The longest line that a caller sends after the specification.
const REQUEST_BYTES_LIMIT: usize = 4096;

/// Runs what the caller sends and returns the exit code that tells its end.
pub(crate) fn main() -> i32 {
    let mut control = match take_standard_input() {
        Ok(control) => control,
        Err(error) => {
            eprintln!(
                "{SUBCOMMAND} is started by the program itself, with a control socket as standard input: {error}"
            );
            return 125;
        }
    };
    let report = match Supervisor::start(&control) {
        Ok(mut supervisor) => supervisor.run(&mut control),
        Err(setup) => Report::setup_failed(setup),
    };
    let code = report.ending.exit_code();
    tell(&control, &Event::Ended(report));
    code
}

/// A caller that is gone cannot be told anything.
fn tell(mut control: &UnixStream, event: &Event) {
    if let Ok(bytes) = line(event) {
        let _ = control.write_all(&bytes);
    }
}

struct Supervisor {
    main: Pid,
    ending: Option<Ending>,
    course: Course,
    signals: SignalFd,
    received: Vec<u8>,
    lifeline: bool,
    children_left: bool,
    cgroup: Option<Cgroup>,
    /// Processes other than the command that were signalled to end it.
    leftovers: HashSet<i32>,
}

impl Supervisor {
    fn start(control: &UnixStream) -> Result<Self, Setup> {
        let system = |what: &'static str| move |error: Errno| Error::system(what, error);
        // In its own session no terminal's Ctrl-C reaches it: its caller decides. A caller may have seen to it already.
        let _ = setsid();
        prctl::set_child_subreaper(true).map_err(system("cannot become a subreaper"))?;
        let signals = watch_signals().map_err(system("cannot watch signals"))?;
        let mut received = Vec::new();
        let text = read_spec(control, &mut received)?;
        let spec: Spec = parse(&text)?;
        spec.check()?;

        let mut not_applied = Vec::new();
        let cgroup = prepare_cgroup(&spec, &mut not_applied)?;
        prepare_loopback(&spec, cgroup.as_ref(), &mut not_applied);
        let launched = launch(&spec, &text, cgroup.as_ref(), &mut not_applied);
        let main = match launched {
            Ok(main) => main,
            Err(failure) => {
                kill_own_tree();
                clean_up(cgroup.as_ref());
                return Err(failure);
            }
        };
        let course = Course::new(spec.profile, spec.stop_signal, spec.grace, spec.limits.wall_clock, Instant::now());
        let cgroup_directories = cgroup.as_ref().map(|group| group.directories().to_vec()).unwrap_or_default();
        let started = Started { pid: main.as_raw(), cgroup_directories, not_applied };
        tell(control, &Event::Started(started));
        detach();
        let leftovers = HashSet::new();
        Ok(Self {
            main,
            ending: None,
            course,
            signals,
            received,
            lifeline: true,
            children_left: true,
            cgroup,
            leftovers,
        })
    }

    fn run(&mut self, control: &mut UnixStream) -> Report {
        // A request may have come along with the specification.
        let mut done = self.obey_received();
        while !done {
            let (spoken, signalled) = self.wait(control);
            // An end that came first counts before a deadline that came with it.
            done = (signalled && self.hear_signals()) || (spoken && self.listen(control)) || self.step(Input::Tick);
        }
        self.report()
    }

    /// Sleeps until the caller speaks, a signal comes or the course has something due.
    fn wait(&self, control: &UnixStream) -> (bool, bool) {
        let timeout = self.course.wake_at().map_or(PollTimeout::NONE, |at| {
            // Rounded up: waking early would mean to wake again.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut watched = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if self.lifeline {
            watched.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        // Interrupted or out of memory: the loop comes round again.
        let _ = poll(&mut watched, timeout);
        let ready = |index: usize| watched.get(index).is_some_and(|descriptor| descriptor.any().unwrap_or(false));
        (ready(1), ready(0))
    }

    /// Reads what the caller sent. Whether all is done.
    fn listen(&mut self, control: &mut UnixStream) -> bool {
        let mut chunk = [0; 1024];
        match control.read(&mut chunk) {
            Ok(count) if count > 0 && self.received.len() < REQUEST_BYTES_LIMIT => {
                self.received.extend_from_slice(&chunk[..count]);
                self.obey_received()
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => false,
            // End of file, an error, or a caller that sends nonsense without end.
            _ => {
                self.lifeline = false;
                self.step(Input::LifelineLost)
            }
        }
    }

    fn obey_received(&mut self) -> bool {
        while let Some(line) = take_line(&mut self.received) {
            match parse::<Request>(&line) {
                Ok(request) if self.step(Input::Requested(request.clone())) => return true,
                // A request from a newer caller is not a reason to end a workload.
                Ok(_) | Err(_) => {}
            }
        }
        false
    }

    fn hear_signals(&mut self) -> bool {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo as i32 != Signal::SIGCHLD as i32 && self.step(Input::Terminated) {
                return true;
            }
        }
        let reaped = self.reap();
        self.step(reaped)
    }

    fn reap(&mut self) -> Input {
        let had_ended = self.ending.is_some();
        self.children_left = loop {
            let ended = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Ending::Exited { code }),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ending::Signaled { signal: signal as i32 }),
                Ok(WaitStatus::StillAlive) => break true,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => break false,
            };
            if ended.0 == self.main {
                self.ending = Some(ended.1);
            }
        };
        Input::Reaped { main_ended: !had_ended && self.ending.is_some(), children_left: self.children_left }
    }

    /// Takes a step of the course and does what it says. Whether all is done.
    fn step(&mut self, input: Input) -> bool {
        match self.course.step(input, Instant::now()) {
            None => false,
            Some(Action::Finish) => true,
            Some(Action::SignalMain(signal)) => {
                send(self.main.as_raw(), signal);
                false
            }
            Some(Action::SignalTree(signal)) => {
                for process in descendants(unistd::getpid().as_raw()).unwrap_or_default() {
                    send(process.pid, signal);
                    if self.ending.is_some() {
                        self.leftovers.insert(process.pid);
                    }
                }
                false
            }
            Some(Action::KillTree) => {
                // At once where the machine can: a flood of forks would outrun whoever looks for its processes.
                let mut killed = self.cgroup.as_ref().map(Cgroup::kill_now).unwrap_or_default();
                killed.extend(kill_own_tree());
                self.leftovers.extend(killed.into_iter().filter(|pid| *pid != self.main.as_raw()));
                false
            }
        }
    }

    fn report(&mut self) -> Report {
        let out_of_memory_kills = self.cgroup.as_ref().map_or(0, Cgroup::out_of_memory_kills);
        let process_limit_hits = self.cgroup.as_ref().map_or(0, Cgroup::process_limit_hits);
        clean_up(self.cgroup.as_ref());
        let ending = match self.ending.take() {
            Some(_) if self.course.timed_out => Ending::TimedOut,
            Some(Ending::Signaled { signal }) if out_of_memory_kills > 0 && signal == Signal::SIGKILL as i32 => {
                Ending::MemoryExhausted
            }
            Some(ending) => ending,
            // It sits in the kernel, beyond the reach of SIGKILL.
            None if self.course.timed_out => Ending::TimedOut,
            None => Ending::Signaled { signal: Signal::SIGKILL as i32 },
        };
        Report {
            ending,
            requested: self.course.requested,
            leftovers_ended: u32::try_from(self.leftovers.len()).unwrap_or(u32::MAX),
            survivors: if self.children_left { own_tree() } else { Vec::new() },
            out_of_memory_kills,
            process_limit_hits,
        }
    }
}

/// A stopped process acts on a signal only when it is continued.
fn send(pid: i32, signal: i32) {
    let Ok(signal) = Signal::try_from(signal) else { return };
    let _ = kill(Pid::from_raw(pid), signal);
    if matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
    }
}

fn watch_signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        mask.add(signal);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Lets go of what belongs to the command: its output ends when its own processes have closed it. From here on the
/// process cannot be traced or its memory read by others of the same user.
fn detach() {
    if let Ok(nothing) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = unistd::dup2_stdin(&nothing);
        let _ = unistd::dup2_stdout(&nothing);
        let _ = unistd::dup2_stderr(&nothing);
    }
    let _ = prctl::set_dumpable(false);
    let _ = std::env::set_current_dir("/");
}
