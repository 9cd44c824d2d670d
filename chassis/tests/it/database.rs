//! The database handle where the engine refuses.

use bigdata_chassis::{Db, on_tx};

async fn execute(tx: &mut bigdata_chassis::Tx, text: &'static str) -> Result<(), sqlx::Error> {
    on_tx!(tx, connection => sqlx::query(text).execute(connection).await.map(drop))
}

/// SQLite ends a transaction by itself when its disk is full, and the driver does not hear of it.
#[tokio::test]
async fn writing_goes_on_after_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("full.db").display());
    let db = Db::open(&url, "test", crate::MIGRATIONS).await.unwrap();
    let insert =
        "INSERT INTO parked (event_id, envelope, reason, parked_at_ms) VALUES ('x', hex(randomblob(200000)), '', 0)";
    let mut tx = db.begin().await.unwrap();
    execute(&mut tx, "PRAGMA max_page_count = 1").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let refused = execute(&mut tx, insert).await.unwrap_err();
    assert!(refused.to_string().contains("full"), "{refused}");
    drop(tx);
    // The limit was the connection's own: a new one is needed, and made, for there is room again.
    let mut tx = db.begin().await.unwrap();
    execute(&mut tx, "PRAGMA max_page_count = 100000").await.unwrap();
    execute(&mut tx, insert).await.unwrap();
    tx.commit().await.unwrap();
}
