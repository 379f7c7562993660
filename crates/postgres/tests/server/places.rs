//! Which database has a name, and whether its restore is complete: by the server's own number.

use postgres::restore::admin::Admin;

use crate::private::server;

#[tokio::test]
async fn only_the_new_database_without_a_mark_is_complete_under_the_name() {
    let server = server();
    let batches = [
        "CREATE DATABASE place_app",
        "CREATE DATABASE place_app_restoring_1",
        "CREATE ROLE nobody_much",
        "ALTER DATABASE place_app_restoring_1 SET backupd.restoring TO '20261120T020000Z'",
        "ALTER DATABASE place_app_restoring_1 OWNER TO nobody_much",
    ];
    server.sql("postgres", &batches).await;
    let number = |name: &str| format!("SELECT oid::text FROM pg_database WHERE datname = '{name}'");
    let fresh = server
        .ask("postgres", &number("place_app_restoring_1"))
        .await;
    let fresh: u32 = fresh.trim().parse().unwrap();
    let admin = Admin::connect(&server.dsn("postgres"), "place_app")
        .await
        .unwrap();
    let complete = async || admin.is_complete("place_app", fresh).await.unwrap();
    assert!(!complete().await, "the old one has the name, and no mark");
    let exchange = [
        "ALTER DATABASE place_app RENAME TO place_app_before",
        "ALTER DATABASE place_app_restoring_1 RENAME TO place_app",
    ];
    server.sql("postgres", &exchange).await;
    assert!(
        !complete().await,
        "it has a mark, whoever its owner is by now"
    );
    let end = ["ALTER DATABASE place_app RESET backupd.restoring"];
    server.sql("postgres", &end).await;
    assert!(complete().await);
    let back = [
        "ALTER DATABASE place_app RENAME TO place_app_restoring_1",
        "ALTER DATABASE place_app_before RENAME TO place_app",
    ];
    server.sql("postgres", &back).await;
    assert!(!complete().await, "put back");
}
