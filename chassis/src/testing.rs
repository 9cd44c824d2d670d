//! For tests: databases and a bus that exist for one test, and how late the machine is.

mod stalls;

pub use stalls::Stalls;

use crate::bus::rabbitmq::BusSettings;
use crate::db::{Db, Migrations};
use crate::secret::random_bytes;
use std::path::Path;

/// The variable that names a Postgres server for tests: `postgres://user:password@host/database`.
pub const POSTGRES_URL: &str = "BIGDATA_TEST_POSTGRES_URL";
/// Set to `1` where a test that lacks Postgres shall fail.
pub const POSTGRES_REQUIRED: &str = "BIGDATA_REQUIRE_POSTGRES";

/// The server of [`POSTGRES_URL`]. Without it a line says so, and with [`POSTGRES_REQUIRED`] the test fails.
pub fn postgres_url() -> Option<String> {
    match std::env::var(POSTGRES_URL) {
        Ok(url) => Some(url),
        Err(_) if std::env::var(POSTGRES_REQUIRED).as_deref() == Ok("1") => {
            panic!("{POSTGRES_REQUIRED}=1, and {POSTGRES_URL} is not set")
        }
        Err(_) => {
            eprintln!("SKIPPED on Postgres: {POSTGRES_URL} is not set");
            None
        }
    }
}

/// The databases to run a test's body on: an SQLite file below `folder`, and a new schema on [`postgres_url`].
pub async fn databases(folder: &Path, migrations: Migrations) -> Vec<Db> {
    let unique: String = random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
    let url = format!("sqlite:{}", folder.join(format!("{unique}.db")).display());
    let mut databases = vec![Db::open(&url, "test", migrations).await.expect("an SQLite file can be made")];
    if let Some(url) = postgres_url() {
        // The schema's name must live as long as the pool: a few bytes a test.
        let schema: &'static str = Box::leak(format!("test_{unique}").into_boxed_str());
        databases.push(Db::open(&url, schema, migrations).await.expect("the Postgres server answers"));
    }
    databases
}

/// The variable that names a RabbitMQ broker for tests: `amqp://user:password@host:port/vhost`.
pub const RABBITMQ_URL: &str = "BIGDATA_TEST_RABBITMQ_URL";
/// Set to `1` where a test that lacks RabbitMQ shall fail.
pub const RABBITMQ_REQUIRED: &str = "BIGDATA_REQUIRE_RABBITMQ";

/// The broker of [`RABBITMQ_URL`], with names that no other test uses. Without it a line says so, and with
/// [`RABBITMQ_REQUIRED`] the test fails.
pub fn rabbitmq() -> Option<BusSettings> {
    match std::env::var(RABBITMQ_URL) {
        Ok(url) => {
            let unique: String = random_bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
            Some(BusSettings { url, prefix: format!("test-{unique}"), ..BusSettings::default() })
        }
        Err(_) if std::env::var(RABBITMQ_REQUIRED).as_deref() == Ok("1") => {
            panic!("{RABBITMQ_REQUIRED}=1, and {RABBITMQ_URL} is not set")
        }
        Err(_) => {
            eprintln!("SKIPPED on RabbitMQ: {RABBITMQ_URL} is not set");
            None
        }
    }
}
