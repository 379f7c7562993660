//! The census of a database, as the catalog keeps it.

use catalog::census::{Census, Object};
use postgres::census::Brought;
use postgres::server::{Server, ServerError};

/// Takes it.
pub(crate) async fn take_census(server: &Server) -> Result<Census, ServerError> {
    let (objects, positions) = postgres::census::take(server).await?;
    let objects = objects.into_iter().map(|counted| Object {
        kind: counted.kind,
        name: counted.name,
        needs: counted.needs,
        facets: counted.facets.into(),
    });
    let mut census = Census::of(&postgres::census::FACETS, objects.collect(), positions);
    for (extension, brought) in postgres::census::brought(server).await? {
        // Both are of one form.
        let record = serde_json::to_value(brought).and_then(serde_json::from_value);
        if let Ok(record) = record {
            census.brought.insert(extension, record);
        }
    }
    Ok(census)
}

/// What extensions brought, as a restore gives it back. A record that cannot be read gives nothing.
pub(crate) fn brought(census: &Census) -> Vec<(&str, Brought)> {
    let records = census.brought.iter();
    records
        .filter_map(|(extension, record)| {
            let brought = serde_json::to_value(record).and_then(serde_json::from_value);
            Some((extension.as_str(), brought.ok()?))
        })
        .collect()
}
