//! The workload of the reference product: a small web server that knows its peers.
//!
//! It is a part of this program so that the product runs on every machine that the platform runs on, and costs next to
//! nothing: no runtime, one thread while it is idle.

mod peers;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The first argument that turns this program into the workload.
pub(crate) const SUBCOMMAND: &str = "reference-node";

const USAGE: &str = "usage: bigdata reference-node --listen ADDRESS:PORT --name NAME --cluster DN --peers-file FILE
       bigdata reference-node check ADDRESS:PORT";

/// What the arguments ask for.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Serve(server::Settings),
    Check(SocketAddr),
}

/// Runs the workload, or asks one whether it reaches its peers.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let result = match parse(arguments) {
        Err(wrong) => {
            eprintln!("error: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
        Ok(Task::Serve(settings)) => server::serve(&settings).map_err(|error| format!("{}: {error}", settings.listen)),
        Ok(Task::Check(address)) => check(address).map(|answer| println!("{}", answer.trim_end())),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Asks a node whether it reaches its peers; its answer.
///
/// # Errors
/// When it does not answer, or does not reach them.
pub(crate) fn check(address: SocketAddr) -> Result<String, String> {
    let (status, body) =
        peers::get(address, "/peers/check").map_err(|error| format!("{address} does not answer: {error}"))?;
    if status == 200 {
        return Ok(body);
    }
    Err(format!("{address} does not reach its peers: {body}"))
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Task, String> {
    let address = |text: &str| text.parse().map_err(|_| format!("{text:?} is no ADDRESS:PORT"));
    let (mut listen, mut name, mut cluster, mut peers_file) = (None, None, None, None);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "check" => return Ok(Task::Check(address(&value()?)?)),
            "--listen" => listen = Some(address(&value()?)?),
            "--name" => name = Some(value()?),
            "--cluster" => cluster = Some(value()?),
            "--peers-file" => peers_file = Some(PathBuf::from(value()?)),
            other => return Err(format!("{other:?} is not known")),
        }
    }
    Ok(Task::Serve(server::Settings {
        listen: listen.ok_or("--listen is missing")?,
        name: name.ok_or("--name is missing")?,
        cluster: cluster.unwrap_or_default(),
        peers_file: peers_file.unwrap_or_else(|| PathBuf::from("peers.json")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments() {
        assert_eq!(parsed("check 127.0.0.1:80"), Ok(Task::Check("127.0.0.1:80".parse().unwrap())));
        let Ok(Task::Serve(settings)) = parsed("--listen 127.0.0.1:80 --name a --peers-file p") else { panic!() };
        assert_eq!((settings.name.as_str(), settings.peers_file), ("a", PathBuf::from("p")));
        for wrong in ["", "--listen x --name a", "--name a", "--listen 127.0.0.1:80", "--what", "check"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
