//! A client of Postgres that takes every connection and does nothing with it.

use crate::fleet::{Fleet, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Postgres counts a connection before it knows whose it is, and waits for its password for a minute.
const AUTHENTICATION_ASKED: u8 = b'R';
const PATIENCE: Duration = Duration::from_secs(5);

static CROWD: Mutex<Option<JoinHandle<usize>>> = Mutex::new(None);
static STAYS: AtomicBool = AtomicBool::new(false);

pub(crate) struct Crowd;

impl Crowd {
    /// Takes what is free, throws everybody else out, and is quicker at what becomes free by it.
    pub(crate) fn come(fleet: &Fleet) {
        let url = fleet.address("FLEET_POSTGRES").to_owned();
        let address = url.rsplit_once('@').unwrap().1.split('/').next().unwrap().to_owned();
        // It has its own connection before there are none.
        let mut psql = Command::new("psql");
        psql.args([url.as_str(), "-qtA", "--set=ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        let mut statements = psql.stdin.take().unwrap();
        statements.write_all(b"SELECT 'connected';\n").unwrap();
        let mut answers = BufReader::new(psql.stdout.take().unwrap()).lines();
        assert_eq!(answers.next().unwrap().unwrap(), "connected");
        STAYS.store(true, Ordering::Relaxed);
        let crowd = thread::spawn(move || {
            let mut taken = Vec::new();
            while STAYS.load(Ordering::Relaxed) {
                match take(&address) {
                    Some(connection) => taken.push(connection),
                    None => thread::park_timeout(Duration::from_millis(1)),
                }
            }
            taken.len()
        });
        *CROWD.lock().unwrap_or_else(PoisonError::into_inner) = Some(crowd);
        let others = b"SELECT pg_sleep(1); SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                       WHERE usename IS NOT NULL AND pid <> pg_backend_pid();\n";
        statements.write_all(others).unwrap();
        drop(statements);
        answers.for_each(drop);
        assert!(psql.wait().unwrap().success(), "nobody was thrown out");
        until("nobody else gets a connection", || {
            let output = Command::new("psql").args([url.as_str(), "-qc", "SELECT 1"]).output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            (words.contains("too many clients") || words.contains("connection slots")).then_some(())
        });
    }

    /// Lets everything go.
    pub(crate) fn leave(_: &Fleet) {
        STAYS.store(false, Ordering::Relaxed);
        let crowd = CROWD.lock().unwrap_or_else(PoisonError::into_inner).take();
        let taken = crowd.map_or(0, |crowd| crowd.join().unwrap());
        assert!(taken > 0, "no connection was taken");
    }
}

/// A connection whose password is awaited; None where there is none left.
fn take(address: &str) -> Option<TcpStream> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    // Length, protocol 3.0, and who wants what.
    let mut words = vec![0, 0, 0, 0, 0, 3, 0, 0];
    words.extend_from_slice(b"user\0bigdata\0database\0bigdata\0\0");
    words[3] = u8::try_from(words.len()).unwrap();
    connection.write_all(&words).ok()?;
    let mut answer = [0];
    connection.read_exact(&mut answer).ok()?;
    (answer[0] == AUTHENTICATION_ASKED).then_some(connection)
}
